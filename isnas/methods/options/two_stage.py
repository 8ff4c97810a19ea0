"""The options of two-stage ISTA-NAS."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.text import digits, shown
from isnas.engine.harness_options import PRESET_HELP, SearchOptions
from isnas.methods.options.limits import LimitOptions, TargetOptions
from isnas.methods.options.recovery import MOST_STEPS, ArchitectureOptions

#: What the released code does otherwise than the paper.
RELEASED = {
    "first_update": "b",
    "grad_clip_of": "w_and_b",
    "cosine_ahead": True,
    "learning_rate_min": 0.001,
    "arch_early_epsilon": True,
    "split": "in_order",
}


@dataclass(frozen=True)
class TwoStageOptions(TargetOptions, LimitOptions, ArchitectureOptions, SearchOptions, title="Two-stage ISTA-NAS"):
    """Algorithm 1's own settings; the defaults are the paper's for CIFAR-10."""

    preset: str = option("paper", PRESET_HELP, presets={"paper": {}, "released": RELEASED})
    uniform_epochs: int = option(
        0,
        "first epochs, in which W alone is trained, on a uniformly drawn support in every step, and b waits (not in "
        "the paper)",
        minimum=0,
        maximum=10**6,
    )
    recover_every: str = option("epoch", "when z is recovered: epoch (released code), step (Algorithm 1), or N steps")
    first_update: str = option(
        "w", "which is updated first in a step: w (Algorithm 1), b (released code)", choices=("w", "b")
    )
    grad_clip_of: str = option(
        "w",
        "whose gradient's norm grad_clip cuts in W's step: w, or w_and_b, where b's gradient is that on W's batch and, "
        "with b first, on its own too (released code)",
        choices=("w", "w_and_b"),
    )

    def validate(self) -> None:
        """Check the form of ``recover_every``, what contradicts ``grad_clip_of``, and that b takes a step."""
        if not self.budget:  # which decides the number of epochs
            self.check_start(self.epochs)
        steps_between_recoveries(self.recover_every, 1)
        self.check_target()
        if self.grad_clip_of == "w_and_b" and self.amp == "fp16":
            raise UserError(
                "--grad_clip_of w_and_b needs gradients that are not scaled; leave out --amp fp16, take bf16, or give "
                "--grad_clip_of w"
            )

    def check_target(self) -> None:
        """See that a target for the multiply-adds can be had.

        Raises:
            UserError: when it cannot.
        """
        if not self.target_macs:
            if self.target_macs_strength != TargetOptions.target_macs_strength:
                raise UserError("--target_macs_strength has no effect without --target_macs")
            return
        if self.max_params or self.max_macs:
            raise UserError("--target_macs and --max_params or --max_macs exclude each other; leave one of them out")
        if self.grad_clip_of != "w":
            raise UserError("--target_macs is in the loss of b, which is not to cut W's steps; give --grad_clip_of w")
        if self.sparseness != 1:
            raise UserError(f"--target_macs needs one connection per node, not --sparseness {self.sparseness}")

    def check_start(self, epochs: int) -> None:
        """See that b takes a step in so many epochs.

        Raises:
            UserError: when it does not.
        """
        if self.uniform_epochs >= epochs:
            raise UserError(f"--uniform_epochs {self.uniform_epochs} leaves b none of {epochs} epochs; lower it")


def steps_between_recoveries(recover_every: str, steps_per_epoch: int) -> int:
    """``recover_every`` as a number of steps."""
    if recover_every == "epoch":
        return steps_per_epoch
    if recover_every == "step":
        return 1
    if steps := digits(recover_every, MOST_STEPS):
        return steps
    raise UserError(
        f"recover_every must be epoch, step or a number of steps from 1 to {MOST_STEPS}, not {shown(recover_every)}"
    )

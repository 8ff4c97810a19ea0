"""The options of one-stage ISTA-NAS."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.text import digits, shown
from isnas.engine.harness_options import PRESET_HELP, NetworkTrainingOptions
from isnas.methods.options.recovery import MOST_STEPS, ArchitectureOptions

DISTANCES = ("top_s", "full")

#: What the released code does otherwise than the paper.
RELEASED = {
    "distance": "full",
    "max_params": 3.7,
    "when_too_large": "reject",
    "learning_rate_min": 0.001,
    "arch_early_epsilon": True,
}


@dataclass(frozen=True)
class OneStageOptions(ArchitectureOptions, NetworkTrainingOptions, title="One-stage ISTA-NAS"):
    """Algorithm 2's own settings; the defaults are the paper's for CIFAR-10."""

    preset: str = option("paper", PRESET_HELP, presets={"paper": {}, "released": RELEASED})
    epochs: int = option(600, "passes over the training images after the search", minimum=1, maximum=10**6)
    learning_rate: float = option(
        0.025, "SGD's learning rate: fixed while searching, then it falls from here", above=0.0, maximum=1e6
    )
    arch_learning_rate: float = option(3e-4, "Adam's learning rate for b", above=0.0, maximum=1e6)
    uniform_epochs: int = option(
        0,
        "first epochs of the search, in which the weights alone are trained, on a uniformly drawn support in every "
        "step, and b waits (not in the paper)",
        minimum=0,
        maximum=10**6,
    )
    epsilon: float = option(1e-3, "a node terminates when its z moves by at most this", above=0.0, maximum=1e6)
    distance: str = option(
        "top_s", "z is compared as it was truncated (Algorithm 2), or full (released code)", choices=DISTANCES
    )
    termination_interval: str = option("epoch", "between the two recoveries that are compared: epoch, or N steps")
    patience: int = option(
        1, "intervals in a row that must be within epsilon (1 is the paper's)", minimum=1, maximum=10**6
    )
    max_search_epochs: int = option(
        600, "the architecture is fixed after so many epochs in any case", minimum=1, maximum=10**6
    )
    max_params: float = option(
        0.0,
        "million parameters from which on a network is too large; 0 is off",
        minimum=0.0,
        maximum=1e6,
    )
    max_macs: float = option(
        0.0,
        "million multiply-adds (convolutions and linear layers) from which on it is; 0 is off",
        minimum=0.0,
        maximum=1e9,
    )
    when_too_large: str = option(
        "wait",
        "wait: no node terminates while the network is too large; reject: a z whose network is too large is not taken "
        "over, and a node near enough terminates with the old one (released code)",
        choices=("wait", "reject"),
    )

    def validate(self) -> None:
        """Check the form of ``termination_interval``, and what one-stage training cannot have."""
        interval_in_steps(self.termination_interval, 1)
        late, most = self.uniform_epochs, self.max_search_epochs
        if late >= most:
            raise UserError(
                f"--uniform_epochs {late} leaves b none of {most} epochs; lower it, or raise --max_search_epochs"
            )
        if self.ema_decay:
            raise UserError("--ema_decay has no effect on a one-stage run, which has no average; leave it out")


def interval_in_steps(termination_interval: str, steps_per_epoch: int) -> int:
    """``termination_interval`` as a number of steps."""
    if termination_interval == "epoch":
        return steps_per_epoch
    if steps := digits(termination_interval, MOST_STEPS):
        return steps
    raise UserError(
        f"termination_interval must be epoch or a number of steps from 1 to {MOST_STEPS}, not "
        f"{shown(termination_interval)}"
    )

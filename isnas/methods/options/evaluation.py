"""The options of the training of a target network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Self

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.engine.harness_options import PRESET_HELP, NetworkTrainingOptions

if TYPE_CHECKING:
    from isnas.space.space import AnyGenotype


#: Of the nine settings of the confopt benchmark suite (AutoML 2025), in its order.
SUITE_LEARNING_RATES, SUITE_WEIGHT_DECAYS = (0.025, 0.1, 0.01), (1e-4, 3e-4, 1e-3)

#: What the released code does otherwise than the paper, be the schedule a cosine or linear.
RELEASED = {"cosine_ahead": True, "linear_tail_epochs": 5, "warmup_first": True}


@dataclass(frozen=True)
class EvaluationOptions(NetworkTrainingOptions, title="Architecture"):
    """All settings of the training of a target network; the defaults are the paper's and its code's for CIFAR-10."""

    preset: str = option("paper", PRESET_HELP, presets={"paper": {}, "released": RELEASED})
    arch: str = option(
        "", "published name, genotype.json, run folder of a search, Genotype(...) text, or random:SEED", path=True
    )
    onestage: bool | None = option(
        None, "insist on an architecture with BN after skips and pools, --no_onestage without; it says so itself"
    )

    weights: str = option(
        "",
        "fine-tune: start from the trained network in this run folder, whose architecture and sizes it has; the "
        "classifier is new for other classes",
        path=True,
    )
    decay_norms: bool = option(True, "gamma and beta of batch normalisations decay too, as all weights do")
    settings_suite: bool = option(
        False,
        "train nine times, as the confopt benchmark suite does: learning rates 0.025, 0.1, 0.01 by weight decays 1e-4, "
        "3e-4, 1e-3; --jobs at a time",
    )

    def validate(self) -> None:
        """Check what contradicts ``settings_suite``."""
        if self.settings_suite and self.seeds:
            raise UserError("--settings_suite and --seeds are both several runs; give one of them, or --seed")
        given = {
            "learning_rate": self.learning_rate != EvaluationOptions.learning_rate,
            "weight_decay": self.weight_decay != EvaluationOptions.weight_decay,
        }
        for name, changed in given.items():
            if self.settings_suite and changed:
                raise UserError(f"--settings_suite sets {name} itself; leave --{name} out")

    def parts(self) -> dict[str, dict[str, Any]]:
        if not self.settings_suite:
            return super().parts()
        grid = product(SUITE_LEARNING_RATES, SUITE_WEIGHT_DECAYS)
        changes = [{"learning_rate": rate, "weight_decay": decay, "settings_suite": False} for rate, decay in grid]
        return {f"setting-{number}": change for number, change in enumerate(changes, 1)}

    def genotype(self) -> AnyGenotype:
        """The architecture to train.

        Raises:
            UserError: when there is none, or ``onestage`` contradicts it.
        """
        return self.resolve(self.arch, self.onestage)

    def self_contained(self) -> Self:
        """The same options, with the architecture itself in the place of a file, which may be gone on a resume."""
        self.genotype()
        return replace(self, arch=self.lasting(self.arch))

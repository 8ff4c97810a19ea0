"""The options of sampled recovery."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.engine.harness_options import SearchOptions
from isnas.methods.options.limits import LimitOptions
from isnas.methods.options.recovery import RecoveryOptions
from isnas.sparse.settings import MEASUREMENTS


@dataclass(frozen=True)
class SampledRecoveryOptions(LimitOptions, RecoveryOptions, SearchOptions, title="Sampled recovery"):
    """What is sampled, measured and chosen; the weights train as in two-stage search."""

    measurement: str = option("unit_gaussian", "how the measurement matrices are drawn", choices=MEASUREMENTS)
    warmup_portion: float = option(
        0.5,
        "share of the epochs, rounded, in which W alone is trained, on uniform supports",
        minimum=0.0,
        below=1.0,
    )
    measure: str = option(
        "loss",
        "what a support tells of its connections: its validation loss, less the running mean, which takes no backward "
        "pass, or the gradient of that loss in their coefficients",
        choices=("loss", "gradient"),
    )
    arch_learning_rate: float = option(
        1.0, "eta, SGD's learning rate for b; only lasso_lambda knows its scale", above=0.0, maximum=1e6
    )
    shift: bool = option(
        False, "before the recovery b is A (u - t)_+, t being the s + 1st largest score of the node, which is sparse"
    )
    choose_by: str = option(
        "z", "keep the largest of the recovered z, or of the scores, which are not compressed", choices=("z", "scores")
    )

    def validate(self) -> None:
        """Check what contradicts ``choose_by``."""
        if self.shift and self.choose_by == "scores":
            raise UserError("--shift has no effect on --choose_by scores; leave one of them out")

    @property
    def num_warmup_epochs(self) -> int:
        """Epochs of W alone."""
        return self.warmup_of(self.epochs)

    def warmup_of(self, epochs: int) -> int:
        """Epochs of W alone in a search of so many, one less than these at most."""
        return min(round(self.warmup_portion * epochs), epochs - 1)

    @property
    def thirds_of_measurement(self) -> int:
        """What measuring a support costs, in thirds of a pass per image: forward alone, or backward too."""
        return 1 if self.measure == "loss" else 3

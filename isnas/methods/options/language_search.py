"""The options of searches for a recurrent cell."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.engine.language.options import MeasuringOptions
from isnas.methods.options.stages import StageOptions, StagesOptions
from isnas.space.recurrent.options import RecurrentSpaceOptions

if TYPE_CHECKING:
    from isnas.sparse.boolean.parities import Array


@dataclass(frozen=True)
class LanguageSearchOptions(RecurrentSpaceOptions, MeasuringOptions):
    """What both have; the defaults are Li and Talwalkar's for the Penn Treebank."""

    epochs: int = option(50, "passes over the training text", minimum=1, maximum=10**6)
    grad_clip: float = option(0.1, "largest norm of the weights' gradient", above=0.0, maximum=1e30)


@dataclass(frozen=True)
class RecurrentConasOptions(StagesOptions, LanguageSearchOptions, title="CoNAS"):
    """The paper's settings for the Penn Treebank."""

    stages: int = option(2, "t, rounds of measuring and fixing bits", minimum=1, maximum=100)
    later_monomials: int = option(5, "s of the stages after the first", minimum=1, maximum=10**4)
    clip_quantile: float = option(
        0.9, "losses above this quantile of a stage's count as that; 1: as they are", above=0.0, maximum=1.0
    )
    measured: str = option(
        "log_perplexity",
        "what the polynomial is of: the loss in nats, or its exponential, the perplexity (paper); --max_loss and what "
        "is said of a stage are in the same unit",
        choices=("log_perplexity", "perplexity"),
    )

    def validate(self) -> None:
        """See that the later stages can be done, and a relu can stand in."""
        shared = {field.name: vars(self)[field.name] for field in fields(StagesOptions)}
        try:
            StagesOptions(**shared | {"monomials": self.later_monomials})
        except UserError as error:
            raise UserError(str(error).replace("--monomials", "--later_monomials")) from None
        space = self.make_space()
        try:
            space.connected(((),) * len(space.sizes))
        except UserError as error:
            raise UserError(f"a node may be left without connections: {error}") from None

    def of_stage(self, stage: int) -> StageOptions:
        return self if stage == 1 else replace(self, monomials=self.later_monomials)

    def measured_of(self, losses: Array) -> Array:
        if self.measured == "log_perplexity":
            return losses
        import numpy as np

        with np.errstate(over="ignore"):  # an infinite one is left out
            return np.exp(losses)


@dataclass(frozen=True)
class RecurrentRandomOptions(LanguageSearchOptions, title="Random search with shared weights"):
    """Settings of random search with weight sharing."""

    samples: int = option(1000, "architectures that are measured", minimum=1, maximum=10**6)

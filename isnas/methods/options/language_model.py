"""The options of the training of a recurrent network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from isnas.base.options import option
from isnas.engine.language.options import ModelOptions
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.resolve import lasting_genotype, resolve_genotype


@dataclass(frozen=True)
class LanguageModelOptions(ModelOptions, title="Architecture"):
    """All settings of the training; the defaults are DARTS's for the Penn Treebank."""

    arch: str = option(
        "", "published name, genotype.json, run folder of a search, Genotype(...) text, or random:SEED", path=True
    )
    nonmono: int = option(
        5,
        "averaging begins when the validation loss is above the least one of all epochs but so many last ones",
        minimum=0,
        maximum=10**6,
    )

    def genotype(self) -> RecurrentGenotype:
        """The architecture to train.

        Raises:
            UserError: when there is none.
        """
        return resolve_genotype(self.arch)

    def self_contained(self) -> Self:
        """The same options, with the architecture itself in the place of a file, which may be gone on a resume."""
        return replace(self, arch=lasting_genotype(self.arch))

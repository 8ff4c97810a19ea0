"""The options of the recurrent space, and of networks in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isnas.base.options import Component, option
from isnas.space.recurrent.genotype import NAMES
from isnas.space.recurrent.space import RecurrentSpace


@dataclass(frozen=True)
class RecurrentSizes(Component, title="Language model"):
    """The size of a language model, and its dropout; the defaults are DARTS's for the Penn Treebank."""

    nhid: int = option(850, "units of the state, and of a word's embedding", minimum=1, maximum=10**5)
    dropout: float = option(0.75, "probability to drop a unit of the outputs", minimum=0.0, below=1.0)
    dropouth: float = option(0.25, "of the states, where they go into a product", minimum=0.0, below=1.0)
    dropoutx: float = option(0.75, "of the cell's inputs", minimum=0.0, below=1.0)
    dropouti: float = option(0.2, "of the embeddings", minimum=0.0, below=1.0)
    dropoute: float = option(0.1, "probability to drop a whole word", minimum=0.0, below=1.0)

    def sizes(self, vocabulary: int) -> dict[str, Any]:
        """What ``super_net`` and ``target_network`` want to know, for a vocabulary of so many words."""
        names = ("dropout", "dropouth", "dropoutx", "dropouti", "dropoute")
        sizes = {"vocabulary": vocabulary, "ninp": self.nhid, "nhid": self.nhid}
        return sizes | {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class RecurrentSpaceOptions(RecurrentSizes, title="Cells"):
    """The cells that are searched among."""

    operations: tuple[str, ...] = option(NAMES, "candidate operations", choices=NAMES)
    num_nodes: int = option(8, "nodes of a cell, all of which form the output", minimum=1, maximum=100)

    def make_space(self) -> RecurrentSpace:
        """The space that is searched."""
        return RecurrentSpace(self.operations, self.num_nodes)

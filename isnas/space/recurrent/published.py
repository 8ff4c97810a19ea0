"""Published recurrent cells by name, each with its source and the perplexities that papers report."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.text import shown
from isnas.space.recurrent.genotype import RecurrentGenotype


@dataclass(frozen=True)
class Reported:
    """Perplexities of a cell's network on Penn Treebank, None where not given, and its millions of parameters."""

    validation: float | None
    test: float
    params_millions: float
    source: str

    def __str__(self) -> str:
        validation = "-" if self.validation is None else f"{self.validation:g}"
        return f"{validation} / {self.test:g}, {self.params_millions:g} M ({self.source})"


@dataclass(frozen=True)
class Published:
    """A recurrent cell from a paper, with what papers report of it."""

    genotype: RecurrentGenotype
    source: str
    reported: tuple[Reported, ...] = ()


def published(name: str) -> Published:
    """The published cell with this name.

    Raises:
        UserError: for a name that is not in :data:`PUBLISHED`.
    """
    name = ALIASES.get(name, name)
    if name not in PUBLISHED:
        raise UserError(f"unknown architecture {shown(name)}; published recurrent cells are {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _cell(text: str, concat: tuple[int, ...] = tuple(range(1, 9))) -> RecurrentGenotype:
    pairs = (pair.split() for pair in text.split(", "))
    return RecurrentGenotype(tuple(((operation, int(predecessor)),) for operation, predecessor in pairs), concat)


#: Other names of cells.
ALIASES = {"DARTS": "DARTS_V2"}

PUBLISHED = {
    "DARTS_V1": Published(
        _cell("relu 0, relu 1, tanh 2, relu 3, relu 4, identity 1, relu 5, relu 1"),
        "DARTS (ICLR 2019), first order",
        (Reported(60.2, 57.6, 23, "CoNAS, Table 3"),),
    ),
    "DARTS_V2": Published(
        _cell("sigmoid 0, relu 1, relu 1, identity 1, tanh 2, sigmoid 5, tanh 3, relu 5"),
        "DARTS (ICLR 2019), second order",
        (
            Reported(58.1, 55.7, 23, "CoNAS, Table 3"),
            Reported(60.7, 58.0, 23, "CoNAS, Table 3, trained anew with batches of 128"),
        ),
    ),
    "ENAS": Published(
        _cell(
            "tanh 0, tanh 1, relu 1, tanh 3, tanh 3, relu 3, relu 4, relu 7, relu 8, relu 8, relu 8",
            concat=(2, 5, 6, 9, 10, 11),
        ),
        "ENAS (ICML 2018), on Penn Treebank",
        (Reported(None, 56.3, 24, "CoNAS, Table 3"),),
    ),
}

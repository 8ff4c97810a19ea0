"""From what a user writes after ``--arch`` to a genotype."""

from __future__ import annotations

from pathlib import Path

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.base.text import digits, shown
from isnas.space.cells.genotype import Genotype, genotype_from_text, read_genotype
from isnas.space.cells.published import PUBLISHED, published
from isnas.space.cells.space import CellSpace

#: The forms of an architecture, for messages.
FORMS = (
    f"a published name ({', '.join(PUBLISHED)}), a genotype.json, a run folder, Genotype(...) text, random:SEED, or "
    "random_distinct:SEED"
)


def resolve_genotype(text: str, space: CellSpace = CellSpace()) -> Genotype:  # noqa: B008  # a value
    """The genotype that ``text`` names: a published name, a .json file, a run folder, ``Genotype(...)`` text, or a
    random one of ``space``, as :func:`random_genotype` draws it.

    Raises:
        UserError: when it is none of these.
    """
    if "Genotype(" in text:
        return genotype_from_text(text[text.index("Genotype(") :])  # a line copied from a log says "genotype = " first
    kind, _, seed = text.partition(":")
    if kind in ("random", "random_distinct"):
        if (drawn := digits(seed, 2**63 - 1)) is None:
            raise UserError(f"a random architecture is written {kind}:SEED with a number from 0 up, not {shown(text)}")
        return random_genotype(drawn, space, distinct_inputs=kind == "random_distinct")
    try:
        return published(text).genotype
    except UserError:
        pass  # not a name: a file or folder, then
    path = Path(text)
    try:
        if path.is_dir():
            best = path / "best"  # of a search with several seeds
            return read_genotype((best if best.is_dir() else path) / "genotype.json")
        if path.suffix == ".json" or path.is_file():
            return read_genotype(path)
    except OSError:
        pass  # no file system has a name that long
    raise UserError(f"unknown architecture {shown(text)}: give {FORMS}")


def random_genotype(
    seed: int,
    space: CellSpace = CellSpace(),  # noqa: B008  # a value
    connections: int = 2,
    distinct_inputs: bool = False,
) -> Genotype:
    """Random cells: per node any ``connections`` of the candidates, as the space of ISTA-NAS has them.

    With ``distinct_inputs`` from distinct predecessors, the random baseline of DARTS (ICLR 2019).
    """
    rng = generator(seed, "random architecture")
    return space.genotype(space.random(rng, connections, distinct_inputs))

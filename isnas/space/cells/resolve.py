"""From what a user writes after ``--arch`` to a genotype."""

from __future__ import annotations

from pathlib import Path

from isnas.base.errors import UserError
from isnas.space.cells.genotype import Genotype, genotype_from_text, read_genotype
from isnas.space.cells.published import PUBLISHED, published
from isnas.space.cells.sampling import random_genotype


def resolve_genotype(text: str) -> Genotype:
    """The genotype that ``text`` names: a published name, a .json file, a run folder, ``Genotype(...)`` text, or
    ``random:SEED``.

    Raises:
        UserError: when it is none of these.
    """
    if "Genotype(" in text:
        return genotype_from_text(text[text.index("Genotype(") :])  # a line copied from a log says "genotype = " first
    if text.startswith("random:"):
        seed = text.removeprefix("random:")
        if not seed.isdecimal():
            raise UserError(f"a random architecture is written random:SEED with a number from 0 up, not {text!r}")
        return random_genotype(int(seed))
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
    raise UserError(
        f"unknown architecture {text!r}: give a published name ({', '.join(PUBLISHED)}), a genotype.json, "
        "a run folder, Genotype(...) text, or random:SEED"
    )

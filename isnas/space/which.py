"""Of which space an architecture is, by what a user writes after ``--arch``: names, text, and files tell it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.late import load
from isnas.base.options import Component, option
from isnas.space.cells.published import PUBLISHED as OF_CELLS
from isnas.space.chain.published import PUBLISHED as OF_CHAINS
from isnas.space.genotype_files import genotype_at, genotype_in_file
from isnas.space.recurrent.published import PUBLISHED as OF_TEXT

#: What ``--space`` calls the spaces, and what may stand there where an architecture can tell.
CELLS, CHAIN, RECURRENT, AUTO = "cells", "chain", "recurrent", "auto"

#: The field of a genotype that no other space's genotype has.
_FIELDS = {"normal": CELLS, "chain": CHAIN, "recurrent": RECURRENT}

_NAMES = dict.fromkeys(OF_TEXT, RECURRENT) | dict.fromkeys(OF_CHAINS, CHAIN) | dict.fromkeys(OF_CELLS, CELLS)


def space_of(arch: str) -> str | None:
    """The space of what stands after ``--arch``, a name of several being of cells; None where it does not tell."""
    if "Genotype(" in arch:
        return next((space for field, space in _FIELDS.items() if re.search(rf"\b{field}\s*=", arch)), None)
    if arch in _NAMES:
        return _NAMES[arch]
    if arch.startswith("all:"):
        return CHAIN
    try:
        return genotype_at(arch, _space_in)
    except (ValueError, UserError):
        return None


def space_of_json(genotype: Any) -> str | None:
    """The space of a genotype in parsed JSON."""
    fields = genotype if isinstance(genotype, dict) else {}
    return next((space for field, space in _FIELDS.items() if field in fields), None)


def resolve(arch: str, space: str, widths: str = "") -> Any:
    """The architecture of a space that ``arch`` names; a chain that depends on its ``widths`` has those.

    Raises:
        UserError: when it names none.
    """
    more = [load("isnas.space.chain.space:ChainSpace")(widths)] if widths else []
    return load(f"isnas.space.{space}.resolve:resolve_genotype")(arch, *more)


def _space_in(path: Path) -> str | None:
    return genotype_in_file(path, space_of_json)


@dataclass(frozen=True)
class WhichSpace(Component, title="Architecture"):
    """Of which space an architecture is: some names are of several."""

    space: str = option(
        AUTO,
        "of images (cells, chain), or of text (recurrent); auto: what is found, names of several being cells",
        choices=(AUTO, CELLS, CHAIN, RECURRENT),
    )

    def space_of(self, arch: str) -> str:
        """The space of what stands after ``--arch``; cells where nothing tells."""
        return (space_of(arch) or CELLS) if self.space == AUTO else self.space

"""Genotype: a chain as data, with its JSON and its text.

A block is written as its candidate, ``k5_e6`` or ``skip``; as several joined by + where it adds up several.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.text import shown
from isnas.space.chain.candidates import NAMES, SKIP
from isnas.space.genotype_files import MOST_NODES, fields_in_text, genotype_in_file, lines_of

#: The candidates that a block adds up, in canonical order.
Block = tuple[str, ...]

#: Whether a skip ends in a BN in the target network, as in one-stage ISTA-NAS ("all").
EXTRA_BN = ("none", "all")


@dataclass(frozen=True)
class ChainGenotype:
    """Per stage its blocks, each with one candidate or more.

    Raises:
        UserError: for no or too many blocks, an unknown candidate or one twice, a block without any, or a stage whose
            first block, which changes the shape, is skipped.
    """

    chain: tuple[tuple[Block, ...], ...]
    extra_bn: str = "none"

    def __post_init__(self) -> None:
        if self.extra_bn not in EXTRA_BN:
            raise UserError(f"genotype: extra_bn must be one of {', '.join(EXTRA_BN)}, not {shown(self.extra_bn)}")
        if not self.chain or not all(self.chain):
            raise UserError("genotype: chain must have a stage at least, and each stage a block")
        if (count := sum(map(len, self.chain))) > MOST_NODES:
            raise UserError(f"genotype: chain has {count} blocks; it may have {MOST_NODES} at most")
        chain = tuple(
            tuple(_canonical(block, f"block {place} of stage {number}", place == 1) for place, block in enumerate(s, 1))
            for number, s in enumerate(self.chain, 1)
        )
        object.__setattr__(self, "chain", chain)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All stages' blocks in turn."""
        return tuple(block for stage in self.chain for block in stage)

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """How many blocks each stage has."""
        return tuple(map(len, self.chain))

    def to_json(self) -> dict[str, Any]:
        """Plain lists and strings, for ``json.dump``."""
        return {"chain": [list(map("+".join, stage)) for stage in self.chain], "extra_bn": self.extra_bn}

    def hash(self) -> str:
        """Twelve hexadecimal digits that two genotypes share if and only if they are the same architecture."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """``Genotype(chain=['k5_e3 skip', 'k7_e6'])``, a text for each stage."""
        stages = [" ".join(map("+".join, stage)) for stage in self.chain]
        extra_bn = "" if self.extra_bn == "none" else f", extra_bn={self.extra_bn!r}"
        return f"Genotype(chain={stages}{extra_bn})"

    def lines(self) -> tuple[str, ...]:
        """As a log has it: ``genotype = `` with the blocks, and on a line of its own what they do not say."""
        return lines_of(replace(self, extra_bn="none"), self.extra_bn)

    def _repr_svg_(self) -> str:
        """The chain, as a notebook shows it."""
        from isnas.space.chain.picture import svg_of  # matplotlib is slow to import

        return svg_of(self)


def genotype_from_json(value: Any) -> ChainGenotype:
    """The genotype in parsed JSON, as :meth:`ChainGenotype.to_json` writes it."""
    if not isinstance(value, dict):
        raise UserError("genotype: expected a JSON object with chain, extra_bn")
    return _from_fields(value)


def genotype_from_text(text: str) -> ChainGenotype:
    """The genotype in text ``Genotype(chain=['k5_e3 skip', 'k7_e6'])``; nothing is ever evaluated.

    A stage is one text with blanks between its blocks, or a list of blocks.
    """
    return _from_fields(fields_in_text(text, "chain=['k5_e3 skip', ...]"))


def read_genotype(path: Path) -> ChainGenotype:
    """The genotype in a JSON file.

    Raises:
        UserError: when the file cannot be read, is not JSON, or is not a genotype.
    """
    return genotype_in_file(path, genotype_from_json)


def _from_fields(fields: dict[str, Any]) -> ChainGenotype:
    for other, kind in (("normal", "a pair of cells"), ("recurrent", "a recurrent cell")):
        if other in fields:
            raise UserError(f"genotype: it is {kind}, and a chain is needed")
    if "chain" not in fields:
        raise UserError("genotype: the field chain is missing")
    for key in fields:
        if key not in ("chain", "extra_bn"):
            raise UserError(f"genotype: unknown field {shown(key)}")
    stages = fields["chain"]
    if not isinstance(stages, list | tuple):
        raise UserError("genotype: chain must be a list of stages")
    return ChainGenotype(
        tuple(_stage(stage, number) for number, stage in enumerate(stages, 1)), fields.get("extra_bn", "none")
    )


def _stage(value: Any, number: int) -> tuple[Block, ...]:
    blocks = value.split() if isinstance(value, str) else value
    if not isinstance(blocks, list | tuple) or not all(isinstance(block, str) for block in blocks):
        raise UserError(f"genotype: stage {number} must be a list of blocks like 'k5_e6', not {shown(value)}")
    return tuple(tuple(block.split("+")) for block in blocks)


def _canonical(block: Block, where: str, first: bool) -> Block:
    """A block's candidates in canonical order.

    Raises:
        UserError: for none, an unknown one, one twice, or a skip where the block is the first of its stage.
    """
    if not block:
        raise UserError(f"genotype: {where} has no candidate; it needs one at least")
    for name in block:
        if name not in NAMES:
            raise UserError(f"genotype: unknown candidate {shown(name)} in {where}; choose from {', '.join(NAMES)}")
    if len(set(block)) < len(block):
        raise UserError(f"genotype: {where} has a candidate twice")
    if first and SKIP in block:
        raise UserError(f"genotype: {where} cannot be skipped, as the first of a stage changes channels or size")
    return tuple(sorted(block, key=NAMES.index))

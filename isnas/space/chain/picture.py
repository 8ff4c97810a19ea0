"""A chain as a picture: a row for each stage, a box for each block, coloured by kernel and as high as it expands."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from isnas.draw.rows import Cell, Row, draw_rows
from isnas.space.chain.candidates import CANDIDATES
from isnas.space.chain.genotype import Block, ChainGenotype


def draw_genotype(genotype: ChainGenotype, folder: Path, name: str = "chain") -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``; returns both paths."""
    return draw_rows(chain_rows(genotype), folder, name)


def svg_of(genotype: ChainGenotype) -> str:
    """The same picture as the text of an SVG."""
    with TemporaryDirectory() as folder:
        _, svg = draw_genotype(genotype, Path(folder))
        return svg.read_text(encoding="utf-8")


def chain_rows(genotype: ChainGenotype) -> list[Row]:
    """The stages in turn; the fixed first block, the stem and the head, which all chains have, are left out."""
    return [Row(f"stage {number}", tuple(map(_cell, stage))) for number, stage in enumerate(genotype.chain, 1)]


def _cell(block: Block) -> Cell:
    """A block's box: its candidates, in the colours of the last."""
    row = CANDIDATES[block[-1]]
    return Cell("\n".join(block), row.colors, max(0.35 * len(block), 0.5 + row.expansion / 12))

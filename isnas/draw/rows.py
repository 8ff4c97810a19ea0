"""Boxes in a row, and rows below one another, as PNG and SVG: what follows one another and is too long for a graph.

All that follows is joined by a wire, from the last box of a row to the first of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from isnas.draw.figures import picture_paths, saved_figure

BOX_WIDTH, BOX_HEIGHT, GAP, ROW_GAP, MARGIN, LABEL_WIDTH = 0.95, 0.5, 0.25, 0.3, 0.15, 0.9  # inches
WIRE = "#9aa3ad"

Colors = tuple[str, str]  # of outline and filling, as #rrggbb


@dataclass(frozen=True)
class Cell:
    """A box with a text; of box heights it is ``height`` high, so that sizes can be told apart."""

    text: str
    colors: Colors
    height: float = 1.0


@dataclass(frozen=True)
class Row:
    """What stands on the left of a row, and its boxes."""

    label: str
    cells: tuple[Cell, ...]

    @property
    def height(self) -> float:
        """In inches."""
        return BOX_HEIGHT * max(cell.height for cell in self.cells)


def draw_rows(rows: Sequence[Row], folder: Path, name: str) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``, made if need be; returns both paths."""
    paths = picture_paths(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    longest = max(len(row.cells) for row in rows)
    width = 2 * MARGIN + LABEL_WIDTH + longest * (BOX_WIDTH + GAP)
    height = 2 * MARGIN + sum(row.height + ROW_GAP for row in rows) - ROW_GAP
    with saved_figure(paths, (width, height)) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        top, end = MARGIN, None
        for row in rows:
            end = _draw_row(axes, row, top, end)
            top += row.height + ROW_GAP
    return paths


def _draw_row(axes: Axes, row: Row, top: float, before: tuple[float, float] | None) -> tuple[float, float]:
    """Draw a row, and the wire from the end of the row ``before``; returns this one's end."""
    y, start = top + row.height / 2, MARGIN + LABEL_WIDTH
    left = start + GAP / 2
    axes.text(MARGIN, y, row.label, ha="left", va="center")
    points = [(left, y), (left + (len(row.cells) - 1) * (BOX_WIDTH + GAP), y)]
    if before is not None:
        (x, above), turn = before, top - ROW_GAP / 2
        points = [(x, above), (x + GAP / 2, above), (x + GAP / 2, turn), (start, turn), (start, y), *points]
    axes.plot(*zip(*points), color=WIRE, linewidth=1.2, zorder=1)
    for number, cell in enumerate(row.cells):
        outline, filling = cell.colors
        x, high = left + number * (BOX_WIDTH + GAP), cell.height * BOX_HEIGHT
        patch = FancyBboxPatch((x, y - high / 2), BOX_WIDTH, high, "round,pad=0,rounding_size=0.08", zorder=2)
        patch.set(edgecolor=outline, facecolor=filling, linewidth=1.2)
        axes.add_patch(patch)
        axes.text(x + BOX_WIDTH / 2, y, cell.text, ha="center", va="center", color=outline, zorder=3)
    return left + len(row.cells) * (BOX_WIDTH + GAP) - GAP, y

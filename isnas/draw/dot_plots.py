"""What each of several things reached in several tries, as dots beside a mean and its interval, panels side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isnas.draw.figures import PANEL_WIDTH, REFERENCE, STYLES, lighten, picture_paths, saved_figure

_ROW_HEIGHT, _LABEL_WIDTH = 0.23, 0.072  # inches; the latter of a character


@dataclass(frozen=True)
class Dots:
    """The values of one thing, with their mean and its interval, if it has one."""

    label: str
    values: Sequence[float]
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DotPanel:
    """Things from top to bottom, and a dashed line at ``reference`` that they are held against."""

    title: str
    rows: Sequence[Dots]
    reference: float | None


def draw_dots(panels: Sequence[DotPanel], folder: Path, name: str, xlabel: str) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``; returns both paths.

    A thing has its place in all panels, also where it is missing.
    """
    labels = list(dict.fromkeys(row.label for panel in panels for row in panel.rows))
    width = 1.25 * PANEL_WIDTH * len(panels) + _LABEL_WIDTH * max(map(len, labels))
    paths = picture_paths(folder, name)
    color = STYLES[0][0]
    with saved_figure(paths, (width, 0.9 + _ROW_HEIGHT * len(labels))) as figure:
        grid = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)
        for axes, panel in zip(grid[0], panels):
            for row in panel.rows:
                place = labels.index(row.label)
                axes.plot(row.values, [place] * len(row.values), "o", color=color, alpha=0.35, markersize=3.5)
                if row.low is not None and row.high is not None:
                    axes.plot([row.low, row.high], [place, place], color="black", linewidth=1.2)
                axes.plot([row.mean], [place], "|", color="black", markersize=9, markeredgewidth=1.8)
            if panel.reference is not None:
                axes.axvline(panel.reference, **REFERENCE)
            axes.set_title(panel.title)
            axes.set_xlabel(xlabel)
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            lighten(axes, "x")
    return paths

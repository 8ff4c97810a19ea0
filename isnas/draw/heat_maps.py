"""Shares over two quantities as coloured cells with their numbers, panels side by side, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isnas.draw.figures import PANEL_HEIGHT, PANEL_WIDTH, picture_paths, saved_figure

COLORS = "cividis"  # made to look alike with every kind of colour vision
_DARK = 0.5  # cells of smaller shares are dark, and numbers on them white


@dataclass(frozen=True)
class HeatMap:
    """``shares`` (rows, columns) from 0 to 1, the first row at the bottom."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    shares: Sequence[Sequence[float]]


def draw_heat_maps(
    panels: Sequence[Sequence[HeatMap]], folder: Path, name: str, xlabel: str, ylabel: str, label: str
) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``; returns both paths.

    ``panels`` are rows of panels with the same axes; ``label`` stands beside the bar of colours.
    """
    size = (1.35 * PANEL_WIDTH * max(map(len, panels)) + 0.6, 1.1 * PANEL_HEIGHT * len(panels))
    paths = picture_paths(folder, name)
    with saved_figure(paths, size) as figure:
        grid = figure.subplots(len(panels), max(map(len, panels)), sharex=True, sharey=True, squeeze=False)
        for axes_row, row in zip(grid, panels):
            for axes, panel in zip(axes_row, row):
                shares = np.array(panel.shares)
                image = axes.imshow(shares, cmap=COLORS, vmin=0.0, vmax=1.0, origin="lower", aspect="auto")
                axes.set_title(panel.title)
                axes.set_xticks(range(len(panel.columns)), panel.columns)
                axes.set_yticks(range(len(panel.rows)), panel.rows)
                for (y, x), share in np.ndenumerate(shares):
                    color = "white" if share < _DARK else "black"
                    axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", color=color, fontsize=7)
        for axes in grid[-1]:
            axes.set_xlabel(xlabel)
        for axes in grid[:, 0]:
            axes.set_ylabel(ylabel)
        figure.colorbar(image, ax=grid, label=label)
    return paths

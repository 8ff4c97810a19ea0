"""Figures of small panels, curves or bars, as PNG and SVG; the same numbers give the same bytes on the same machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from isnas.draw.figures import (
    LEGEND_HEIGHT,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    STYLES,
    legend_columns,
    lighten,
    picture_paths,
    saved_figure,
)


@dataclass(frozen=True)
class Series:
    """Values ``y`` over the panel's x, with half the width of their confidence intervals in ``error``."""

    label: str
    y: Sequence[float]
    error: Sequence[float] | None = None


@dataclass(frozen=True)
class Panel:
    """Series over ``x``, as bars in groups when x are words and as curves otherwise.

    ``reference`` is dashed; ``mark`` is a vertical line at this x; ``log`` is of the y axis.
    """

    title: str
    x: Sequence[float] | Sequence[str]
    series: Sequence[Series]
    xlabel: str = ""
    ylabel: str = ""
    ylim: tuple[float, float] | None = None
    reference: Series | None = None
    log: bool = False
    mark: float | None = None


def draw_panels(rows: Sequence[Sequence[Panel]], folder: Path, name: str) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``, one legend for all panels; returns both paths.

    The panels have the same series in the same order, one style each.
    """
    columns = max(map(len, rows))
    size = (PANEL_WIDTH * columns, PANEL_HEIGHT * len(rows) + LEGEND_HEIGHT)
    paths = picture_paths(folder, name)
    with saved_figure(paths, size) as figure:
        grid = figure.add_gridspec(len(rows), columns)
        for row, panels in enumerate(rows):
            for column, panel in enumerate(panels):
                _draw(figure.add_subplot(grid[row, column]), panel)
        legend: dict[str, Artist] = {}
        for axes in figure.axes:
            for handle, label in zip(*axes.get_legend_handles_labels()):
                legend.setdefault(label, handle)
        place: dict[str, Any] = {"loc": "outside upper center", "frameon": False}
        figure.legend(list(legend.values()), list(legend), ncols=legend_columns(list(legend), size[0]), **place)
    return paths


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel(panel.xlabel)
    axes.set_ylabel(panel.ylabel)
    lighten(axes)
    bars = any(isinstance(x, str) for x in panel.x)
    (_draw_bars if bars else _draw_curves)(axes, panel)
    if panel.log:
        axes.set_yscale("log")
    if panel.mark is not None:
        axes.axvline(panel.mark, color="black", linestyle=":", linewidth=1.0)
    if panel.ylim:
        axes.set_ylim(*panel.ylim)


def _draw_curves(axes: Axes, panel: Panel) -> None:
    for series, (color, marker) in zip(panel.series, cycle(STYLES)):
        look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3.5, "linewidth": 1.2}
        axes.errorbar(panel.x, series.y, series.error, label=series.label, elinewidth=0.8, capsize=1.5, **look)
    if all(isinstance(x, int) for x in panel.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if panel.reference:
        axes.plot(panel.x, panel.reference.y, label=panel.reference.label, **REFERENCE)


def _draw_bars(axes: Axes, panel: Panel) -> None:
    groups, width = np.arange(len(panel.x)), 0.8 / len(panel.series)
    for number, (series, (color, _)) in enumerate(zip(panel.series, cycle(STYLES))):
        places = groups + (number - (len(panel.series) - 1) / 2) * width
        axes.bar(places, series.y, width * 0.92, yerr=series.error, label=series.label, color=color)
    if panel.reference:
        axes.hlines(panel.reference.y, groups - 0.46, groups + 0.46, label=panel.reference.label, **REFERENCE)
    axes.set_xticks(groups, [str(x) for x in panel.x])

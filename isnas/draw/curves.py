"""Figures of small panels, curves or bars, as PNG and SVG; the same numbers give the same bytes on the same machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

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

#: Points of a curve that are marked one by one; of more the marks would hide it.
MOST_MARKED = 40
LINES = ("-", "--", ":")


class Style(NamedTuple):
    """How a series looks."""

    color: str
    marker: str
    line: str


@dataclass(frozen=True)
class Series:
    """Values ``y`` over the panel's x, NaN where there is none, with half the width of their confidence intervals."""

    label: str
    y: Sequence[float]
    error: Sequence[float] | None = None


@dataclass(frozen=True)
class Panel:
    """Series over ``x``, as bars in groups when x are words and as curves otherwise.

    ``reference`` is dashed; ``mark`` is a vertical line at this x; ``log`` is of the y axis, where what is less than
    ``floor`` lies on the lower edge.
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
    floor: float | None = None

    @property
    def lowest(self) -> float:
        """The lower edge on a logarithmic axis: ``floor``, or half of the smallest value above 0; 0: all lie above."""
        values = [value for series in self.series for value in series.y]
        lowest = self.floor or min((value for value in values if value > 0.0), default=1.0) / 2
        return lowest if any(value < lowest for value in values) else 0.0


def draw_panels(rows: Sequence[Sequence[Panel]], folder: Path, name: str) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``, one legend for all panels; returns both paths.

    Series of one label look alike.
    """
    columns = max(map(len, rows))
    labels = list(dict.fromkeys(series.label for panels in rows for panel in panels for series in panel.series))
    styles = styles_of(labels)
    lines = -(-len(labels) // legend_columns(labels, PANEL_WIDTH * columns))
    size = (PANEL_WIDTH * columns, PANEL_HEIGHT * len(rows) + LEGEND_HEIGHT * (1 + 0.5 * (lines - 1)))
    paths = picture_paths(folder, name)
    with saved_figure(paths, size) as figure:
        grid = figure.add_gridspec(len(rows), columns)
        for row, panels in enumerate(rows):
            for column, panel in enumerate(panels):
                draw_panel(figure.add_subplot(grid[row, column]), panel, styles)
        legend: dict[str, Artist] = {}
        for axes in figure.axes:
            for handle, label in zip(*axes.get_legend_handles_labels()):
                legend.setdefault(label, handle)
        place: dict[str, Any] = {"loc": "outside upper center", "frameon": False}
        figure.legend(list(legend.values()), list(legend), ncols=legend_columns(list(legend), size[0]), **place)
    return paths


def styles_of(labels: Sequence[str]) -> dict[str, Style]:
    """A look for each label, the first 18 of them different."""
    looks = [Style(color, marker, line) for line in LINES for color, marker in STYLES]
    return {label: looks[place % len(looks)] for place, label in enumerate(labels)}


def draw_panel(axes: Axes, panel: Panel, styles: Mapping[str, Style]) -> None:
    """One panel, its series in these looks by their labels."""
    axes.set_title(panel.title)
    axes.set_xlabel(panel.xlabel)
    axes.set_ylabel(panel.ylabel)
    lighten(axes)
    bars = any(isinstance(x, str) for x in panel.x)
    (_draw_bars if bars else _draw_curves)(axes, panel, styles)
    if panel.log:
        _make_logarithmic(axes, panel.lowest)
    if panel.mark is not None:
        axes.axvline(panel.mark, color="black", linestyle=":", linewidth=1.0)
    if panel.ylim:
        axes.set_ylim(*panel.ylim)


def _make_logarithmic(axes: Axes, lowest: float) -> None:
    """A logarithmic y axis with numbers that show the last percent, however few powers of ten it spans."""
    axes.set_yscale("log")
    if lowest:
        axes.set_ylim(bottom=lowest)
    low, high = axes.get_ylim()
    if high / low < 1e4:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _draw_curves(axes: Axes, panel: Panel, styles: Mapping[str, Style]) -> None:
    lowest = panel.lowest if panel.log else 0.0
    for series in panel.series:
        style = styles[series.label]
        marker = style.marker if len(series.y) <= MOST_MARKED else ""
        look: dict[str, Any] = {"color": style.color, "linestyle": style.line, "marker": marker}
        look |= {"markersize": 3.5, "linewidth": 1.2}
        y = [lowest if value < lowest else value for value in series.y] if lowest else series.y
        axes.errorbar(panel.x, y, series.error, label=series.label, elinewidth=0.8, capsize=1.5, **look)
    if all(isinstance(x, int) for x in panel.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if panel.reference:
        axes.plot(panel.x, panel.reference.y, label=panel.reference.label, **REFERENCE)


def _draw_bars(axes: Axes, panel: Panel, styles: Mapping[str, Style]) -> None:
    groups, width = np.arange(len(panel.x)), 0.8 / len(panel.series)
    for number, series in enumerate(panel.series):
        places = groups + (number - (len(panel.series) - 1) / 2) * width
        color = styles[series.label].color
        axes.bar(places, series.y, width * 0.92, yerr=series.error, label=series.label, color=color)
    if panel.reference:
        axes.hlines(panel.reference.y, groups - 0.46, groups + 0.46, label=panel.reference.label, **REFERENCE)
    axes.set_xticks(groups, [str(x) for x in panel.x])

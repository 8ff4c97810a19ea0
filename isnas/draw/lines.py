"""Panels of lines and points, each over x of its own, as PNG and SVG; a second, logarithmic axis if need be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from isnas.draw.figures import LEGEND_HEIGHT, PANEL_WIDTH, STYLES, legend_columns, lighten, picture_paths, saved_figure

WIDTH, HEIGHT = 1.35 * PANEL_WIDTH, 2.9  # of a panel, inches
_FEW = 12  # points of a line that are marked


@dataclass(frozen=True)
class Line:
    """Values over x, from ``low`` to ``high`` where they spread; ``points`` alone, or joined.

    Lines of one ``label`` look alike. ``second``: it belongs to the axis on the right.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    points: bool = False
    second: bool = False


@dataclass(frozen=True)
class LinePanel:
    """Lines, and vertical ones at ``marks``; ``second`` is what stands beside the axis on the right.

    ``log`` names the axes that are logarithmic: y, or xy with the first line's x as ticks.
    """

    title: str
    lines: Sequence[Line]
    xlabel: str
    ylabel: str
    second: str = ""
    marks: Sequence[float] = ()
    log: str = ""


def draw_lines(panels: Sequence[LinePanel], folder: Path, name: str) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg``: the panels side by side under one legend; returns both paths."""
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    styles = dict(zip(labels, cycle(STYLES)))
    width = WIDTH * max(len(panels), 2)
    columns = legend_columns(labels, width)
    height = HEIGHT + LEGEND_HEIGHT * -(-len(labels) // columns)
    paths = picture_paths(folder, name)
    with saved_figure(paths, (width, height)) as figure:
        handles: dict[str, Any] = {}
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1)
            _draw(axes, panel, styles, handles)
        figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=columns, frameon=False)
    return paths


def _draw(axes: Axes, panel: LinePanel, styles: dict[str, tuple[str, str]], handles: dict[str, Any]) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel(panel.xlabel)
    axes.set_ylabel(panel.ylabel)
    lighten(axes)
    right = None
    if any(line.second for line in panel.lines):
        right = axes.twinx()
        right.set_yscale("log")
        right.set_ylabel(panel.second)
        right.spines["top"].set_visible(False)
    for line in panel.lines:
        target = right if line.second and right is not None else axes
        color, marker = styles[line.label]
        marked = line.points or len(line.x) <= _FEW
        look: dict[str, Any] = {"color": color, "marker": marker if marked else None, "markersize": 3.5}
        look |= {"linestyle": "none" if line.points else ":" if line.second else "-", "linewidth": 1.2}
        (handle,) = target.plot(line.x, line.y, label=line.label, **look)
        handles.setdefault(line.label, handle)
        if line.low is not None and line.high is not None:
            target.fill_between(line.x, line.low, line.high, color=color, alpha=0.2, linewidth=0.0)
    if "y" in panel.log:
        axes.set_yscale("log")
    if "x" in panel.log:
        axes.set_xscale("log")
        axes.set_xticks(panel.lines[0].x, [f"{x:g}" for x in panel.lines[0].x])
        axes.minorticks_off()
    elif all(isinstance(x, int) for line in panel.lines for x in line.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for mark in panel.marks:
        axes.axvline(mark, color="#888888", linestyle="--", linewidth=0.8)

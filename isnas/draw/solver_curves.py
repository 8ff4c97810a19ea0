"""How iterative solvers converge: medians with their quartiles on two logarithmic axes, as PNG and SVG.

The same numbers give the same bytes on the same machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from isnas.draw.figures import lighten, picture_paths, saved_figure

#: Colours of Okabe and Ito, told apart with every kind of colour vision, with a kind of line each.
STYLES: tuple[tuple[str, Literal["-", "--", "-."]], ...] = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-"),
    ("#CC79A7", "-."),
)
PANEL_WIDTH, PANEL_HEIGHT, LEGEND_HEIGHT = 2.6, 2.4, 0.4  # inches


@dataclass(frozen=True)
class Curve:
    """``middle`` over ``x`` with the band from ``low`` to ``high``; ``finish``: where a final step takes it."""

    label: str
    x: Sequence[float]
    low: Sequence[float]
    middle: Sequence[float]
    high: Sequence[float]
    finish: tuple[float, float] | None = None


@dataclass(frozen=True)
class CurvePanel:
    """Curves with a title of their own and a horizontal line at ``goal``; all panels of a picture share both axes."""

    title: str
    curves: Sequence[Curve]
    goal: float


def draw_convergence(
    rows: Sequence[Sequence[CurvePanel]],
    folder: Path,
    name: str,
    *,
    xlabel: str,
    ylabel: str,
    ylim: tuple[float, float],
    goal_label: str,
    finish_label: str,
) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder`` and return both paths.

    Values below ``ylim`` lie on its lower edge. A dotted line leads from a curve down to its ``finish``.
    """
    columns = max(map(len, rows))
    size = (PANEL_WIDTH * columns + 0.3, PANEL_HEIGHT * len(rows) + LEGEND_HEIGHT)
    paths = picture_paths(folder, name)
    with saved_figure(paths, size) as figure:
        grid = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
        for axes_row, panels in zip(grid, rows):
            for axes, panel in zip(axes_row, panels):
                _draw(axes, panel, ylim)
        for axes in grid[-1]:
            axes.set_xlabel(xlabel)
        for axes in grid[:, 0]:
            axes.set_ylabel(ylabel)
        handles = [
            Line2D([], [], color=color, linestyle=line, label=curve.label)
            for curve, (color, line) in zip(rows[0][0].curves, STYLES)
        ]
        handles.append(Line2D([], [], color="black", linewidth=0.8, label=goal_label))
        handles.append(Line2D([], [], color="black", linewidth=0, marker="o", markersize=5, label=finish_label))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return paths


def _draw(axes: Axes, panel: CurvePanel, ylim: tuple[float, float]) -> None:
    axes.set_title(panel.title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(*ylim)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=6))
        axis.set_minor_locator(NullLocator())
    lighten(axes, "both")
    axes.axhline(panel.goal, color="black", linewidth=0.8)
    for curve, (color, line) in zip(panel.curves, STYLES):
        low, middle, high = ([max(value, ylim[0]) for value in part] for part in (curve.low, curve.middle, curve.high))
        axes.fill_between(curve.x, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(curve.x, middle, color=color, linestyle=line, linewidth=1.4)
        if curve.finish is not None:
            x, y = curve.finish[0], max(curve.finish[1], ylim[0])
            left = max((value for place, value in zip(curve.x, middle) if place >= x), default=middle[-1])
            axes.plot([x, x], [left, y], color=color, linestyle=":", linewidth=1.0)
            axes.plot([x], [y], color=color, marker="o", markersize=5, clip_on=False, zorder=3)

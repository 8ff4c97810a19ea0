"""How far z moves between recoveries, a line per node and a panel per one-stage run, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isnas.draw.figures import (
    LEGEND_HEIGHT,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    STYLES,
    lighten,
    picture_paths,
    saved_figure,
)

COLUMNS = 3
LINES: tuple[Literal["-", ":", "--", "-."], ...] = ("-", ":", "--", "-.")  # of the groups of nodes
END: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markeredgecolor": "black"}
FIXED: dict[str, Any] = {"color": "#888888", "linewidth": 0.8}


@dataclass(frozen=True)
class NodeCurve:
    """Distances over the epochs, up to the termination if there was one; a distance of 0 lies on the lower edge.

    ``group`` is the part of the architecture that has the node, and ``label`` its name there.
    """

    group: str
    label: str
    epochs: Sequence[float]
    distances: Sequence[float]
    terminated: bool


@dataclass(frozen=True)
class DistancePanel:
    """A run: a curve per node, its epsilon, and the epoch at which it was fixed."""

    title: str
    curves: Sequence[NodeCurve]
    epsilon: float
    fixed: float | None


def draw_distances(panels: Sequence[DistancePanel], folder: Path, name: str) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``; the panels share both axes; returns both paths.

    An epsilon below half the smallest distance of all lies outside the picture, and the panel says so.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (PANEL_WIDTH * max(columns, 2) + 0.3, PANEL_HEIGHT * rows + 2 * LEGEND_HEIGHT)
    paths = picture_paths(folder, name)
    with saved_figure(paths, size) as figure:
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        values = [y for panel in panels for curve in panel.curves for y in curve.distances if y > 0.0]
        lowest, highest = (min(values), max(values)) if values else (1e-4, 1.0)
        lowest = min([lowest, *(panel.epsilon for panel in panels if panel.epsilon >= lowest / 2)])
        for axes, panel in zip(grid.flat, panels):
            axes.set_yscale("log")
            axes.set_ylim(lowest / 1.5, highest * 1.5)
            _draw(axes, panel, lowest)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("distance of z")
        for place, axes in enumerate(grid.flat[: len(panels)]):
            if place + columns >= len(panels):
                axes.set_xlabel("epoch")
                axes.tick_params(labelbottom=True)
        handles = _legend([curve for panel in panels for curve in panel.curves])
        figure.legend(handles=handles, loc="outside upper center", ncols=-(-len(handles) // 2), frameon=False)
    return paths


def _draw(axes: Axes, panel: DistancePanel, lowest: float) -> None:
    axes.set_title(panel.title)
    lighten(axes)
    colors, lines = _styles(panel.curves)
    for curve in panel.curves:
        y = [max(distance, axes.get_ylim()[0]) for distance in curve.distances]
        color, line = colors[curve.label], lines[curve.group]
        axes.plot(curve.epochs, y, color=color, linestyle=line, linewidth=1.1, marker=".", markersize=3)
        if curve.terminated:
            axes.plot(curve.epochs[-1:], y[-1:], color=color, clip_on=False, **END)
    if panel.epsilon >= lowest:
        axes.axhline(panel.epsilon, **REFERENCE)
    else:
        words = f"$\\epsilon$ = {panel.epsilon:g} lies far below"
        axes.text(0.02, 0.04, words, transform=axes.transAxes, fontsize=8)
    if panel.fixed is not None:
        axes.axvline(panel.fixed, **FIXED)


def _styles(curves: Sequence[NodeCurve]) -> tuple[dict[str, str], dict[str, Any]]:
    """A colour per label, the same one in every group, and a kind of line per group."""
    labels, groups = (dict.fromkeys(names) for names in zip(*((curve.label, curve.group) for curve in curves)))
    return {label: color for label, (color, _) in zip(labels, cycle(STYLES))}, dict(zip(groups, cycle(LINES)))


def _legend(curves: Sequence[NodeCurve]) -> list[Line2D]:
    colors, lines = _styles(curves)
    handles = [Line2D([], [], color=color, label=label) for label, color in colors.items()]
    handles += [Line2D([], [], color="black", linestyle=line, label=group) for group, line in lines.items()]
    handles.append(Line2D([], [], color="white", label="terminates", **END))
    handles.append(Line2D([], [], label="fixed", **FIXED))
    return [*handles, Line2D([], [], label="$\\epsilon$", **REFERENCE)]

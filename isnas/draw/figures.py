"""What all figures of panels share: sizes, colours, and files that the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isnas.base.files import write_with

#: Colours of Okabe and Ito, told apart with every kind of colour vision, each with a marker of its own.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#56B4E9", "v"), ("#E69F00", "P"))
REFERENCE: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.0}
PANEL_WIDTH, PANEL_HEIGHT, LEGEND_HEIGHT = 2.9, 2.35, 0.35  # inches
DPI = 150


def picture_paths(folder: Path, name: str) -> list[Path]:
    """Where a picture goes: ``{name}.png`` and ``{name}.svg``."""
    return [folder / f"{name}.{suffix}" for suffix in ("png", "svg")]


@contextmanager
def saved_figure(paths: list[Path], size: tuple[float, float]) -> Iterator[Figure]:
    """A figure of this size in inches, to be drawn on in the block and then written to the paths."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        hashsalt = paths[0].stem
        matplotlib.rcParams.update(
            {"svg.fonttype": "none", "svg.hashsalt": hashsalt, "font.size": 9, "axes.titlesize": 9}
        )
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        for path in paths:
            suffix = path.suffix[1:]
            metadata = {"Date": None} if suffix == "svg" else None
            write_with(path, partial(figure.savefig, format=suffix, dpi=DPI, metadata=metadata))


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many of these labels fit beside one another into a legend of this width in inches, one at least."""
    longest = max(map(len, labels), default=0)
    return max(1, min(len(labels), int(width / (0.6 + 0.075 * longest))))


def lighten(axes: Axes, grid: Literal["both", "x", "y"] = "y") -> None:
    """A light grid behind what is drawn, and no frame above and to the right."""
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)

"""Which classes are taken for which: a matrix of coloured cells, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isnas.base.text import printable
from isnas.draw.figures import picture_paths, saved_figure
from isnas.draw.heat_maps import COLORS

#: So many classes have their names and numbers of images in the picture.
_LEGIBLE = 30
_LONGEST = 20


def draw_confusion(counts: np.ndarray, classes: Sequence[str], folder: Path) -> list[Path]:
    """Write ``confusion.png`` and ``confusion.svg`` into ``folder``; returns both paths.

    ``counts`` (K, K), images of the class of the row that were taken for that of the column. Colours are shares of the
    row.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    legible = len(classes) <= _LEGIBLE
    side = 2.4 + 0.42 * min(len(classes), _LEGIBLE)
    paths = picture_paths(folder, "confusion")
    with saved_figure(paths, (side + 0.8, side)) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap=COLORS, vmin=0.0, vmax=1.0)
        axes.set_xlabel("taken for")
        axes.set_ylabel("class")
        if legible:
            names = [printable(name[:_LONGEST]).replace("$", r"\$") for name in classes]
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.set_yticks(range(len(names)), names)
            for (row, column), count in np.ndenumerate(counts):
                color = "white" if shares[row, column] < 0.5 else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=7)
        figure.colorbar(image, ax=axes, label="share of the images of a class")
    return paths

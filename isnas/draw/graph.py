"""A graph of boxes and arrows as PNG and SVG; the same graph gives the same bytes on the same machine."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from isnas.base.files import replacing
from isnas.draw.figures import picture_paths
from isnas.draw.layout import BOX_SIZE, LABEL_SIZE, Graph, Wire, lay_out

DPI = 220
HEAD_LENGTH, HEAD_WIDTH = 0.09, 0.07  # inches


def draw_graph(graph: Graph, folder: Path, name: str) -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``, made if need be; returns both paths."""
    pictures, paths = render_graph(graph), picture_paths(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        with replacing(path) as temporary:
            temporary.write_bytes(pictures[path.suffix[1:]])
    return paths


def render_graph(graph: Graph) -> dict[str, bytes]:
    """The picture as ``{"png": ..., "svg": ...}``, whatever Matplotlib's settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "graph"})
        layout = lay_out(graph)
        figure = Figure(figsize=(layout.width, layout.height))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, layout.width), ylim=(layout.height, 0))
        axes.set_axis_off()
        for wire in layout.wires:
            color, _ = wire.arrow.colors
            axes.add_patch(PathPatch(curve(wire), fill=False, edgecolor=color, linewidth=1.2, zorder=1))
            x, y = wire.points[-1]
            head = [(x, y), (x - HEAD_LENGTH, y - HEAD_WIDTH / 2), (x - HEAD_LENGTH, y + HEAD_WIDTH / 2)]
            axes.add_patch(Polygon(head, facecolor=color, linewidth=0, zorder=2))
        for place in layout.places:
            label = place.box.kind == "label"
            color, filling = place.box.colors
            corner = (place.x - place.width / 2, place.y - place.height / 2)
            patch = FancyBboxPatch(corner, place.width, place.height, "round,pad=0,rounding_size=0.08", zorder=3)
            patch.set(edgecolor=color, facecolor=filling, linewidth=0.8 if label else 1.2)
            axes.add_patch(patch)
            text = axes.text(place.x, place.y, place.box.text, ha="center", va="center_baseline")
            text.set(fontsize=LABEL_SIZE if label else BOX_SIZE, color=color if label else "black", zorder=4)
        return {"png": _saved(figure, "png"), "svg": _saved(figure, "svg", {"Date": None})}


def curve(wire: Wire) -> Curve:
    """From point to point, straight and curved in turn, ending inside the arrow head."""
    x, y = wire.points[-1]
    end = x - HEAD_LENGTH / 2
    points = [*wire.points[:-2], (min(wire.points[-2][0], end), y), (end, y)]
    vertices, codes = [points[0]], [Curve.MOVETO]
    for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        middle = (x0 + x1) / 2
        vertices += [(middle, y0), (middle, y1), (x1, y1)] if i % 2 else [(x1, y1)]
        codes += [Curve.CURVE4] * 3 if i % 2 else [Curve.LINETO]
    return Curve(vertices, codes)


def _saved(figure: Figure, suffix: str, metadata: dict[str, None] | None = None) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix, dpi=DPI, metadata=metadata)
    return stream.getvalue()

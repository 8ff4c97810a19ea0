"""Cells as PNG and SVG pictures, by Graphviz where its ``dot`` is installed and by Matplotlib elsewhere.

Either way inputs are on the left, intermediate nodes are numbered from 0, every operation is a label on its
connection, in the colour of its family, and grey arrows lead from the concatenated nodes to the output. The same cell
gives the same bytes on the same machine.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from subprocess import CalledProcessError

import graphviz
import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from isnas.base.errors import UserError
from isnas.base.files import replacing
from isnas.draw.layout import FONT, LABEL_SIZE, NODE_SIZE, Wire, lay_out, node_height
from isnas.space.cells.genotype import Genotype, Node

BACKENDS = ("auto", "graphviz", "matplotlib")
Cell = tuple[Sequence[Node], Sequence[int]]

#: Outline and filling by kind of box, or by a part of an operation's name: the first that matches.
COLORS = {
    "input": ("#6a9955", "#d5e8d4"),
    "node": ("#5b7fae", "#dae8fc"),
    "output": ("#c9a227", "#fff2cc"),
    "sep_conv": ("#1f5fa8", "#eaf2fb"),
    "dil_conv": ("#b34a0b", "#fdf0e7"),
    "pool": ("#23784a", "#e9f6ee"),
    "skip": ("#5f4b8b", "#f1eef8"),
    "conv": ("#a0256e", "#fbebf4"),
    "": ("#9aa3ad", "#f2f3f5"),
}
DPI = 220
HEAD_LENGTH, HEAD_WIDTH = 0.09, 0.07  # inches


def draw_genotype(genotype: Genotype, folder: Path, name: str = "cell", backend: str = "auto") -> list[Path]:
    """Write ``{name}_normal`` and ``{name}_reduce``, each as .png and .svg, into ``folder``; returns the four paths.

    Raises:
        UserError: for an unknown backend, or for ``graphviz`` when ``dot`` is missing or fails. With ``auto``,
            Matplotlib draws both cells then.
    """
    cells = ((genotype.normal, genotype.normal_concat), (genotype.reduce, genotype.reduce_concat))
    pictures = _render(cells, backend)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, formats in zip(("normal", "reduce"), pictures):
        for suffix, picture in formats.items():
            paths.append(folder / f"{name}_{kind}.{suffix}")
            with replacing(paths[-1]) as temporary:
                temporary.write_bytes(picture)
    return paths


def render_cell(nodes: Sequence[Node], concat: Sequence[int], backend: str = "auto") -> dict[str, bytes]:
    """One cell of a genotype as ``{"png": ..., "svg": ...}``; raises what :func:`draw_genotype` raises."""
    return _render([(nodes, concat)], backend)[0]


def _render(cells: Sequence[Cell], backend: str) -> list[dict[str, bytes]]:
    if backend not in BACKENDS:
        raise UserError(f"unknown drawing backend {backend!r}; choose from {', '.join(BACKENDS)}")
    if backend != "matplotlib":
        try:
            return [_by_graphviz(*cell) for cell in cells]
        except (graphviz.ExecutableNotFound, CalledProcessError, OSError) as error:
            problem = " ".join(str(error).split())
            if backend == "graphviz":
                raise UserError(f"Graphviz cannot draw the cell: {problem}; the backend matplotlib can") from None
            if not isinstance(error, graphviz.ExecutableNotFound):
                warnings.warn(f"Graphviz failed, so Matplotlib draws the cells: {problem}", stacklevel=3)
    return [_by_matplotlib(*cell) for cell in cells]


def _colors(name: str) -> tuple[str, str]:
    return next(colors for part, colors in COLORS.items() if part in name)


def _by_graphviz(nodes: Sequence[Node], concat: Sequence[int]) -> dict[str, bytes]:
    graph = graphviz.Digraph("cell")
    graph.attr(rankdir="LR", nodesep="0.18", ranksep="0.6", pad="0.08", outputorder="edgesfirst", mclimit="4")
    graph.attr("node", shape="box", style="rounded,filled", fontname=f"{FONT},Verdana,sans-serif")
    graph.attr("edge", arrowsize="0.6", penwidth="1.2")

    def box(key: str, kind: str, text: str, arrivals: int = 0) -> None:
        color, fill = _colors(kind)
        size = {"fontsize": str(NODE_SIZE), "width": "0.5", "height": str(node_height(arrivals)), "penwidth": "1.2"}
        graph.node(key, text, color=color, fillcolor=fill, margin="0.1,0.04", **size)

    def symbol(subscript: str) -> str:
        return f'<<i>c</i><sub><font point-size="9">{subscript}</font></sub>>'

    for key, subscript in (("0", "<i>k</i>&minus;2"), ("1", "<i>k</i>&minus;1")):
        box(key, "input", symbol(subscript))
    with graph.subgraph() as inputs:
        inputs.attr(rank="source")
        inputs.edge("0", "1", style="invis")
    for index, node in enumerate(nodes, start=2):
        box(str(index), "node", str(index - 2), len(node))
        if not node:
            graph.edge("1", str(index), style="invis")
        for number, (operation, predecessor) in enumerate(node):
            key = f"{index}_{number}"
            color, fill = _colors(operation)
            size = {"fontsize": str(LABEL_SIZE), "width": "0", "height": "0.22", "penwidth": "0.8"}
            graph.node(key, operation, color=color, fillcolor=fill, fontcolor=color, margin="0.08,0.02", **size)
            graph.edge(f"{predecessor}:e", f"{key}:w", color=color, arrowhead="none")
            graph.edge(f"{key}:e", str(index), color=color)
    box("output", "output", symbol("<i>k</i>"), len(concat))
    with graph.subgraph() as outputs:
        outputs.attr(rank="sink")
        outputs.node("output")
    for index in concat:
        graph.edge(f"{index}:e", "output", color=_colors("")[0])
    svg = graph.pipe("svg", quiet=True)
    graph.attr(dpi=str(DPI))
    return {"png": graph.pipe("png", quiet=True), "svg": svg}


def _by_matplotlib(nodes: Sequence[Node], concat: Sequence[int]) -> dict[str, bytes]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "cell", "mathtext.fontset": "dejavusans"})
        layout = lay_out(nodes, concat)
        figure = Figure(figsize=(layout.width, layout.height))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, layout.width), ylim=(layout.height, 0))
        axes.set_axis_off()
        for wire in layout.wires:
            color, _ = _colors(wire.operation)
            axes.add_patch(PathPatch(curve(wire), fill=False, edgecolor=color, linewidth=1.2, zorder=1))
            x, y = wire.points[-1]
            head = [(x, y), (x - HEAD_LENGTH, y - HEAD_WIDTH / 2), (x - HEAD_LENGTH, y + HEAD_WIDTH / 2)]
            axes.add_patch(Polygon(head, facecolor=color, linewidth=0, zorder=2))
        for box in layout.boxes:
            label = box.kind == "label"
            color, fill = _colors(box.text if label else box.kind)
            corner = (box.x - box.width / 2, box.y - box.height / 2)
            patch = FancyBboxPatch(corner, box.width, box.height, "round,pad=0,rounding_size=0.08", zorder=3)
            patch.set(edgecolor=color, facecolor=fill, linewidth=0.8 if label else 1.2)
            axes.add_patch(patch)
            text = axes.text(box.x, box.y, box.text, ha="center", va="center_baseline", zorder=4)
            text.set(fontsize=LABEL_SIZE if label else NODE_SIZE, color=color if label else "black")
        return {"png": _saved(figure, "png"), "svg": _saved(figure, "svg", {"Date": None})}


def curve(wire: Wire) -> Curve:
    """From point to point, straight and curved in turn, ending inside the arrow head."""
    x, y = wire.points[-1]
    points = [*wire.points[:-1], (x - HEAD_LENGTH / 2, y)]
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

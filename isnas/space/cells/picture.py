"""Both cells of a genotype as pictures: inputs on the left, operations as labels on their connections, output right.

Nodes have the numbers that a genotype gives them: 0 and 1 are the inputs, 2, 3, ... the intermediate nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isnas.draw.graph import draw_graph, render_graph
from isnas.draw.layout import Arrow, Box, Graph
from isnas.draw.stacked import stacked
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.operations import OPERATIONS
from isnas.space.pairs import Node

INPUT_COLORS, NODE_COLORS, OUTPUT_COLORS = ("#6a9955", "#d5e8d4"), ("#5b7fae", "#dae8fc"), ("#c9a227", "#fff2cc")
CONCATENATION_COLORS = ("#9aa3ad", "#f2f3f5")


def svg_of(genotype: Genotype) -> str:
    """Both cells below one another as the text of one SVG."""
    cells = {"normal cell": (genotype.normal, genotype.normal_concat)}
    cells["reduction cell"] = (genotype.reduce, genotype.reduce_concat)
    return stacked({title: render_graph(cell_graph(*cell))["svg"] for title, cell in cells.items()})


def draw_genotype(genotype: Genotype, folder: Path, name: str = "cell") -> list[Path]:
    """Write ``{name}_normal`` and ``{name}_reduce``, each as .png and .svg, into ``folder``; returns the four paths."""
    normal = cell_graph(genotype.normal, genotype.normal_concat)
    reduce = cell_graph(genotype.reduce, genotype.reduce_concat)
    return [*draw_graph(normal, folder, f"{name}_normal"), *draw_graph(reduce, folder, f"{name}_reduce")]


def cell_graph(nodes: Sequence[Node], concat: Sequence[int]) -> Graph:
    """One cell of a genotype: its boxes are the nodes by number, and then the output."""
    inputs = [Box("input", f"$c_{{k{{-}}{2 - number}}}$ ({number})", INPUT_COLORS) for number in (0, 1)]
    inner = [Box("inner", str(number), NODE_COLORS) for number, _ in enumerate(nodes, 2)]
    arrows = [
        Arrow(predecessor, number, OPERATIONS[operation].colors, operation)
        for number, node in enumerate(nodes, 2)
        for operation, predecessor in node
    ]
    arrows += [Arrow(number, len(nodes) + 2, CONCATENATION_COLORS) for number in concat]
    return Graph((*inputs, *inner, Box("output", "$c_{k}$", OUTPUT_COLORS)), tuple(arrows))

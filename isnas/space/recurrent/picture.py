"""A recurrent cell as a picture: input and state before on the left, activations as labels, the mean on the right.

Nodes have the numbers that a genotype gives them: 0 is made of the input and the state before, 1, 2, ... are searched.
"""

from __future__ import annotations

from pathlib import Path

from isnas.draw.graph import draw_graph, render_graph
from isnas.draw.layout import Arrow, Box, Graph
from isnas.draw.stacked import stacked
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.operations import OPERATIONS

INPUT_COLORS, NODE_COLORS, OUTPUT_COLORS = ("#6a9955", "#d5e8d4"), ("#5b7fae", "#dae8fc"), ("#c9a227", "#fff2cc")
PLAIN_COLORS = ("#9aa3ad", "#f2f3f5")


def svg_of(genotype: RecurrentGenotype) -> str:
    """The cell as the text of an SVG."""
    return stacked({"": render_graph(cell_graph(genotype))["svg"]})


def draw_genotype(genotype: RecurrentGenotype, folder: Path, name: str = "cell") -> list[Path]:
    """Write ``{name}.png`` and ``{name}.svg`` into ``folder``; returns both paths."""
    return draw_graph(cell_graph(genotype), folder, name)


def cell_graph(genotype: RecurrentGenotype) -> Graph:
    """Its boxes are x and the state before, the nodes by number, and then the output; node k is the box k + 2."""
    inputs = [Box("input", text, INPUT_COLORS) for text in ("$x_{t}$", "$h_{t{-}1}$")]
    inner = [Box("inner", str(number), NODE_COLORS) for number in range(len(genotype.recurrent) + 1)]
    arrows = [Arrow(0, 2, PLAIN_COLORS), Arrow(1, 2, PLAIN_COLORS)]
    arrows += [
        Arrow(predecessor + 2, number + 2, OPERATIONS[operation].colors, operation)
        for number, node in enumerate(genotype.recurrent, 1)
        for operation, predecessor in node
    ]
    output = len(inner) + 2
    arrows += [Arrow(number + 2, output, PLAIN_COLORS) for number in genotype.concat]
    return Graph((*inputs, *inner, Box("output", "mean $h_{t}$", OUTPUT_COLORS)), tuple(arrows))

"""Cells as pictures: every connection is there, under the numbers of the genotype, in the colours of its operation."""

from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from geometry import check_layout
from matplotlib.image import imread

from isnas.draw.layout import lay_out
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.operations import OPERATIONS
from isnas.space.cells.picture import (
    INPUT_COLORS,
    NODE_COLORS,
    OUTPUT_COLORS,
    cell_graph,
    draw_genotype,
)
from isnas.space.cells.published import PUBLISHED
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.cells.space import CellSpace

pytestmark = pytest.mark.slow

AWKWARD = Genotype(
    normal=(
        (),
        (("skip_connect", 0), ("skip_connect", 0), ("max_pool_3x3", 0), ("conv_7x1_1x7", 1), ("sep_conv_7x7", 2)),
        tuple((operation, number % 4) for number, operation in enumerate(OPERATIONS)),
        (("dil_conv_5x5", 2), ("dil_conv_5x5", 2)),
        (),
    ),
    normal_concat=(3, 5),
    reduce=((), ()),
    reduce_concat=(3,),
)
#: 35 connections a cell
WIRED = resolve_genotype("random_wired:0:70", CellSpace(tuple(OPERATIONS)[:5]))
GENOTYPES = {name: published.genotype for name, published in PUBLISHED.items()}
GENOTYPES |= {"awkward": AWKWARD, "wired": WIRED}
OPERATION_COLORS = {name: row.colors for name, row in OPERATIONS.items()}
KINDS = ("normal", "reduce")
CELLS = [(name, kind) for name in GENOTYPES for kind in KINDS]


def cell(name: str, kind: str) -> tuple:
    return getattr(GENOTYPES[name], kind), getattr(GENOTYPES[name], f"{kind}_concat")


@pytest.mark.parametrize(("name", "kind"), CELLS)
def test_the_layout_has_every_connection_and_no_overlap(name, kind):
    nodes, concat = cell(name, kind)
    graph = cell_graph(nodes, concat)
    check_layout(graph, lay_out(graph))
    numbers = [*range(len(nodes) + 2), "output"]
    found = Counter((numbers[a.source], a.text, numbers[a.target]) for a in graph.arrows)
    expected = Counter((p, operation, index) for index, node in enumerate(nodes, 2) for operation, p in node)
    assert found == expected + Counter((index, "", "output") for index in concat)
    texts = ["$c_{k{-}2}$ (0)", "$c_{k{-}1}$ (1)", *map(str, range(2, len(nodes) + 2)), "$c_{k}$"]
    assert [box.text for box in graph.boxes] == texts


def test_every_family_of_operations_has_colours_of_its_own():
    families = ({"sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"}, {"dil_conv_3x3", "dil_conv_5x5"})
    families += ({"max_pool_3x3", "avg_pool_3x3"}, {"skip_connect"}, {"conv_7x1_1x7"})
    for family in families:
        assert len({OPERATION_COLORS[operation] for operation in family}) == 1
    assert len(set(OPERATION_COLORS.values())) == len(families)


@pytest.mark.parametrize("name", ["NASNet", "AmoebaNet", "CoNAS_release", "awkward"])
def test_files(name, tmp_path):
    folder = tmp_path / "new" / "folder"
    paths = draw_genotype(GENOTYPES[name], folder, "arch.v1")
    assert paths == [folder / f"arch.v1_{kind}.{suffix}" for kind in KINDS for suffix in ("png", "svg")]
    assert sorted(folder.iterdir()) == sorted(paths)
    for kind, png, svg in zip(KINDS, paths[::2], paths[1::2]):
        nodes, _ = cell(name, kind)
        operations = [operation for node in nodes for operation, _ in node]
        elements = list(ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text"))
        texts = Counter((element.text or "").strip() for element in elements)
        assert {text: count for text, count in texts.items() if text in OPERATIONS} == Counter(operations)
        assert {t: n for t, n in texts.items() if t.isdigit()} == {str(i + 2): 1 for i in range(len(nodes))}
        formulas = {"".join("".join(element.itertext()).split()) for element in elements}
        assert {"ck\N{MINUS SIGN}2(0)", "ck\N{MINUS SIGN}1(1)", "ck"} <= formulas

        pixels = np.round(imread(png, format="png")[..., :3] * 255).astype(int)
        height, width, _ = pixels.shape
        assert 200 < height < 1500 and 400 < width < 4000
        assert 0.02 < (pixels < 250).any(-1).mean() < 0.7
        assert all((edge > 250).all() for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]))
        counts = np.bincount((pixels @ [1 << 16, 1 << 8, 1]).ravel())
        seen = {f"#{color:06x}" for color in np.flatnonzero(counts > 2000)}
        always = {INPUT_COLORS, NODE_COLORS, OUTPUT_COLORS}
        expected = {OPERATION_COLORS[operation] for operation in operations} | always
        assert {colors for colors in {*OPERATION_COLORS.values(), *always} if colors[1] in seen} == expected


def test_pictures_do_not_depend_on_where_they_are_written(tmp_path):
    first = draw_genotype(AWKWARD, tmp_path / "one")
    second = draw_genotype(AWKWARD, tmp_path / "two", "other")
    assert [path.name for path in first] == [f"cell_{kind}.{suffix}" for kind in KINDS for suffix in ("png", "svg")]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len({path.read_bytes() for path in first}) == 4

"""Rows of boxes: every text in its place, one wire from the first box to the last, the same bytes every time."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from isnas.draw.rows import BOX_HEIGHT, ROW_GAP, Cell, Row, draw_rows
from isnas.space.chain.candidates import CANDIDATES
from isnas.space.chain.genotype import ChainGenotype
from isnas.space.chain.picture import chain_rows
from isnas.space.chain.published import PUBLISHED
from isnas.space.chain.space import ChainSpace

SVG = "{http://www.w3.org/2000/svg}"
RED, BLUE = ("#aa2222", "#ffdddd"), ("#2222aa", "#ddddff")
ROWS = [
    Row("above", (Cell("one", RED, 0.5), Cell("two", BLUE), Cell("three", RED, 2.0))),
    Row("below", (Cell("four", BLUE),)),
]


def test_texts_read_from_left_to_right_and_from_top_to_bottom(tmp_path):
    paths = draw_rows(ROWS, tmp_path / "new", "rows")
    assert paths == [tmp_path / "new" / "rows.png", tmp_path / "new" / "rows.svg"]
    elements = ElementTree.parse(paths[1]).iter(f"{SVG}text")
    (above, *first), (below, *second) = ([row.label, *(cell.text for cell in row.cells)] for row in ROWS)
    placed = {element.text: (float(element.get("x")), float(element.get("y"))) for element in elements}
    assert sorted(placed, key=lambda text: placed[text][0])[:2] == [above, below]
    assert sorted(first, key=lambda text: placed[text][0]) == first
    assert placed[first[0]][0] == placed[second[0]][0]
    for label, texts in ((above, first), (below, second)):
        assert all(abs(placed[text][1] - placed[label][1]) < 1 for text in texts)
    assert placed[below][1] - placed[above][1] == pytest.approx(72 * ((1 + 0.5) * BOX_HEIGHT + ROW_GAP))


def test_boxes_have_their_colours_and_heights_and_follow_one_another(tmp_path):
    pixels = np.round(imread(draw_rows(ROWS, tmp_path, "rows")[0])[..., :3] * 255).astype(int)
    codes = pixels @ [1 << 16, 1 << 8, 1]
    areas = {colors: (codes == int(colors[1][1:], 16)).sum() for colors in (RED, BLUE)}
    assert 2.0 < areas[RED] / (areas[BLUE] / 2) < 3.0  # 0.5 and 2 box heights beside two of 1, but for the texts
    edges = np.concatenate([pixels[:3].ravel(), pixels[-3:].ravel(), pixels[:, :3].ravel(), pixels[:, -3:].ravel()])
    assert (edges > 250).all()
    again = draw_rows(ROWS, tmp_path / "again", "rows")
    assert [path.read_bytes() for path in again] == [(tmp_path / path.name).read_bytes() for path in again]


def test_a_chain_has_a_row_for_each_stage(tmp_path):
    genotype = PUBLISHED["ProxylessNAS_GPU"].genotype
    rows = chain_rows(genotype)
    assert [row.label for row in rows] == [f"stage {number}" for number in range(1, 7)]
    assert [cell.text for row in rows for cell in row.cells] == [block for (block,) in genotype.blocks]
    assert all(cell.colors == CANDIDATES[cell.text].colors for row in rows for cell in row.cells)
    heights = {cell.text: cell.height for row in rows for cell in row.cells}
    assert heights["skip"] < heights["k5_e3"] == heights["k3_e3"] < heights["k5_e6"] == heights["k7_e6"]
    png, svg = ChainSpace("gpu").draw(genotype, tmp_path)
    assert (png.name, svg.name) == ("chain.png", "chain.svg")
    texts = [(element.text or "").strip() for element in ElementTree.parse(svg).iter(f"{SVG}text")]
    assert [each for each in texts if not each.startswith("stage")] == [block for (block,) in genotype.blocks]
    (several,) = chain_rows(ChainGenotype(((("k3_e3", "k7_e6"),),)))[0].cells
    assert several.text == "k3_e3\nk7_e6" and several.colors == CANDIDATES["k7_e6"].colors

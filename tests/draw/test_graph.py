"""Graphs as pictures: what is placed where, what is in the files, and the same bytes every time."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from geometry import check_layout, trace
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from isnas.draw.graph import DPI, draw_graph, render_graph
from isnas.draw.layout import BOX_SIZE, LABEL_SIZE, Arrow, Box, Graph, Layout, lay_out

ROOT = Path(__file__).resolve().parents[2]
GREY, RED, BLUE = ("#777777", "#eeeeee"), ("#aa2222", "#ffdddd"), ("#2222aa", "#ddddff")


def box(kind: str, text: str) -> Box:
    return Box(kind, text, {"input": GREY, "inner": BLUE, "output": RED}[kind])


def random_graph(seed: int) -> Graph:
    """A few boxes of each kind, wide and narrow, with or without arrows into them, labelled and not, some twice."""
    rng = random.Random(seed)
    kinds = ["input"] * rng.randint(1, 4) + ["inner"] * rng.randint(0, 6) + ["output"] * rng.randint(0, 3)
    texts = [f"{kind} {number}" if rng.random() < 0.3 else str(number) for number, kind in enumerate(kinds)]
    sources = [number for number, kind in enumerate(kinds) if kind != "output"]
    arrows = [
        Arrow(rng.choice([source for source in sources if source < target]), target, rng.choice((RED, BLUE)), text)
        for target, kind in enumerate(kinds)
        if kind != "input"
        for text in rng.choices(("", "a", "a long label", r"$\alpha_{i}^2$"), k=rng.randint(0, 4))
    ]
    rng.shuffle(arrows)
    return Graph(tuple(map(box, kinds, texts)), tuple(arrows))


SMALL = Graph(
    (box("input", "$x_1$"), box("input", "$x_2$"), box("inner", "sum"), box("output", "end")),
    (Arrow(0, 2, RED, "twice"), Arrow(1, 2, BLUE, "once"), Arrow(1, 3, GREY, "past"), Arrow(2, 3, GREY)),
)
CHAIN = Graph(
    (*(box("input", f"{i}") for i in range(2)), *(box("inner", f"{i}") for i in range(2, 6)), box("output", "end")),
    (
        *(Arrow(i - 1, i, BLUE, "next") for i in range(2, 6)),
        *(Arrow(0, i, RED, "from the start") for i in range(2, 6)),
        *(Arrow(i, 6, GREY) for i in range(2, 6)),
    ),
)
GRAPHS = {"small": SMALL, "chain": CHAIN} | {f"random {seed}": random_graph(seed) for seed in range(24)}


@cache
def layout(name: str) -> Layout:
    return lay_out(GRAPHS[name])


@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_keep_their_distance_and_wires_touch_no_other_box(name):
    check_layout(GRAPHS[name], layout(name))


@pytest.mark.parametrize("name", GRAPHS)
def test_arrows_lead_to_the_right_between_inputs_and_outputs(name):
    places = layout(name).places
    x = {kind: [place.x for place in places if place.box.kind == kind] for kind in ("input", "inner", "output")}
    assert len(set(x["input"])) == 1 and len(set(x["output"])) <= 1
    assert max(x["input"]) < min(x["inner"] + x["output"], default=np.inf)
    assert max(x["input"] + x["inner"]) < min(x["output"], default=np.inf)
    for wire in layout(name).wires:
        assert (np.diff(trace(wire)[:, 0]) > -1e-9).all()


def test_every_text_fits_into_its_box():
    """Measured by the renderer, in inches, with a little room at either side."""
    figure = Figure(dpi=DPI)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for name in GRAPHS:
        for place in layout(name).places:
            size = LABEL_SIZE if place.box.kind == "label" else BOX_SIZE
            extent = figure.text(0, 0, place.box.text, fontsize=size).get_window_extent(renderer)
            assert extent.width / DPI < place.width - 0.08 and extent.height / DPI < place.height, (name, place)


def test_a_chain_is_drawn_without_crossings():
    """It can be drawn in the plane with its inputs in order."""
    traces = [trace(wire) for wire in layout("chain").wires]
    assert len(traces) == 12
    for a, b in combinations(traces, 2):
        left, right = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
        if left < right:
            x = np.linspace(left, right, 400)
            gap = np.interp(x, *a.T) - np.interp(x, *b.T)
            assert not (gap.min() < -1e-3 and gap.max() > 1e-3)


@pytest.mark.parametrize(
    ("source", "target"), [(2, 2), (2, 1), (0, 1), (3, 3), (0, 4), (-1, 2)], ids=lambda number: str(number)
)
def test_an_arrow_leads_onwards(source, target):
    with pytest.raises(AssertionError):
        Graph(SMALL.boxes, (Arrow(source, target, RED),))


def test_files(tmp_path):
    folder = tmp_path / "new" / "folder"
    paths = draw_graph(SMALL, folder, "graph.v1")
    assert paths == [folder / "graph.v1.png", folder / "graph.v1.svg"]
    assert sorted(folder.iterdir()) == paths
    assert [path.read_bytes() for path in paths] == list(render_graph(SMALL).values())

    elements = ElementTree.parse(paths[1]).iter("{http://www.w3.org/2000/svg}text")
    texts = Counter((element.text or "").strip() for element in elements)
    assert {text: number for text, number in texts.items() if text} == dict.fromkeys(
        ("sum", "end", "twice", "once", "past"), 1
    )

    pixels = np.round(imread(paths[0], format="png")[..., :3] * 255).astype(int)
    assert pixels.shape[:2] == tuple(int(DPI * size) for size in (layout("small").height, layout("small").width))
    assert (pixels[:3] > 250).all() and (pixels[:, :3] > 250).all() and (pixels[-3:] > 250).all()
    counts = np.bincount((pixels @ [1 << 16, 1 << 8, 1]).ravel())
    assert {f"#{color:06x}" for color in np.flatnonzero(counts > 2000)} >= {GREY[1], RED[1], BLUE[1], "#ffffff"}
    for place in layout("small").places:
        x, y = round(DPI * (place.x - place.width / 2 + 0.05)), round(DPI * place.y)
        assert "#{:02x}{:02x}{:02x}".format(*pixels[y, x]) == place.box.colors[1]


def test_same_bytes_whatever_the_settings_and_the_process():
    first = render_graph(SMALL)
    settings = {
        "font.size": 30,
        "svg.fonttype": "path",
        "savefig.bbox": "tight",
        "svg.hashsalt": "other",
        "mathtext.fontset": "cm",
    }
    with matplotlib.rc_context(settings):
        second = render_graph(SMALL)
        assert lay_out(SMALL) == layout("small")
        assert {key: matplotlib.rcParams[key] for key in settings} == settings
    assert first == second
    script = f"""
import hashlib, sys
from isnas.draw.graph import render_graph
from isnas.draw.layout import Arrow, Box, Graph
pictures = render_graph({SMALL!r})
assert "matplotlib.pyplot" not in sys.modules
print(*(hashlib.sha256(pictures[key]).hexdigest() for key in ("png", "svg")))
"""
    env = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    output = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    assert output.split() == [hashlib.sha256(first[key]).hexdigest() for key in ("png", "svg")]

import hashlib
import os
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import graphviz
import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from isnas.base.errors import UserError
from isnas.draw.cells import COLORS, curve, draw_genotype, render_cell
from isnas.draw.layout import Box, Layout, Wire, lay_out
from isnas.space.cells.genotype import OPERATIONS, Genotype
from isnas.space.cells.published import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]
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
GENOTYPES = {name: published.genotype for name, published in PUBLISHED.items()} | {"awkward": AWKWARD}
CELLS = [(name, kind) for name in GENOTYPES for kind in ("normal", "reduce")]
DOT = pytest.param("graphviz", marks=pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's dot"))


def cell(name: str, kind: str) -> tuple:
    return getattr(GENOTYPES[name], kind), getattr(GENOTYPES[name], f"{kind}_concat")


@cache
def layout(name: str, kind: str) -> Layout:
    return lay_out(*cell(name, kind))


def overlap(a: Box, b: Box, margin: float) -> bool:
    horizontally = abs(a.x - b.x) < (a.width + b.width) / 2 + margin
    return horizontally and abs(a.y - b.y) < (a.height + b.height) / 2 + margin


def trace(wire: Wire) -> np.ndarray:
    """Points along a wire as it is drawn, as (n, 2)."""
    return np.concatenate([bezier(np.linspace(0, 1, 60)) for bezier, _ in curve(wire).iter_bezier()])


def touched(wire: Wire, boxes: tuple[Box, ...], margin: float = 0.05) -> list[Box]:
    """The boxes that a wire comes near to, from left to right."""
    x, y = trace(wire).T
    hits = [
        box
        for box in boxes
        if np.any((abs(x - box.x) < box.width / 2 + margin) & (abs(y - box.y) < box.height / 2 + margin))
    ]
    return sorted(hits, key=lambda box: box.x)


def test_boxes_keep_their_distance_and_stay_in_the_picture():
    for name, kind in CELLS:
        placed = layout(name, kind)
        for a, b in combinations(placed.boxes, 2):
            assert not overlap(a, b, 0.1), (name, kind, a, b)
        for box in placed.boxes:
            assert box.width / 2 < box.x < placed.width - box.width / 2, (name, kind, box)
            assert box.height / 2 < box.y < placed.height - box.height / 2, (name, kind, box)


def test_wires_are_the_connections_and_touch_no_other_box():
    for name, kind in CELLS:
        nodes, concat = cell(name, kind)
        placed = layout(name, kind)
        inputs = sorted((box for box in placed.boxes if box.kind == "input"), key=lambda box: box.y)
        numbers = {inputs[0]: 0, inputs[1]: 1} | {b: int(b.text) + 2 for b in placed.boxes if b.kind == "node"}
        found = Counter()
        for wire in placed.wires:
            first, *between, last = touched(wire, placed.boxes)
            assert [(box.kind, box.text) for box in between] == ([("label", wire.operation)] if wire.operation else [])
            assert first.kind != "label"
            found[numbers[first], wire.operation, numbers.get(last, last.kind)] += 1
        expected = Counter((p, operation, index) for index, node in enumerate(nodes, 2) for operation, p in node)
        assert found == expected + Counter((index, "", "output") for index in concat), (name, kind)
        assert [box.text for box in inputs] == ["$c_{k{-}2}$", "$c_{k{-}1}$"]
        assert sum(box.kind == "label" for box in placed.boxes) == sum(map(len, nodes))


def test_a_chain_is_drawn_without_crossings():
    """The reduction cell of two-stage ISTA-NAS can be drawn in the plane with its inputs in order."""
    traces = [trace(wire) for wire in layout("ISTA_twostage", "reduce").wires]
    for a, b in combinations(traces, 2):
        left, right = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
        if left < right:
            x = np.linspace(left, right, 400)
            gap = np.interp(x, *a.T) - np.interp(x, *b.T)
            assert not (gap.min() < -1e-3 and gap.max() > 1e-3)


@pytest.mark.parametrize("backend", ["matplotlib", DOT])
@pytest.mark.parametrize("name", ["NASNet", "AmoebaNet", "CoNAS_release", "awkward"])
def test_files(name, backend, tmp_path):
    folder = tmp_path / "new" / "folder"
    paths = draw_genotype(GENOTYPES[name], folder, "arch.v1", backend)
    kinds = ("normal", "normal", "reduce", "reduce")
    assert paths == [folder / f"arch.v1_{kind}.{suffix}" for kind, suffix in zip(kinds, ("png", "svg") * 2)]
    assert sorted(folder.iterdir()) == sorted(paths)
    for kind, png, svg in zip(("normal", "reduce"), paths[::2], paths[1::2]):
        nodes, _ = cell(name, kind)
        operations = [operation for node in nodes for operation, _ in node]
        check_png(png, operations)
        check_svg(svg, operations, len(nodes))


def check_png(path: Path, operations: list[str]) -> None:
    """The fillings that are in the picture are those of its operations' families."""
    pixels = np.round(imread(path, format="png")[..., :3] * 255).astype(int)
    height, width, _ = pixels.shape
    assert 200 < height < 1500 and 400 < width < 4000
    assert 0.02 < (pixels < 250).any(-1).mean() < 0.7
    assert (pixels[:3] > 250).all() and (pixels[:, :3] > 250).all()
    counts = np.bincount((pixels @ [1 << 16, 1 << 8, 1]).ravel())
    seen = {f"#{color:06x}" for color in np.flatnonzero(counts > 2000)}
    families = {next(part for part in COLORS if part in operation) for operation in operations}
    fillings = {part: filling for part, (_, filling) in COLORS.items() if part}
    assert {part for part, filling in fillings.items() if filling in seen} == families | {"input", "node", "output"}


def check_svg(path: Path, operations: list[str], num_nodes: int) -> None:
    elements = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    texts = Counter((element.text or "").strip() for element in elements)
    assert {text: count for text, count in texts.items() if text in OPERATIONS} == Counter(operations)
    assert {text: count for text, count in texts.items() if text.isdigit()} == {str(i): 1 for i in range(num_nodes)}


@pytest.mark.parametrize("backend", ["matplotlib", DOT])
def test_same_bytes_whatever_the_settings_and_the_process(backend):
    first = render_cell(*cell("NASNet", "normal"), backend)
    settings = {"font.size": 30, "svg.fonttype": "path", "savefig.bbox": "tight", "svg.hashsalt": "other"}
    with matplotlib.rc_context(settings):
        second = render_cell(*cell("NASNet", "normal"), backend)
        assert {key: matplotlib.rcParams[key] for key in settings} == settings
    assert first == second
    script = f"""
import hashlib, sys
from isnas.draw.cells import render_cell
pictures = render_cell(*{cell("NASNet", "normal")!r}, {backend!r})
assert "matplotlib.pyplot" not in sys.modules
print(*(hashlib.sha256(pictures[key]).hexdigest() for key in ("png", "svg")))
"""
    env = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    output = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    assert output.split() == [hashlib.sha256(first[key]).hexdigest() for key in ("png", "svg")]


def test_without_dot_matplotlib_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert render_cell(*cell("awkward", "reduce")) == render_cell(*cell("awkward", "reduce"), "matplotlib")
    with pytest.raises(UserError, match="Graphviz cannot draw"):
        draw_genotype(AWKWARD, tmp_path / "pictures", backend="graphviz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["#!/bin/sh\nkill -SEGV $$\n", "not a program"])
def test_when_dot_crashes_matplotlib_draws(program, tmp_path, monkeypatch):
    (tmp_path / "dot").write_text(program)
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(UserWarning, match="Matplotlib draws"):
        assert render_cell(*cell("awkward", "reduce")) == render_cell(*cell("awkward", "reduce"), "matplotlib")
    with pytest.raises(UserError, match="Graphviz cannot draw"):
        render_cell(*cell("awkward", "reduce"), "graphviz")


def test_when_dot_fails_late_both_cells_look_alike(tmp_path, monkeypatch):
    calls = iter([b"png", b"svg"])

    def pipe(self, *args, **kwargs):
        for picture in calls:
            return picture
        raise subprocess.CalledProcessError(1, "dot")

    monkeypatch.setattr(graphviz.Digraph, "pipe", pipe)
    with pytest.warns(UserWarning, match="Matplotlib draws"):
        paths = draw_genotype(AWKWARD, tmp_path)
    assert all(path.read_bytes() not in (b"png", b"svg") for path in paths)


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's dot")
def test_dot_draws_when_it_is_there():
    assert render_cell(*cell("NASNet", "normal")) == render_cell(*cell("NASNet", "normal"), "graphviz")


def test_an_unknown_backend_is_an_error_and_writes_nothing(tmp_path):
    with pytest.raises(UserError, match="'tikz'; choose from auto, graphviz, matplotlib"):
        draw_genotype(AWKWARD, tmp_path / "pictures", backend="tikz")
    assert list(tmp_path.iterdir()) == []

"""A layered layout of a graph, left to right, in inches.

Inputs stand in the first column, outputs in the last, all other boxes in columns by depth, and the labels of the arrows
in the columns between them. An arrow that passes a column keeps a place of its own there and bends only in the gaps
between columns, so no box can overlap another box and no wire can run through a box.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from statistics import fmean

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

FONT = FontProperties(family="DejaVu Sans", math_fontfamily="dejavusans")
LABEL_SIZE, BOX_SIZE = 9.0, 12.0  # points
LABEL_HEIGHT, BOX_HEIGHT, BOX_WIDTH, LABEL_PADDING, BOX_PADDING = 0.24, 0.4, 0.46, 0.16, 0.24
PORT_SPACING, MARGIN, BORDER = 0.13, 0.12, 0.08
STARTS, SWEEPS, RELAXATIONS = 32, 6, 600

Colors = tuple[str, str]  # of outline and filling, as #rrggbb


@dataclass(frozen=True)
class Box:
    """A box of a graph; ``text`` may hold Matplotlib's mathematics, and ``kind`` is input, inner or output."""

    kind: str
    text: str
    colors: Colors


@dataclass(frozen=True)
class Arrow:
    """From the box number ``source`` to the box number ``target``, through a label if ``text`` is not empty."""

    source: int
    target: int
    colors: Colors
    text: str = ""


@dataclass(frozen=True)
class Graph:
    """Boxes in an order in which every arrow leads onwards: from no output, to no input. One at least is an input."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def __post_init__(self) -> None:
        assert any(box.kind == "input" for box in self.boxes)
        assert all(box.kind in ("input", "inner", "output") for box in self.boxes)
        for arrow in self.arrows:
            assert 0 <= arrow.source < arrow.target < len(self.boxes), arrow
            assert self.boxes[arrow.source].kind != "output" and self.boxes[arrow.target].kind != "input", arrow


@dataclass(frozen=True)
class Place:
    """Where a box is, or the label of an arrow, which is a box of kind label: around the centre (x, y)."""

    box: Box
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Wire:
    """Where an arrow runs: its points are joined by a straight line and a curve in turn."""

    arrow: Arrow
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Layout:
    """A graph in a picture of this size, y downwards: a place per box and label, and a wire per arrow."""

    width: float
    height: float
    places: tuple[Place, ...]
    wires: tuple[Wire, ...]


@dataclass(eq=False)
class _Item:
    """What takes up place in a column: a box, or the passage of a wire when it has none."""

    column: int
    box: Box | None = None
    width: float = 0.0
    height: float = 0.0
    y: float = 0.0
    before: list[_Item] = field(default_factory=list)
    after: list[_Item] = field(default_factory=list)


_Columns = list[list[_Item]]
_Path = tuple[Arrow, list[_Item]]  # with one item per column from source to target


def lay_out(graph: Graph) -> Layout:
    """Place the boxes, the labels and the wires of a graph, its inputs from top to bottom in their order."""
    items = []
    for number, (box, column) in enumerate(zip(graph.boxes, _columns(graph))):
        arrivals = sum(arrow.target == number for arrow in graph.arrows)
        width = max(BOX_WIDTH, _text_width(box.text, BOX_SIZE) + BOX_PADDING)
        items.append(_Item(column, box, width, max(BOX_HEIGHT, (arrivals + 1) * PORT_SPACING)))
    paths = _paths(graph, items)
    for left, right in chain.from_iterable(pairwise(path) for _, path in paths):
        left.after.append(right)
        right.before.append(left)
    columns: _Columns = [[] for _ in range(1 + max(item.column for item in items))]
    for item in dict.fromkeys([*items, *chain.from_iterable(path for _, path in paths)]):
        columns[item.column].append(item)
    columns = _ordered(columns)
    _set_heights(columns)
    return _measured(columns, paths)


def _columns(graph: Graph) -> list[int]:
    """The column of every box: even by depth, and the outputs last, with a column before them for labels if need be."""
    depths: list[int] = []
    for number, box in enumerate(graph.boxes):
        sources = (depths[arrow.source] for arrow in graph.arrows if arrow.target == number)
        depths.append(0 if box.kind == "input" else 1 + max(sources, default=0))
    outputs = [box.kind == "output" for box in graph.boxes]
    labelled = any(arrow.text and outputs[arrow.target] for arrow in graph.arrows)
    last = 2 * max(depth for depth, output in zip(depths, outputs) if not output) + (2 if labelled else 1)
    return [last if output else 2 * depth for depth, output in zip(depths, outputs)]


def _paths(graph: Graph, items: list[_Item]) -> list[_Path]:
    """The path of every arrow; a label that could stand in several columns goes where the fewest are."""
    labels = [0] * (1 + max(item.column for item in items))
    paths = []
    for arrow in sorted(graph.arrows, key=lambda arrow: items[arrow.target].column - items[arrow.source].column):
        left, right = items[arrow.source], items[arrow.target]
        if not arrow.text:
            paths.append((arrow, _path(left, right)))
            continue
        column = min(range(right.column - 1, left.column, -2), key=lambda column: labels[column])
        labels[column] += 1
        width = _text_width(arrow.text, LABEL_SIZE) + LABEL_PADDING
        label = _Item(column, Box("label", arrow.text, arrow.colors), width, LABEL_HEIGHT)
        paths.append((arrow, _path(left, label) + _path(label, right)[1:]))
    return paths


def _text_width(text: str, size: float) -> float:
    return float(TextPath((0, 0), text, size=size, prop=FONT).get_extents().width) / 72


def _path(left: _Item, right: _Item) -> list[_Item]:
    return [left, *map(_Item, range(left.column + 1, right.column)), right]


def _ordered(columns: _Columns) -> _Columns:
    """Every column from top to bottom with few crossings: sweeps by barycentre and swaps, from several orders.

    The first column, which is that of the inputs, stays as it is.
    """
    best, fewest = columns, float("inf")
    for start in range(STARTS):
        rng = random.Random(start)
        inputs, *others = columns
        columns = [inputs, *(rng.sample(column, len(column)) if start else column for column in others)]
        for column in columns:
            _numbered(column)
        for sweep in range(SWEEPS):
            side = sweep % 2
            for column in columns[:0:-1] if side else columns[1:]:
                means = {u: fmean(v.y for v in _near(u, side)) if _near(u, side) else u.y for u in column}
                column.sort(key=means.__getitem__)
                for i in range(len(column) - 1):
                    if _crossings(column[i], column[i + 1]) > _crossings(column[i + 1], column[i]):
                        column[i], column[i + 1] = column[i + 1], column[i]
                _numbered(column)
            pairs = ((u, v) for column in columns for i, u in enumerate(column) for v in column[i + 1 :])
            crossings = sum(_crossings(u, v) for u, v in pairs)
            if crossings < fewest:
                best, fewest = [list(column) for column in columns], crossings
    return best


def _numbered(column: list[_Item]) -> None:
    for position, item in enumerate(column):
        item.y = position


def _near(item: _Item, side: int) -> list[_Item]:
    return item.after if side else item.before


def _crossings(upper: _Item, lower: _Item) -> int:
    return sum(u.y > v.y for side in (0, 1) for u in _near(upper, side) for v in _near(lower, side))


def _set_heights(columns: _Columns) -> None:
    """Straight wires: steps in few gaps, by least squares reweighted towards the least sum of absolute steps."""
    for column in columns:
        _stack(column, [(0.0, 1.0)] * len(column))
        for item in column:
            item.before.sort(key=lambda source: source.y)
    for i in range(RELAXATIONS):
        softness = max(0.0005, 0.985**i)
        for column in columns[::-1] if i % 2 else columns:
            _stack(column, [_pull(item, softness) for item in column])


def _pull(item: _Item, softness: float) -> tuple[float, float]:
    """Where the neighbours of an item draw it, and how strongly; a wire bends at its ends rather than on its way."""
    wanted = [(n, n.y - _port(item, n)) for n in item.before] + [(n, n.y + _port(n, item)) for n in item.after]
    pulls = [(y, (1 + 3 * (_is_on_way(n) + _is_on_way(item))) / (abs(y - item.y) + softness)) for n, y in wanted]
    total = sum(weight for _, weight in pulls)
    return (sum(y * weight for y, weight in pulls) / total, total) if pulls else (item.y, 0.01)


def _is_on_way(item: _Item) -> bool:
    return item.box is None or item.box.kind == "label"


def _port(item: _Item, source: _Item) -> float:
    """How far below the centre of an item the wire from ``source`` arrives: in the order of the sources."""
    return PORT_SPACING * (item.before.index(source) - (len(item.before) - 1) / 2)


def _stack(column: list[_Item], pulls: list[tuple[float, float]]) -> None:
    """Move the items as close to their pulls as their distances allow (isotonic regression)."""
    distances = (MARGIN + (upper.height + lower.height) / 2 for upper, lower in pairwise(column))
    offsets = list(accumulate(distances, initial=0.0))
    blocks: list[tuple[float, float, int]] = []
    for (y, weight), offset in zip(pulls, offsets):
        block = (y - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            (y0, w0, n0), (y1, w1, n1) = blocks.pop(), block
            block = ((y0 * w0 + y1 * w1) / (w0 + w1), w0 + w1, n0 + n1)
        blocks.append(block)
    levels = (y for y, _, count in blocks for _ in range(count))
    for item, level, offset in zip(column, levels, offsets):
        item.y = level + offset


def _measured(columns: _Columns, paths: list[_Path]) -> Layout:
    items = list(chain.from_iterable(columns))
    top = min(item.y - item.height / 2 for item in items) - BORDER
    bottom = max(item.y + item.height / 2 for item in items) + BORDER
    spans: list[tuple[float, float]] = []
    x = BORDER
    for column in columns:
        spans.append((x, x + max((item.width for item in column), default=0.0)))
        step = max((abs(item.y - n.y) for item in column for n in item.after), default=0.0)
        x = spans[-1][1] + min(0.3 + 0.22 * step, 0.9)

    def points(path: list[_Item]) -> Iterable[tuple[float, float]]:
        first, last = path[0], path[-1]
        (first_left, first_right), (last_left, last_right) = spans[first.column], spans[last.column]
        yield (first_left + first_right + first.width) / 2, first.y - top
        yield first_right, first.y - top
        for item in path[1:-1]:
            yield from ((x, item.y - top) for x in spans[item.column])
        arrival = last.y + _port(last, path[-2]) - top
        yield last_left, arrival
        yield (last_left + last_right - last.width) / 2, arrival

    places = [(item, item.box, fmean(spans[item.column])) for item in items if item.box]
    return Layout(
        spans[-1][1] + BORDER,
        bottom - top,
        tuple(Place(box, x, item.y - top, item.width, item.height) for item, box, x in places),
        tuple(Wire(arrow, tuple(points(path))) for arrow, path in paths),
    )

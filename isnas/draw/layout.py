"""A layered layout of a cell, left to right, in inches.

Intermediate nodes stand in columns by depth and the labels of the operations in the columns between them. A
connection that passes a column keeps a place of its own there and bends only in the gaps between columns, so no box
can overlap another box and no wire can run through a box.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from statistics import fmean

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from isnas.space.cells.genotype import Node

FONT, LABEL_SIZE, NODE_SIZE = "DejaVu Sans", 9.0, 12.0
LABEL_HEIGHT, NODE_HEIGHT, NODE_WIDTH, END_WIDTH = 0.24, 0.4, 0.46, 0.6
PORT_SPACING, MARGIN, BORDER = 0.13, 0.12, 0.08
STARTS, SWEEPS, RELAXATIONS = 32, 6, 600


@dataclass(frozen=True)
class Box:
    """A rectangle with text around the centre (x, y); ``kind`` is input, node, output or label."""

    kind: str
    text: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Wire:
    """A connection from box to box; its points are joined by a straight line and a curve in turn.

    ``operation`` is empty for a wire that carries a node to the output.
    """

    operation: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Layout:
    """A cell as boxes and wires in a picture of this size, y downwards."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]


@dataclass(eq=False)
class _Item:
    """What takes up place in a column: a box, or the passage of a wire when it has no ``kind``."""

    column: int
    kind: str = ""
    text: str = ""
    width: float = 0.0
    height: float = 0.0
    y: float = 0.0
    before: list[_Item] = field(default_factory=list)
    after: list[_Item] = field(default_factory=list)


_Columns = list[list[_Item]]
_Path = tuple[str, list[_Item]]  # an operation, and one item per column from predecessor to node


def node_height(arrivals: int) -> float:
    """The height of a node at which so many wires arrive one below the other."""
    return max(NODE_HEIGHT, (arrivals + 1) * PORT_SPACING)


def lay_out(nodes: Sequence[Node], concat: Sequence[int]) -> Layout:
    """Place one cell of a genotype."""
    depths = [0, 0]
    for node in nodes:
        depths.append(1 + max((depths[predecessor] for _, predecessor in node), default=0))
    boxes = [_Item(0, "input", f"$c_{{k{{-}}{i}}}$", END_WIDTH) for i in (2, 1)]
    boxes += [_Item(2 * depth, "node", str(number), NODE_WIDTH) for number, depth in enumerate(depths[2:])]
    output = _Item(2 * max(depths) + 1, "output", "$c_{k}$", END_WIDTH)
    paths = [*_operations(nodes, boxes), *(("", _path(boxes[index], output)) for index in concat)]
    for left, right in chain.from_iterable(pairwise(path) for _, path in paths):
        left.after.append(right)
        right.before.append(left)
    for box in (*boxes, output):
        box.height = node_height(len(box.before))
    columns: _Columns = [[] for _ in range(output.column + 1)]
    for item in dict.fromkeys([*boxes, output, *chain.from_iterable(path for _, path in paths)]):
        columns[item.column].append(item)
    columns = _ordered(columns)
    if columns[0][0] is boxes[1]:
        columns = [column[::-1] for column in columns]
    _set_heights(columns)
    return _measured(columns, paths)


def _operations(nodes: Sequence[Node], boxes: list[_Item]) -> list[_Path]:
    """The path of every connection; a label that could stand in several columns goes where the fewest are."""
    connections = [(name, boxes[predecessor], box) for node, box in zip(nodes, boxes[2:]) for name, predecessor in node]
    labels = [0] * (1 + max(box.column for box in boxes))
    paths = []
    for name, left, right in sorted(connections, key=lambda c: c[2].column - c[1].column):
        column = min(range(right.column - 1, left.column, -2), key=lambda c: labels[c])
        labels[column] += 1
        text = TextPath((0, 0), name, size=LABEL_SIZE, prop=FontProperties(FONT))
        label = _Item(column, "label", name, text.get_extents().width / 72 + 0.16, LABEL_HEIGHT)
        paths.append((name, _path(left, label) + _path(label, right)[1:]))
    return paths


def _path(left: _Item, right: _Item) -> list[_Item]:
    return [left, *map(_Item, range(left.column + 1, right.column)), right]


def _ordered(columns: _Columns) -> _Columns:
    """Every column from top to bottom with few crossings: sweeps by barycentre and swaps, from several orders."""
    best, fewest = columns, float("inf")
    for start in range(STARTS):
        rng = random.Random(start)
        columns = [_numbered(rng.sample(column, len(column)) if start else column) for column in columns]
        for sweep in range(SWEEPS):
            side = sweep % 2
            for column in columns[::-1] if side else columns:
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


def _numbered(column: list[_Item]) -> list[_Item]:
    for position, item in enumerate(column):
        item.y = position
    return column


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
    return item.kind in ("", "label")


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

    boxes = [(item, fmean(spans[item.column])) for item in items if item.kind]
    return Layout(
        spans[-1][1] + BORDER,
        bottom - top,
        tuple(Box(item.kind, item.text, x, item.y - top, item.width, item.height) for item, x in boxes),
        tuple(Wire(operation, tuple(points(path))) for operation, path in paths),
    )

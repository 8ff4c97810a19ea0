"""What every layout of a graph has to be: boxes apart from one another, wires from their source to their target."""

from itertools import combinations

import numpy as np

from isnas.draw.graph import curve
from isnas.draw.layout import Graph, Layout, Place, Wire


def check_layout(graph: Graph, layout: Layout) -> None:
    """Boxes and labels keep their distance and stay in the picture; wires touch only what they belong to."""
    places = layout.places
    for a, b in combinations(places, 2):
        apart = (abs(a.x - b.x) - (a.width + b.width) / 2, abs(a.y - b.y) - (a.height + b.height) / 2)
        assert max(apart) > 0.1, (a, b)
    for place in places:
        assert place.width / 2 < place.x < layout.width - place.width / 2, place
        assert place.height / 2 < place.y < layout.height - place.height / 2, place
    assert sorted(id(wire.arrow) for wire in layout.wires) == sorted(map(id, graph.arrows))
    assert sorted(id(place.box) for place in places if place.box.kind != "label") == sorted(map(id, graph.boxes))
    assert sum(place.box.kind == "label" for place in places) == sum(bool(arrow.text) for arrow in graph.arrows)
    for wire in layout.wires:
        first, *between, last = touched(wire, places)
        assert first.box is graph.boxes[wire.arrow.source] and last.box is graph.boxes[wire.arrow.target], wire
        expected = [("label", wire.arrow.text, wire.arrow.colors)] if wire.arrow.text else []
        assert [(place.box.kind, place.box.text, place.box.colors) for place in between] == expected, wire
    inputs = [next(place.y for place in places if place.box is box) for box in graph.boxes if box.kind == "input"]
    assert inputs == sorted(inputs)


def trace(wire: Wire) -> np.ndarray:
    """Points along a wire as it is drawn, as (n, 2)."""
    return np.concatenate([bezier(np.linspace(0, 1, 60)) for bezier, _ in curve(wire).iter_bezier()])


def touched(wire: Wire, places: tuple[Place, ...], margin: float = 0.05) -> list[Place]:
    """What a wire comes near to, from left to right."""
    x, y = trace(wire).T
    hits = [
        place
        for place in places
        if np.any((abs(x - place.x) < place.width / 2 + margin) & (abs(y - place.y) < place.height / 2 + margin))
    ]
    return sorted(hits, key=lambda place: place.x)

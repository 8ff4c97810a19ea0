"""Genotype: a recurrent cell as data, with its JSON and its DARTS text.

A connection is a pair ``(operation, predecessor)``. Node 0 is made of the input and the state before, in every cell
alike; 1, 2, ... are those that a genotype describes. A node has one connection or more, all different, and their order
means nothing: a genotype holds them in canonical order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.text import shown
from isnas.space.genotype_files import (
    as_range,
    canonical_concat,
    canonical_node,
    check_nodes,
    fields_in_text,
    genotype_in_file,
    is_pair,
    lines_of,
)
from isnas.space.pairs import Node

#: Operations a genotype may name; :data:`isnas.space.recurrent.operations.OPERATIONS` has a row for each. Canonical
#: order goes by their places, so a new one comes last.
NAMES = ("tanh", "relu", "sigmoid", "identity")


@dataclass(frozen=True)
class RecurrentGenotype:
    """Per node 1, 2, ... its connections, and the nodes whose mean is the output and the next state.

    Raises:
        UserError: for an unknown operation, an impossible predecessor, a node without connections or with one twice, or
            an empty or impossible ``concat``.
    """

    recurrent: tuple[Node, ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        check_nodes("recurrent", self.recurrent)
        nodes = tuple(canonical_node("recurrent", number, node, NAMES) for number, node in enumerate(self.recurrent, 1))
        for number, node in enumerate(nodes, 1):
            if not node:
                raise UserError(f"genotype: node {number} of recurrent has no connection; it needs one at least")
            if len(set(node)) < len(node):
                raise UserError(f"genotype: node {number} of recurrent has a connection twice")
        concat = canonical_concat("concat", self.concat, range(1, len(nodes) + 1), "recurrent")
        object.__setattr__(self, "recurrent", nodes)
        object.__setattr__(self, "concat", concat)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and strings, for ``json.dump``."""
        return {"recurrent": [[list(pair) for pair in node] for node in self.recurrent], "concat": list(self.concat)}

    def hash(self) -> str:
        """Twelve hexadecimal digits that two genotypes share if and only if they are the same architecture."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """DARTS text: a flat list of pairs when every node has one, otherwise one list per node."""
        if all(len(node) == 1 for node in self.recurrent):
            nodes = repr([pair for node in self.recurrent for pair in node])
        else:
            nodes = repr([list(node) for node in self.recurrent])
        return f"Genotype(recurrent={nodes}, concat={as_range(self.concat)})"

    def lines(self) -> tuple[str, ...]:
        """As a log has it: ``genotype = `` and DARTS's text, which says all."""
        return lines_of(self, "none")

    def _repr_svg_(self) -> str:
        """The cell, as a notebook shows it."""
        from isnas.space.recurrent.picture import svg_of  # Matplotlib is slow to import

        return svg_of(self)


def genotype_from_json(value: Any) -> RecurrentGenotype:
    """The genotype in parsed JSON, as :meth:`RecurrentGenotype.to_json` writes it."""
    if not isinstance(value, dict):
        raise UserError("genotype: expected a JSON object with recurrent, concat")
    return _from_fields(value)


def genotype_from_text(text: str) -> RecurrentGenotype:
    """The genotype in DARTS text ``Genotype(recurrent=[...], concat=range(1, 9))``; nothing is ever evaluated.

    A node is a pair, or a list of pairs.
    """
    return _from_fields(fields_in_text(text, "recurrent=[...], concat=..."))


def read_genotype(path: Path) -> RecurrentGenotype:
    """The genotype in a JSON file.

    Raises:
        UserError: when the file cannot be read, is not JSON, or is not a genotype.
    """
    return genotype_in_file(path, genotype_from_json)


def _from_fields(fields: dict[str, Any]) -> RecurrentGenotype:
    if "normal" in fields or "reduce" in fields:
        raise UserError("genotype: it is a cell for networks of images; language models need recurrent and concat")
    required = ("recurrent", "concat")
    for key in required:
        if key not in fields:
            raise UserError(f"genotype: the field {key} is missing")
    for key in fields:
        if key not in required:
            raise UserError(f"genotype: unknown field {shown(key)}")
    nodes = fields["recurrent"]
    if not isinstance(nodes, list | tuple) or not nodes:
        raise UserError("genotype: recurrent must be a list of nodes")
    return RecurrentGenotype(tuple((node,) if is_pair(node) else node for node in nodes), fields["concat"])

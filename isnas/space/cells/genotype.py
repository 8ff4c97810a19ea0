"""Genotype: a DARTS cell pair as data, with its JSON and its DARTS text.

A connection is a pair ``(operation, predecessor)``. Predecessors 0 and 1 are the outputs of the cell before the
previous one and of the previous one; 2, 3, ... are the intermediate nodes of the cell. A node may have any number of
connections, none included, and their order means nothing: a genotype holds them in canonical order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
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

#: Operations a genotype may name; :data:`isnas.space.cells.operations.OPERATIONS` has a row for each. Canonical order
#: goes by their places, so a new one comes last.
NAMES = (
    *("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    *("sep_conv_7x7", "conv_7x1_1x7"),
)

#: The candidates of a DARTS search, in the order of the flat index.
DARTS_OPERATIONS = NAMES[:7]

#: Those of CoNAS, without the dilated convolutions.
CONAS_OPERATIONS = DARTS_OPERATIONS[:5]

#: Which operations without a BN of their own get one in the target network: none, the pools (CoNAS), or the pools and
#: the stride-1 skip ("all", one-stage ISTA-NAS).
EXTRA_BN = ("none", "pools", "all")

#: What is before the cells of a network.
STEMS = ("cifar", "imagenet")

#: A cell's inputs: the outputs of the two cells before.
NUM_INPUTS = 2


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell: per intermediate node its connections, and the nodes that form the output.

    Raises:
        UserError: for an unknown operation, an impossible predecessor, or an empty or impossible concatenation.
    """

    normal: tuple[Node, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Node, ...]
    reduce_concat: tuple[int, ...]
    extra_bn: str = "none"

    def __post_init__(self) -> None:
        if self.extra_bn not in EXTRA_BN:
            raise UserError(f"genotype: extra_bn must be one of {', '.join(EXTRA_BN)}, not {shown(self.extra_bn)}")
        for kind in ("normal", "reduce"):
            check_nodes(kind, getattr(self, kind))
            numbered = enumerate(getattr(self, kind), NUM_INPUTS)
            nodes = tuple(canonical_node(kind, number, node, NAMES) for number, node in numbered)
            numbers = range(NUM_INPUTS, NUM_INPUTS + len(nodes))
            concat = canonical_concat(f"{kind}_concat", getattr(self, f"{kind}_concat"), numbers, kind)
            object.__setattr__(self, kind, nodes)
            object.__setattr__(self, f"{kind}_concat", concat)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and strings, for ``json.dump``."""
        cells = {kind: [[list(pair) for pair in node] for node in getattr(self, kind)] for kind in ("normal", "reduce")}
        return {
            "normal": cells["normal"],
            "normal_concat": list(self.normal_concat),
            "reduce": cells["reduce"],
            "reduce_concat": list(self.reduce_concat),
            "extra_bn": self.extra_bn,
        }

    def hash(self) -> str:
        """Twelve hexadecimal digits that two genotypes share if and only if they are the same architecture."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """DARTS text: a flat list of pairs when every node has two, otherwise one list per node."""
        fields = []
        for kind in ("normal", "reduce"):
            nodes = getattr(self, kind)
            if all(len(node) == 2 for node in nodes):
                text = repr([pair for node in nodes for pair in node])
            else:
                text = repr([list(node) for node in nodes])
            concat = getattr(self, f"{kind}_concat")
            fields += [f"{kind}={text}", f"{kind}_concat={as_range(concat)}"]
        if self.extra_bn != "none":
            fields.append(f"extra_bn={self.extra_bn!r}")
        return f"Genotype({', '.join(fields)})"

    def lines(self) -> tuple[str, ...]:
        """As a log has it: ``genotype = `` with DARTS's four fields, and on a line of its own what they do not say."""
        return lines_of(replace(self, extra_bn="none"), self.extra_bn)

    def _repr_svg_(self) -> str:
        """Both cells, as a notebook shows them."""
        from isnas.space.cells.picture import svg_of  # Matplotlib is slow to import

        return svg_of(self)


def genotype_from_json(value: Any) -> Genotype:
    """The genotype in parsed JSON, as :meth:`Genotype.to_json` writes it."""
    if not isinstance(value, dict):
        raise UserError("genotype: expected a JSON object with normal, normal_concat, reduce, reduce_concat")
    return _from_fields(value)


def genotype_from_text(text: str) -> Genotype:
    """The genotype in DARTS text ``Genotype(normal=[...], normal_concat=range(2, 6), ...)``.

    Only literals and ``range(...)`` are understood; nothing is ever evaluated. Pairs may be flat (two per node) or
    grouped in one list per node. A log's line below it, ``extra_bn = 'all'``, belongs to it.
    """
    return _from_fields(fields_in_text(text, "normal=[...], normal_concat=..."))


def read_genotype(path: Path) -> Genotype:
    """The genotype in a JSON file.

    Raises:
        UserError: when the file cannot be read, is not JSON, or is not a genotype.
    """
    return genotype_in_file(path, genotype_from_json)


def _from_fields(fields: dict[str, Any]) -> Genotype:
    if "recurrent" in fields:
        raise UserError("genotype: it is a recurrent cell, for language models; networks of images need normal, reduce")
    required = ("normal", "normal_concat", "reduce", "reduce_concat")
    for key in required:
        if key not in fields:
            raise UserError(f"genotype: the field {key} is missing")
    for key in fields:
        if key not in (*required, "extra_bn"):
            raise UserError(f"genotype: unknown field {shown(key)}")
    extra_bn = fields.get("extra_bn", "none")
    if isinstance(extra_bn, bool):
        extra_bn = "all" if extra_bn else "none"
    return Genotype(
        normal=_group("normal", fields["normal"]),
        normal_concat=fields["normal_concat"],
        reduce=_group("reduce", fields["reduce"]),
        reduce_concat=fields["reduce_concat"],
        extra_bn=extra_bn,
    )


def _group(kind: str, value: Any) -> tuple[Node, ...]:
    """Lists of pairs per node, or a flat list with two pairs per node, as a tuple of nodes."""
    if not isinstance(value, list | tuple) or not value:
        raise UserError(f"genotype: {kind} must be a list of nodes")
    if is_pair(value[0]):
        if len(value) % 2:
            raise UserError(f"genotype: {kind} has {len(value)} pairs; a flat list needs two per node")
        return tuple(tuple(value[i : i + 2]) for i in range(0, len(value), 2))
    return tuple(value)

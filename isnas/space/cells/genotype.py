"""Genotype: a DARTS cell pair as data, with its JSON and its DARTS text.

A connection is a pair ``(operation, predecessor)``. Predecessors 0 and 1 are the outputs of the cell before the
previous one and of the previous one; 2, 3, ... are the intermediate nodes of the cell. A node may have any number of
connections, none included, and their order means nothing: a genotype holds them in canonical order.
"""

from __future__ import annotations

import ast
import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.text import read_json, shown
from isnas.space.cells.operations import OPERATIONS

#: Operations a genotype may name, in canonical order.
NAMES = tuple(OPERATIONS)

#: Which operations without a BN of their own get one in the target network: none, the pools (CoNAS), or the pools and
#: the stride-1 skip ("all", one-stage ISTA-NAS).
EXTRA_BN = ("none", "pools", "all")

#: A cell's inputs: the outputs of the two cells before.
NUM_INPUTS = 2

#: Nodes of a cell at most, and the largest texts and files that are read: thrice the largest cells of a search.
MOST_NODES = 96
_LONGEST = 200_000  # characters; 100 KB per 4,000 connections
_LARGEST = 1_000_000  # bytes

Connection = tuple[str, int]
Node = tuple[Connection, ...]


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
            nodes = _canonical_nodes(kind, getattr(self, kind))
            concat = _canonical_concat(kind, getattr(self, f"{kind}_concat"), len(nodes))
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
            run = range(concat[0], concat[-1] + 1)
            fields += [f"{kind}={text}", f"{kind}_concat={run if concat == tuple(run) else list(concat)}"]
        if self.extra_bn != "none":
            fields.append(f"extra_bn={self.extra_bn!r}")
        return f"Genotype({', '.join(fields)})"


def genotype_from_json(value: Any) -> Genotype:
    """The genotype in parsed JSON, as :meth:`Genotype.to_json` writes it."""
    if not isinstance(value, dict):
        raise UserError("genotype: expected a JSON object with normal, normal_concat, reduce, reduce_concat")
    return _from_fields(value)


def genotype_from_text(text: str) -> Genotype:
    """The genotype in DARTS text ``Genotype(normal=[...], normal_concat=range(2, 6), ...)``.

    Only literals and ``range(...)`` are understood; nothing is ever evaluated. Pairs may be flat (two per node) or
    grouped in one list per node.
    """
    if len(text) > _LONGEST:
        raise UserError(f"genotype: the text has {len(text):,} characters, more than the {_LONGEST:,} of any cells")
    try:
        with warnings.catch_warnings():  # of an escape or a call that Python finds odd: below they are refused
            warnings.simplefilter("ignore")
            call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError("genotype: the text is not of the form Genotype(normal=[...], normal_concat=...)") from None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
        raise UserError("genotype: the text is not of the form Genotype(normal=[...], normal_concat=...)")
    names = [keyword.arg for keyword in call.keywords]
    if call.args or None in names or len(set(names)) < len(names):
        raise UserError("genotype: every field must be given once, by name, as in normal=[...]")
    return _from_fields({str(keyword.arg): _literal(keyword.value) for keyword in call.keywords})


def read_genotype(path: Path) -> Genotype:
    """The genotype in a JSON file.

    Raises:
        UserError: when the file cannot be read, is not JSON, or is not a genotype.
    """
    try:
        value = read_json(path, _LARGEST)
    except OSError as error:
        raise UserError(f"cannot read the genotype {path}: {error.strerror}") from None
    except ValueError as error:
        reason = "" if isinstance(error, json.JSONDecodeError) else f" ({str(error)[:100]})"
        raise UserError(
            f"{path} is not JSON{reason}; a genotype file is what the search writes as genotype.json"
        ) from None
    if isinstance(value, dict) and isinstance(value.get("genotype"), dict):
        value = value["genotype"]
    try:
        return genotype_from_json(value)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _from_fields(fields: dict[str, Any]) -> Genotype:
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
    if _is_pair(value[0]):
        if len(value) % 2:
            raise UserError(f"genotype: {kind} has {len(value)} pairs; a flat list needs two per node")
        return tuple(tuple(value[i : i + 2]) for i in range(0, len(value), 2))
    return tuple(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str)


def _canonical_nodes(kind: str, nodes: Any) -> tuple[Node, ...]:
    if not isinstance(nodes, list | tuple) or not nodes:
        raise UserError(f"genotype: {kind} has no nodes")
    if len(nodes) > MOST_NODES:
        raise UserError(f"genotype: {kind} has {len(nodes)} nodes; a cell has {MOST_NODES} at most")
    return tuple(_canonical_node(kind, index, node) for index, node in enumerate(nodes, start=2))


def _canonical_node(kind: str, index: int, node: Any) -> Node:
    if not isinstance(node, list | tuple):
        raise UserError(f"genotype: node {index} of {kind} must be a list of (operation, predecessor)")
    if len(node) > (most := index * len(NAMES)):
        raise UserError(
            f"genotype: node {index} of {kind} has {len(node)} connections; there are {most} different ones"
        )
    for pair in node:
        if not _is_pair(pair):
            raise UserError(
                f"genotype: {shown(pair)} in node {index} of {kind} is not an (operation, predecessor) pair"
            )
        operation, predecessor = pair
        if operation not in NAMES:
            raise UserError(f"genotype: unknown operation {shown(operation)}; choose from {', '.join(NAMES)}")
        if isinstance(predecessor, bool) or not isinstance(predecessor, int) or not 0 <= predecessor < index:
            raise UserError(f"genotype: node {index} of {kind} cannot have predecessor {shown(predecessor)}")
    return tuple(sorted(((o, p) for o, p in node), key=lambda pair: (pair[1], NAMES.index(pair[0]))))


def _canonical_concat(kind: str, concat: Any, num_nodes: int) -> tuple[int, ...]:
    if not isinstance(concat, list | tuple | range) or not concat:
        raise UserError(f"genotype: {kind}_concat must list at least one node")
    for node in concat:
        if isinstance(node, bool) or not isinstance(node, int) or not 2 <= node < num_nodes + 2:
            raise UserError(
                f"genotype: {kind}_concat names node {shown(node)}, but {kind} has nodes 2..{num_nodes + 1}"
            )
    if len(set(concat)) < len(concat):
        raise UserError(f"genotype: {kind}_concat names a node twice")
    return tuple(sorted(concat))


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        bounds = [_literal(argument) for argument in node.args]
        if node.keywords or not 1 <= len(bounds) <= 2 or not all(type(b) is int and 0 <= b <= 100 for b in bounds):
            raise UserError("genotype: range takes one or two small integers")
        return list(range(*bounds))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise UserError("genotype: only names, numbers and lists are allowed in the text, no expressions") from None

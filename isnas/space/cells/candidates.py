"""The DARTS cell as a flat index: candidate connection (operation, predecessor) <-> integer.

Node j (j = 2, 3, ... within the cell) has j predecessors and ``n_j = j K`` candidates, K = ``num_ops``;
flat index = predecessor * K + operation.
"""

from __future__ import annotations

from isnas.space.cells.genotype import DARTS_OPERATIONS, Connection, Genotype, Node

NUM_INPUTS = 2
NUM_OPS = len(DARTS_OPERATIONS)


def num_candidates(node: int) -> int:
    """Number of candidate connections of the intermediate node with this 0-based position: 14, 21, 28, 35."""
    return (NUM_INPUTS + node) * NUM_OPS


def to_flat(connection: Connection) -> int:
    """Flat index of an (operation, predecessor) pair."""
    operation, predecessor = connection
    return predecessor * NUM_OPS + DARTS_OPERATIONS.index(operation)


def from_flat(index: int) -> Connection:
    """The (operation, predecessor) pair of a flat index."""
    predecessor, operation = divmod(index, NUM_OPS)
    return DARTS_OPERATIONS[operation], predecessor


def candidates(num_nodes: int) -> tuple[Node, ...]:
    """All candidate connections of every intermediate node, in the order of the flat index."""
    return tuple(tuple(map(from_flat, range(num_candidates(node)))) for node in range(num_nodes))


def genotype_from_supports(
    normal: tuple[tuple[int, ...], ...], reduce: tuple[tuple[int, ...], ...], extra_bn: str = "none"
) -> Genotype:
    """The genotype whose nodes have the connections with these flat indices; the output is all intermediate nodes."""
    cells = [tuple(tuple(map(from_flat, node)) for node in cell) for cell in (normal, reduce)]
    concats = [tuple(range(NUM_INPUTS, NUM_INPUTS + len(cell))) for cell in cells]
    return Genotype(cells[0], concats[0], cells[1], concats[1], extra_bn)

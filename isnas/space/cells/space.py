"""The DARTS cell as a space: candidate connection (operation, predecessor) <-> flat index, and networks of cells.

Node j (0-based among a cell's intermediate nodes) has ``j + 2`` predecessors and ``(j + 2) K`` candidates, K
operations; flat index = predecessor * K + operation. The nodes of the normal cell come first,
then those of the reduction cell.

What counts connections does without torch, which takes seconds to import.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnas.base.errors import UserError
from isnas.space.cells.genotype import DARTS_OPERATIONS, NAMES, NUM_INPUTS, Genotype
from isnas.space.connections import Support
from isnas.space.pairs import Node, PairSpace

if TYPE_CHECKING:
    from isnas.space.cells.network import CellNetwork


@dataclass(frozen=True)
class CellSpace(PairSpace):
    """Pairs of a normal and a reduction cell, whose nodes choose among these operations from all nodes before.

    Without ``reduction`` one cell alone is searched, for networks of one cell or of one that is the normal and the
    reduction cell; its genotypes name it twice. Its nodes have the normal cell's names.
    """

    operations: tuple[str, ...] = DARTS_OPERATIONS
    num_nodes: int = 4
    reduction: bool = True

    def __post_init__(self) -> None:
        ordered = tuple(name for name in NAMES if name in self.operations)  # as a genotype has a node's connections
        object.__setattr__(self, "operations", ordered)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of the nodes of both cells: 14, 21, 28, 35 each, with 7 operations and 4 nodes."""
        sizes = tuple((NUM_INPUTS + node) * len(self.operations) for node in range(self.num_nodes))
        return sizes * 2 if self.reduction else sizes

    @property
    def node_names(self) -> tuple[str, ...]:
        """``normal node 2`` and so on, inputs being nodes 0 and 1."""
        numbers = range(NUM_INPUTS, NUM_INPUTS + self.num_nodes)
        cells = ("normal", "reduction") if self.reduction else ("normal",)
        return tuple(f"{cell} node {number}" for cell in cells for number in numbers)

    @property
    def candidate_names(self) -> tuple[tuple[str, ...], ...]:
        """``sep_conv_3x3 of 0`` and so on: the operation, and the number of the node that it reads."""
        nodes = tuple(tuple(f"{operation} of {node}" for operation, node in each) for each in self.candidates)
        return nodes * (len(self.sizes) // self.num_nodes)

    @property
    def mixes_none(self) -> bool:
        """Yes, as in DARTS."""
        return True

    @property
    def derived_sizes(self) -> dict[str, Any]:
        """The papers' CIFAR-10 network."""
        return {"stem": "cifar", "init_channels": 36, "layers": 20}

    @property
    def derived_name(self) -> str:
        """That network in words."""
        return "20 cells, C = 36"

    @property
    def candidates(self) -> tuple[Node, ...]:
        """All candidate connections of a cell's nodes, in the order of the flat index."""
        return tuple(map(self.pairs, self.sizes[: self.num_nodes]))

    def connected(self, support: Support) -> Support:
        """The same cells, but that a node without any connection reads c_{k-2} (predecessor 0) by a skip_connect.

        The paper of CoNAS says that this costs no parameters. In a reduction cell it does: there the skip has stride 2
        and is a :class:`isnas.space.cells.operations.FactorizedReduce`.

        Raises:
            UserError: when there is such a node, and skip_connect is not among the operations.
        """
        if all(support):
            return support
        if "skip_connect" not in self.operations:
            raise UserError(
                f"{self.node_names[support.index(())]} has no connection, and only a skip can stand in; add "
                "skip_connect to --operations"
            )
        fallback = (self.flat(("skip_connect", 0)),)
        return tuple(node or fallback for node in support)

    def genotype(self, support: Support, one_stage: bool = False, pool_bn: bool = False) -> Genotype:
        """The cells with these connections, whose outputs are all intermediate nodes.

        In the target network all of them end in a BN with ``one_stage``; with ``pool_bn`` the pools do, beside those
        that do in any case.
        """
        nodes = [tuple(map(self.connection, node)) for node in support]
        concat = tuple(range(NUM_INPUTS, NUM_INPUTS + self.num_nodes))
        normal, reduce = tuple(nodes[: self.num_nodes]), tuple(nodes[-self.num_nodes :])
        return Genotype(normal, concat, reduce, concat, "all" if one_stage else "pools" if pool_bn else "none")

    def support(self, genotype: Genotype) -> Support:
        """The flat indices of both cells, or of the normal one where it is alone.

        Raises:
            UserError: for cells of another number of nodes, or with operations that are not searched here.
        """
        nodes = genotype.normal + genotype.reduce
        strange = {name for node in nodes for name, _ in node} - set(self.operations)
        if len(genotype.normal) != self.num_nodes or len(genotype.reduce) != self.num_nodes or strange:
            reason = f"it has {', '.join(sorted(strange))}" if strange else f"it does not have {self.num_nodes} nodes"
            raise UserError(f"the architecture is not of the space that is searched: {reason}")
        return tuple(tuple(sorted(map(self.flat, node))) for node in nodes[: len(self.sizes)])

    def super_net(self, one_stage: bool = False, **sizes: Any) -> CellNetwork:
        """The network whose cells hold every candidate connection; ``sizes`` as in :class:`CellNetwork`.

        With ``partial`` = K among them operations see the first of K parts of the channels.
        """
        from isnas.space.cells.network import CellNetwork
        from isnas.space.cells.operations import ONE_STAGE_BN, SEARCH_BN

        cell = (self.candidates, tuple(range(NUM_INPUTS, NUM_INPUTS + self.num_nodes)))
        bn = ONE_STAGE_BN if one_stage else SEARCH_BN
        return CellNetwork(cell, cell, bn, shared=not self.reduction, **sizes)

    def target_network(self, genotype: Genotype, **sizes: Any) -> CellNetwork:
        """The network of a genotype; ``sizes`` as in :class:`CellNetwork`."""
        from isnas.space.cells.network import target_network

        return target_network(genotype, shared=not self.reduction, **sizes)

    def heaviest(self, sparseness: int, value_bytes: int = 4) -> Support:
        """The connections of which most is kept for the backward pass, chosen one after the other.

        An operation keeps its inner values, of ``value_bytes`` each. Of the state it reads a convolution keeps the
        rectified copy, a pool the state itself, if no other connection does already; in a reduction cell the cell's
        inputs are four times as large, and somewhat larger where one cell is both.
        """
        import torch

        from isnas.space.cells.operations import OPERATIONS, SEARCH_BN

        rows = {name: OPERATIONS[name] for name in self.operations}
        inner = {name: row.kept + row.kept_places * 8 // value_bytes for name, row in rows.items()}
        with torch.device("meta"):
            rectified = {name: row.make(1, 1, SEARCH_BN).relu_first for name, row in rows.items()}
        support = []
        for node, size in enumerate(self.sizes):
            if node % self.num_nodes == 0:  # the first of a cell
                kept: set[tuple[int, bool]] = set()
            input_size = 4 if node >= self.num_nodes else 1 if self.reduction else 1.5
            chosen: list[int] = []
            while len(chosen) < sparseness:
                gains = {}
                for index in set(range(size)) - set(chosen):
                    operation, predecessor = self.connection(index)
                    fresh = (predecessor, rectified[operation]) not in kept
                    gains[index] = inner[operation] + (input_size if predecessor < NUM_INPUTS else 1) * fresh
                chosen.append(max(gains, key=lambda index: (gains[index], index)))
                operation, predecessor = self.connection(chosen[-1])
                kept.add((predecessor, rectified[operation]))
            support.append(tuple(sorted(chosen)))
        return tuple(support)

    def operation_counts(self, genotype: Genotype) -> dict[str, int]:
        """How often each operation of the space occurs in all cells together."""
        nodes = (genotype.normal + genotype.reduce)[: len(self.sizes)]
        counter = Counter(operation for node in nodes for operation, _ in node)
        return {name: counter[name] for name in self.operations}

    def draw(self, genotype: Genotype, folder: Path) -> list[Path]:
        """Both cells, as PNG and SVG."""
        from isnas.space.cells.picture import draw_genotype  # matplotlib is slow to import

        return draw_genotype(genotype, folder)

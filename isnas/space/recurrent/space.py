"""The recurrent cell as a space: candidate connection (operation, predecessor) <-> flat index, and networks of it.

Node i = 1, 2, ... has the i predecessors 0 to i - 1 and i K candidates, K operations; flat index = predecessor * K +
operation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnas.base.errors import UserError
from isnas.space.connections import Support
from isnas.space.pairs import Node, PairSpace
from isnas.space.recurrent.genotype import NAMES, RecurrentGenotype

if TYPE_CHECKING:
    from isnas.space.recurrent.network import RecurrentNetwork


@dataclass(frozen=True)
class RecurrentSpace(PairSpace):
    """Cells whose nodes choose among these operations from all nodes before; all nodes form the output."""

    operations: tuple[str, ...] = NAMES
    num_nodes: int = 8

    def __post_init__(self) -> None:
        ordered = tuple(name for name in NAMES if name in self.operations)  # as a genotype has a node's connections
        object.__setattr__(self, "operations", ordered)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of the nodes: 4, 8, ..., 32, and 144 together, with 4 operations and 8 nodes."""
        return tuple(number * len(self.operations) for number in range(1, self.num_nodes + 1))

    @property
    def node_names(self) -> tuple[str, ...]:
        """``node 1`` and so on; node 0 is made of the input and the state before."""
        return tuple(f"node {number}" for number in range(1, self.num_nodes + 1))

    @property
    def candidate_names(self) -> tuple[tuple[str, ...], ...]:
        """``relu of 0`` and so on: the operation, and the number of the node that it reads."""
        return tuple(tuple(f"{operation} of {node}" for operation, node in each) for each in self.candidates)

    @property
    def candidates(self) -> tuple[Node, ...]:
        """All candidate connections of the nodes, in the order of the flat index."""
        return tuple(map(self.pairs, self.sizes))

    @property
    def concat(self) -> tuple[int, ...]:
        """The nodes whose mean is the output: all."""
        return tuple(range(1, self.num_nodes + 1))

    def connected(self, support: Support) -> Support:
        """The same cell, but that a node without any connection reads the node before it by a relu (CoNAS).

        Raises:
            UserError: when there is such a node, and relu is not among the operations.
        """
        if all(support):
            return support
        if "relu" not in self.operations:
            raise UserError(
                f"{self.node_names[support.index(())]} has no connection, and only a relu can stand in; add relu to "
                "--operations"
            )
        return tuple(node or (self.flat(("relu", before)),) for before, node in enumerate(support))

    def genotype(self, support: Support, one_stage: bool = False, pool_bn: bool = False) -> RecurrentGenotype:
        """The cell with these connections. It has neither batch normalisations nor pools, so nothing else is said.

        Raises:
            UserError: when a node has none.
        """
        return RecurrentGenotype(tuple(tuple(map(self.connection, node)) for node in support), self.concat)

    def support(self, genotype: RecurrentGenotype) -> Support:
        """The flat indices of a cell's connections.

        Raises:
            UserError: for cells of another number of nodes or another output, or with operations that are not searched.
        """
        nodes = genotype.recurrent
        strange = {name for node in nodes for name, _ in node} - set(self.operations)
        if strange:
            reason = f"it has {', '.join(sorted(strange))}"
        elif len(nodes) != self.num_nodes:
            reason = f"it does not have {self.num_nodes} nodes"
        elif genotype.concat != self.concat:
            reason = "its output is not the mean of all nodes"
        else:
            return tuple(tuple(sorted(map(self.flat, node))) for node in nodes)
        raise UserError(f"the architecture is not of the space that is searched: {reason}")

    def super_net(self, **sizes: Any) -> RecurrentNetwork:
        """The network whose cell holds every candidate connection; ``sizes`` as in :class:`RecurrentNetwork`."""
        from isnas.space.recurrent.network import RecurrentNetwork

        return RecurrentNetwork(self.candidates, self.concat, **sizes)

    def target_network(self, genotype: RecurrentGenotype, **sizes: Any) -> RecurrentNetwork:
        """The network of a genotype; ``sizes`` as in :class:`RecurrentNetwork`."""
        from isnas.space.recurrent.network import target_network

        return target_network(genotype, **sizes)

    def operation_counts(self, genotype: RecurrentGenotype) -> dict[str, int]:
        """How often each operation of the space occurs."""
        counter = Counter(operation for node in genotype.recurrent for operation, _ in node)
        return {name: counter[name] for name in self.operations}

    def draw(self, genotype: RecurrentGenotype, folder: Path) -> list[Path]:
        """The cell, as PNG and SVG."""
        from isnas.space.recurrent.picture import draw_genotype  # matplotlib is slow to import

        return draw_genotype(genotype, folder)

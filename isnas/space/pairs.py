"""Spaces whose candidates are pairs of an operation and a predecessor: pair <-> flat index, and random ones.

Flat index = predecessor * K + operation, with K operations. Nothing here needs torch but the drawing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from isnas.space.connections import Support

if TYPE_CHECKING:
    import torch

#: An operation, and the number of the node that it reads.
Connection = tuple[str, int]
Node = tuple[Connection, ...]


class PairSpace(ABC):
    """What such spaces share, whatever a node's number of predecessors is; ``operations`` are theirs."""

    operations: tuple[str, ...]

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Candidates of each node: its predecessors times K."""

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The predecessor of each candidate."""
        return tuple(tuple(index // len(self.operations) for index in range(size)) for size in self.sizes)

    def connection(self, index: int) -> Connection:
        """The (operation, predecessor) pair of a flat index."""
        predecessor, operation = divmod(index, len(self.operations))
        return self.operations[operation], predecessor

    def flat(self, connection: Connection) -> int:
        """Flat index of an (operation, predecessor) pair."""
        operation, predecessor = connection
        return predecessor * len(self.operations) + self.operations.index(operation)

    def pairs(self, size: int) -> Node:
        """The candidates of a node that has so many, in the order of the flat index."""
        return tuple(map(self.connection, range(size)))

    def random(
        self, rng: torch.Generator, connections: int = 2, distinct_inputs: bool = False, none: bool = False
    ) -> Support:
        """A uniformly random support.

        Per node ``connections`` of all candidates, or with ``distinct_inputs`` so many predecessors, all where there
        are fewer, and for each any operation (DARTS's random baseline). With ``none`` there is one operation more,
        which leaves the connection out.
        """
        import torch

        assert distinct_inputs or not none
        count = len(self.operations)
        support = []
        for size in self.sizes:
            if not distinct_inputs:
                support.append(torch.randperm(size, generator=rng, device=rng.device)[:connections].tolist())
                continue
            predecessors = torch.randperm(size // count, generator=rng, device=rng.device)[:connections].tolist()
            drawn = torch.randint(count + none, (connections,), generator=rng, device=rng.device).tolist()
            support.append([p * count + k for p, k in zip(predecessors, drawn) if k < count])
        return tuple(tuple(sorted(node)) for node in support)

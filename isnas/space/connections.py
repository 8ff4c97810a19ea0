"""Connections: what a super-net needs to know of an architecture, besides its weights and the input.

For every node the active candidates as host integers, which decide what runs, and their coefficients as tensors,
through which gradients reach the architecture variables. ISTA-NAS hands over a sparse support, DARTS all
candidates with softmax weights, random search a sampled support without coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Per node the flat indices of the candidates that run, ascending; a node may have none.
Support = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Connections:
    """Active connections of all nodes, in the order of the space's ``sizes``.

    ``coefficients[j]`` is the tensor (k_j,) of the weights of node j's connections, in the order of ``support[j]``;
    without coefficients all weights are one. In a super-net whose operations see a part of the channels, ``passed[j]``
    is the tensor of the weights of what node j's predecessors hand on beside them, one for each; one without.
    """

    support: Support
    coefficients: tuple[Tensor, ...] | None = None
    passed: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        assert all(list(indices) == sorted(set(indices)) for indices in self.support)
        if self.coefficients is not None:
            assert [(len(indices),) for indices in self.support] == [tuple(c.shape) for c in self.coefficients]


def support_of(active: Sequence[bool], sizes: Sequence[int]) -> Support:
    """The support in which those candidates run that ``active`` says, all nodes' in turn.

    ``sizes`` are the nodes' numbers of candidates; ``active`` has their sum as its length.
    """
    assert len(active) == sum(sizes)
    ends = accumulate(sizes)
    return tuple(tuple(k for k in range(size) if active[end - size + k]) for size, end in zip(sizes, ends))


def bits_of(support: Support, sizes: Sequence[int]) -> list[bool]:
    """Whether each candidate runs, all nodes' in turn: what :func:`support_of` makes ``support`` of."""
    assert all(0 <= k < size for node, size in zip(support, sizes, strict=True) for k in node)
    return [k in node for node, size in zip(map(set, support), sizes) for k in range(size)]

"""Connections: what a super-net needs to know of an architecture, besides its weights and the input.

For every intermediate node the active candidates as host integers, which decide what runs, and their coefficients as
tensors, through which gradients reach the architecture variables. ISTA-NAS hands over a sparse support, DARTS all
candidates with softmax weights, random search a sampled support with ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from isnas.space.cells.candidates import genotype_from_supports
from isnas.space.cells.genotype import Genotype

Support = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CellConnections:
    """Active connections of one cell type.

    ``support[j]`` are the flat indices of node j in ascending order; ``coefficients[j]`` is the tensor (k_j,) of
    their weights in the same order.
    """

    support: Support
    coefficients: tuple[torch.Tensor, ...]

    def __post_init__(self) -> None:
        assert len(self.support) == len(self.coefficients)
        for indices, weights in zip(self.support, self.coefficients):
            assert list(indices) == sorted(set(indices)) and weights.shape == (len(indices),)

    @staticmethod
    def ones(support: Support) -> CellConnections:
        """A support whose coefficients are all one."""
        return CellConnections(support, tuple(torch.ones(len(indices)) for indices in support))


@dataclass(frozen=True)
class Connections:
    """Active connections of the normal and of the reduction cells."""

    normal: CellConnections
    reduce: CellConnections

    def of(self, reduction: bool) -> CellConnections:
        """The connections of one cell type."""
        return self.reduce if reduction else self.normal

    def genotype(self, extra_bn: str = "none") -> Genotype:
        """The architecture without its coefficients."""
        return genotype_from_supports(self.normal.support, self.reduce.support, extra_bn)

"""Random architectures: what a search has to beat."""

from __future__ import annotations

import torch

from isnas.base.random import generator
from isnas.space.cells.candidates import NUM_INPUTS
from isnas.space.cells.genotype import DARTS_OPERATIONS, Genotype, Node


def random_genotype(seed: int, num_nodes: int = 4, connections: int = 2) -> Genotype:
    """A uniformly random pair of cells: per node ``connections`` distinct predecessors, each with any operation.

    Source: the random baseline of DARTS (ICLR 2019).
    """
    rng = generator(seed, "random architecture")

    def node(index: int) -> Node:
        predecessors = torch.randperm(NUM_INPUTS + index, generator=rng)[:connections].tolist()
        operations = torch.randint(len(DARTS_OPERATIONS), (connections,), generator=rng).tolist()
        return tuple((DARTS_OPERATIONS[k], predecessor) for k, predecessor in zip(operations, predecessors))

    normal, reduce = (tuple(node(index) for index in range(num_nodes)) for _ in range(2))
    concat = tuple(range(NUM_INPUTS, NUM_INPUTS + num_nodes))
    return Genotype(normal, concat, reduce, concat)

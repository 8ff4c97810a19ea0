"""The DARTS network written out from its definition, on a :class:`CellNetwork`'s modules, and random connections."""

import random

import torch
import torch.nn.functional as F

from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections


def random_connections(seed, sparseness=2, num_nodes=4, coefficient=None, dtype=torch.float64):
    """Random supports with coefficients drawn from N(0, 1), or all the same."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    sizes = CellSpace(num_nodes=num_nodes).sizes
    support = tuple(tuple(sorted(rng.sample(range(size), sparseness))) for size in sizes)
    if coefficient is None:
        weights = [torch.randn(sparseness, generator=generator, dtype=dtype) for _ in support]
    else:
        weights = [torch.full((sparseness,), coefficient, dtype=dtype) for _ in support]
    return Connections(support, tuple(weights))


def literal_forward(network, weights, x):
    """Class scores when node j is ``sum_k weights[j][k] o_k(x_pred)`` over ALL candidates k, in turn.

    Every operation has its own ReLU and its output is multiplied by its weight. ``weights`` has one entry per node, the
    normal cell's first.
    """
    s0, s1 = network.stem(x)
    for cell in network.cells:
        own = weights[len(weights) // 2 :] if cell.reduction else weights[: len(weights) // 2]
        states = [cell.preprocess0(F.relu(s0)), cell.preprocess1(F.relu(s1))]
        for j, operations in enumerate(cell.nodes):
            terms = []
            for k, operation in enumerate(operations):
                state = states[cell.predecessors[j][k]]
                out = operation(F.relu(state) if operation.relu_first else state)
                terms.append(own[j][k] * out)
            states.append(torch.stack(terms).sum(0))
        s0, s1 = s1, torch.cat(states[2:], dim=1)
    return network.classifier(s1.mean((2, 3)))


def dense_weights(connections):
    """The coefficients of all candidates of each node, zero where a connection is not active."""
    sizes = CellSpace(num_nodes=len(connections.support) // 2).sizes
    return [
        torch.zeros(size, dtype=weights.dtype).index_put((torch.tensor(indices),), weights)
        for size, indices, weights in zip(sizes, connections.support, connections.coefficients)
    ]

"""The DARTS network written out from its definition, on the modules of a :class:`Network`, and random connections."""

import random

import torch
import torch.nn.functional as F

from isnas.space.cells.candidates import num_candidates
from isnas.space.connections import CellConnections, Connections


def random_connections(seed, sparseness=2, num_nodes=4, coefficient=None, dtype=torch.float64):
    """Random supports with coefficients drawn from N(0, 1), or all the same."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    cells = []
    for _ in range(2):
        support = tuple(tuple(sorted(rng.sample(range(num_candidates(j)), sparseness))) for j in range(num_nodes))
        if coefficient is None:
            weights = [torch.randn(sparseness, generator=generator, dtype=dtype) for _ in support]
        else:
            weights = [torch.full((sparseness,), coefficient, dtype=dtype) for _ in support]
        cells.append(CellConnections(support, tuple(weights)))
    return Connections(*cells)


def literal_forward(network, weights, x):
    """Class scores when node j is ``sum_k weights[reduction][j][k] o_k(x_pred)`` over ALL candidates k, in turn.

    Every operation has its own ReLU and its output is multiplied by its weight.
    """
    s0, s1 = network.stem(x)
    for cell in network.cells:
        states = [cell.preprocess0(F.relu(s0)), cell.preprocess1(F.relu(s1))]
        for j, operations in enumerate(cell.nodes):
            terms = []
            for k, operation in enumerate(operations):
                state = states[cell.predecessors[j][k]]
                out = operation(F.relu(state) if operation.relu_first else state)
                terms.append(weights[cell.reduction][j][k] * out)
            states.append(torch.stack(terms).sum(0))
        s0, s1 = s1, torch.cat(states[2:], dim=1)
    return network.classifier(s1.mean((2, 3)))


def dense_weights(connections):
    """The coefficients of all candidates, zero where a connection is not active."""
    result = {}
    for reduction in (False, True):
        cell = connections.of(reduction)
        result[reduction] = [
            torch.zeros(num_candidates(j), dtype=weights.dtype).index_put((torch.tensor(indices),), weights)
            for j, (indices, weights) in enumerate(zip(cell.support, cell.coefficients))
        ]
    return result

"""Absorption: the coefficients of a one-stage network go into its batch normalisations (ISTA-NAS, Eq. 12).

    gamma_hat = c gamma,    beta_hat = c beta        in the last BN of each active connection

A BN that carries a coefficient computes with exactly these products, so the plain network that results has the same
outputs to the last bit, whatever the coefficients are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.space.batch_norm import BatchNorm
from isnas.space.connections import Connections
from isnas.space.space import Network, Output


@dataclass(frozen=True)
class WeightedNetwork:
    """A network that holds a found architecture's connections only, and their coefficients.

    ``connections.support[j]`` counts the connections of node j: 0, 1, ...
    """

    network: Network
    connections: Connections

    def __call__(self, x: Tensor) -> Output:
        return self.network(x, self.connections)


@torch.no_grad()
def absorb(weighted: WeightedNetwork) -> Network:
    """The plain network, in eval mode, that computes what ``weighted`` does; that one stays as it is.

    Raises:
        UserError: for a network without coefficients (it is absorbed already), one that holds other connections than
            the weighted ones, or one with a connection that does not end in an affine batch normalisation (a
            two-stage network).
    """
    if not isinstance(weighted, WeightedNetwork):
        raise UserError("this network has no coefficients to absorb: it is a plain network already")
    network = copy.deepcopy(weighted.network)
    support, coefficients = weighted.connections.support, weighted.connections.coefficients
    assert coefficients is not None
    for node, (active, weights) in enumerate(zip(support, coefficients)):
        for operations in network.operations(node):
            if active != tuple(range(len(operations))):
                raise UserError("only a network that holds the found connections alone can absorb their coefficients")
            for operation, coefficient in zip(operations, weights):
                bn = operation.last_bn
                if not isinstance(bn, BatchNorm) or bn.weight is None or bn.bias is None:
                    raise UserError(
                        "a connection does not end in a batch normalisation with gamma and beta: coefficients can only "
                        "be absorbed in a one-stage network"
                    )
                own = coefficient.to(bn.weight.dtype).to(bn.weight.device)
                bn.weight.copy_(own * bn.weight)
                bn.bias.copy_(own * bn.bias)
    return network.eval()

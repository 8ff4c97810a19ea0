"""Absorption: the coefficients of a one-stage network go into its batch normalisations (ISTA-NAS, Eq. 12).

    gamma_hat = c gamma,    beta_hat = c beta        in the last BN of each active connection

A BN that carries a coefficient computes with exactly these products, so the plain network that results has the same
outputs to the last bit, whatever the coefficients are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isnas.base.errors import UserError
from isnas.space.cells.cell import Cell
from isnas.space.cells.network import Network, Output
from isnas.space.cells.operations import BatchNorm, SepConv
from isnas.space.connections import Connections


@dataclass(frozen=True)
class WeightedNetwork:
    """A network that holds a found architecture's connections only, and their coefficients.

    ``connections.of(reduction).support[j]`` counts the connections of node j: 0, 1, ...
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
    per_type = {reduction: weighted.connections.of(reduction) for reduction in (False, True)}
    for cell in network.cells:
        assert isinstance(cell, Cell)
        connections = per_type[cell.reduction]
        for operations, support, weights in zip(cell.nodes, connections.support, connections.coefficients):
            if support != tuple(range(len(list(operations.children())))):
                raise UserError("only a network that holds the found connections alone can absorb their coefficients")
            for operation, coefficient in zip(operations.children(), weights):
                bn = last_bn(operation)
                if bn is None or bn.weight is None or bn.bias is None:
                    raise UserError(
                        "a connection does not end in a batch normalisation with gamma and beta: coefficients can only "
                        "be absorbed in a one-stage network"
                    )
                bn.weight.copy_(coefficient.to(bn.weight.dtype) * bn.weight)
                bn.bias.copy_(coefficient.to(bn.bias.dtype) * bn.bias)
    return network.eval()


def last_bn(operation: nn.Module) -> BatchNorm | None:
    """The batch normalisation that ends an operation, None for a pool or skip without."""
    return operation.bn2 if isinstance(operation, SepConv) else operation.bn  # type: ignore[return-value]

"""The DARTS cell, one class for super-net and target network.

It holds a module per connection it was built with: all candidates in a super-net, the genotype's in a target network.
Which of them run, and with which coefficients, is an argument of ``forward``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.space.cells.genotype import NUM_INPUTS, Node
from isnas.space.cells.operations import OPERATIONS, BatchNorms, FactorizedReduce, ReLUConvBN
from isnas.space.connections import Support


def with_dense_gradient(x: Tensor) -> Tensor:
    """x itself; its gradient will be laid out as x is, without holes.

    The gradient of a concatenation's part is a slice of the whole, and batch normalisation's backward on the CPU takes
    many times as long for a slice as for the same numbers side by side.
    """
    if x.requires_grad:
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=memory_format))
    return x


class Cell(nn.Module):
    """Two inputs, intermediate nodes that each sum ``c_k o_k(x_pred)`` over their connections, concatenated.

    Inputs and output are rectified outside: a cell's output is only ever read through a ReLU, but for the last one's.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        concat: Sequence[int],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
        bn: BatchNorms,
    ) -> None:
        super().__init__()
        first = FactorizedReduce if after_reduction else ReLUConvBN
        self.preprocess0 = first(in_channels[0], channels, bn.affine)
        self.preprocess1 = ReLUConvBN(in_channels[1], channels, bn.affine)
        self.reduction = reduction
        self.concat = tuple(concat)
        self.out_channels = channels * len(self.concat)
        self.predecessors = tuple(tuple(predecessor for _, predecessor in node) for node in nodes)
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                OPERATIONS[operation].make(channels, 2 if reduction and predecessor < NUM_INPUTS else 1, bn)
                for operation, predecessor in node
            )
            for node in nodes
        )

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        support: Support | None = None,
        coefficients: Sequence[Sequence[Tensor]] | None = None,
        path_scales: Iterator[Tensor] | None = None,
    ) -> Tensor:
        """Output (B, out_channels, H', W'), not rectified, from the rectified outputs of the two cells before.

        ``support[j]`` are the positions of the connections of node j that run (all, when None), and
        ``coefficients[j]`` their weights as scalars (one, when None). ``path_scales`` yields for each connection that
        runs, in turn, what drop-path multiplies each image by, (B,).
        """
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        rectified: dict[int, Tensor] = {}
        for j, operations in enumerate(self.nodes):
            assert isinstance(operations, nn.ModuleList)
            active = range(len(operations)) if support is None else support[j]
            total: Tensor | None = None
            for position, k in enumerate(active):
                predecessor = self.predecessors[j][k]
                x = states[predecessor]
                if operations[k].relu_first:
                    if predecessor not in rectified:
                        rectified[predecessor] = F.relu(x)
                    x = rectified[predecessor]
                weighted = operations[k](x, None if coefficients is None else coefficients[j][position])
                if path_scales is not None:
                    scale = next(path_scales)
                    if not operations[k].is_identity:
                        weighted = weighted * scale.to(weighted.dtype).view(-1, 1, 1, 1)
                total = weighted if total is None else total + weighted
            states.append(self._zeros(states[0]) if total is None else with_dense_gradient(total))
        return torch.cat([states[i] for i in self.concat], dim=1)

    def _zeros(self, like: Tensor) -> Tensor:
        """The value of a node without connections."""
        return torch.zeros_like(like[:, :, ::2, ::2] if self.reduction else like)

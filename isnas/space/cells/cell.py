"""The DARTS cell, one class for super-net and target network.

It holds a module per connection it was built with: all candidates in a super-net, the genotype's in a target network.
Which of them run, and with which coefficients, is an argument of ``forward``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.space.cells.genotype import NUM_INPUTS
from isnas.space.cells.operations import OPERATIONS, BatchNorms, FactorizedReduce, ReLUConvBN, concatenated
from isnas.space.connections import Support
from isnas.space.pairs import Node


def with_dense_gradient(x: Tensor) -> Tensor:
    """x itself; its gradient will be laid out as x is, without holes.

    The gradient of a concatenation's part is a slice of the whole, and batch normalisation's backward on the CPU takes
    many times as long for a slice as for the same numbers side by side.
    """
    if x.requires_grad:
        layout = _layout(x)
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=layout))
    return x


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def shuffle(x: Tensor, parts: int) -> Tensor:
    """Channel i of part g, of equal parts, becomes channel ``parts i + g``; (B, C, H, W), laid out as x is.

    On a GPU ``torch.channel_shuffle`` itself would give up ``channels_last``.
    """
    if not x.is_contiguous(memory_format=torch.channels_last):
        return torch.channel_shuffle(x, parts)
    channels = x.permute(0, 2, 3, 1)
    return channels.unflatten(3, (parts, -1)).transpose(3, 4).flatten(3).permute(0, 3, 1, 2)


class Cell(nn.Module):
    """Two inputs, intermediate nodes that each sum ``c_k o_k(x_pred)`` over their connections, concatenated.

    Inputs and output are rectified outside: a cell's output is only ever read through a ReLU, but for the last one's.
    An input that no connection reads is not preprocessed.

    With ``partial`` = K > 1 the operations see the first of K parts of the channels, and the others pass by (PC-DARTS,
    ICLR 2020): a node is ``shuffle(concat(sum_k c_k o_k(first(x)), sum_p w_p rest(x_p)))``, where a pass with stride 2
    is a 2 x 2 maximum, w_p the weight of predecessor p, and the shuffle deals the K parts out in turn. Both are linear,
    so a node needs one concatenation and one shuffle, however many edges it has.
    """

    side_by_side = 1

    def __init__(
        self,
        nodes: Sequence[Node],
        concat: Sequence[int],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
        bn: BatchNorms,
        partial: int = 1,
    ) -> None:
        super().__init__()
        self.channels, self.partial = channels, partial
        first = FactorizedReduce if after_reduction else ReLUConvBN
        self.preprocess0 = first(in_channels[0], channels, bn.affine)
        self.preprocess1 = ReLUConvBN(in_channels[1], channels, bn.affine)
        self.reduction = reduction
        self.concat = tuple(concat)
        self.out_channels = channels * len(self.concat)
        self.predecessors = tuple(tuple(predecessor for _, predecessor in node) for node in nodes)
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                OPERATIONS[operation].make(channels // partial, 2 if reduction and predecessor < NUM_INPUTS else 1, bn)
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
        path_scales: Iterable[Tensor] | None = None,
        passed: Sequence[Sequence[Tensor]] | None = None,
    ) -> Tensor:
        """Output (B, out_channels, H', W'), not rectified, from the rectified outputs of the two cells before.

        ``support[j]`` are the positions of the connections of node j that run (all, when None), and
        ``coefficients[j]`` their weights as scalars (one, when None). ``path_scales`` has for each connection that
        runs, in turn, what drop-path multiplies each image by, (B,). ``passed[j]`` are the weights of what passes by
        from node j's predecessors, as scalars (one, when None).
        """
        states = _States(self.partial, self.reduction)
        unread = self.unread(support)
        scales = None if path_scales is None else iter(path_scales)
        for preprocess, s in ((self.preprocess0, s0), (self.preprocess1, s1)):
            states.append(s if preprocess in unread else preprocess(s))  # in the place of what nobody reads
        for j, operations in enumerate(self.nodes):
            assert isinstance(operations, nn.ModuleList)
            active = range(len(operations)) if support is None else support[j]
            total: Tensor | None = None
            for position, k in enumerate(active):
                x = states.read(self.predecessors[j][k], rectified=bool(operations[k].relu_first))
                weighted = operations[k](x, None if coefficients is None else coefficients[j][position])
                if scales is not None:
                    scale = next(scales)
                    if not operations[k].is_identity:
                        weighted = weighted * scale.to(weighted.dtype).view(-1, 1, 1, 1)
                total = weighted if total is None else total + weighted
            if total is None:
                total = self._zeros(s1)
            if self.partial > 1:
                rest = states.passed(sorted(set(self.predecessors[j])), None if passed is None else passed[j])
                total = shuffle(torch.cat([total, rest], dim=1), self.partial)
            states.append(with_dense_gradient(total))
        return concatenated([states.whole[i] for i in self.concat], self.side_by_side)

    def unread(self, support: Support | None) -> list[nn.Module]:
        """The preprocessing that does not run, as no connection reads it (of all, when ``support`` is None)."""
        if self.partial > 1:  # what passes by is read in any case
            return []
        nodes = self.predecessors
        if support is not None:
            nodes = tuple(tuple(node[k] for k in active) for node, active in zip(nodes, support, strict=True))
        read = {predecessor for node in nodes for predecessor in node}
        return [part for number, part in enumerate((self.preprocess0, self.preprocess1)) if number not in read]

    def _zeros(self, s1: Tensor) -> Tensor:
        """What the connections of a node without any sum to."""
        height, width = ((side + 1) // 2 if self.reduction else side for side in s1.shape[2:])
        zeros = s1.new_zeros(s1.shape[0], self.channels // self.partial, height, width)
        return zeros.contiguous(memory_format=_layout(s1))


class _States:
    """A cell's nodes so far, and what connections read of them: each part is taken and rectified once."""

    def __init__(self, partial: int, reduction: bool) -> None:
        self.partial, self.reduction = partial, reduction
        self.whole: list[Tensor] = []
        self.first: list[Tensor] = []
        self.rest: list[Tensor] = []
        self.rectified: dict[int, Tensor] = {}

    def append(self, x: Tensor) -> None:
        """A node's value (B, C, H, W)."""
        self.whole.append(x)
        if self.partial == 1:
            self.first.append(x)
            return
        first, rest = x.tensor_split([x.shape[1] // self.partial], dim=1)
        self.first.append(first.contiguous(memory_format=_layout(x)))
        halved = self.reduction and len(self.whole) <= NUM_INPUTS
        self.rest.append(F.max_pool2d(rest, 2, ceil_mode=True) if halved else rest)

    def read(self, node: int, rectified: bool) -> Tensor:
        """What operations see of a node, rectified or as it is."""
        if not rectified:
            return self.first[node]
        if node not in self.rectified:
            self.rectified[node] = F.relu(self.first[node])
        return self.rectified[node]

    def passed(self, nodes: Sequence[int], weights: Sequence[Tensor] | None) -> Tensor:
        """The weighted sum of what operations do not see of these nodes, (B, C - C / partial, H', W')."""
        parts = [self.rest[node] for node in nodes]
        return sum(parts if weights is None else [w * part for w, part in zip(weights, parts, strict=True)])  # type: ignore[return-value]

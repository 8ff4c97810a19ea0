"""The candidate operations.

Two conventions make the super-net cheap:

- An operation whose first layer is a ReLU (``relu_first``) is handed its input already rectified, so that all
  operations of a cell that read one state share one ReLU.
- A connection's coefficient c is carried by the operation's last batch normalisation, whose scale gamma and shift
  beta become c gamma and c beta: the output is c times the operation's, without another pass over it.

Source of the operations: DARTS (ICLR 2019); ``conv_7x1_1x7`` and ``sep_conv_7x7`` are NASNet's and AmoebaNet's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.space.batch_norm import BatchNorm, Folds


@dataclass(frozen=True)
class BatchNorms:
    """Which batch normalisations a network's cells have.

    ``affine``: whether they have a trainable gamma and beta; ``after_pool`` and ``after_skip``: whether pools and the
    stride-1 skip are followed by one.
    """

    affine: bool
    after_pool: bool
    after_skip: bool


#: Two-stage search: no gamma and beta, and a batch normalisation after pools.
SEARCH_BN = BatchNorms(affine=False, after_pool=True, after_skip=False)


#: One-stage search: a trainable one ends every candidate.
ONE_STAGE_BN = BatchNorms(affine=True, after_pool=True, after_skip=True)


def target_bn(extra_bn: str) -> BatchNorms:
    """The batch normalisations of a target network, from a genotype's ``extra_bn``."""
    return BatchNorms(affine=True, after_pool=extra_bn in ("pools", "all"), after_skip=extra_bn == "all")


class Operation(nn.Module):
    """A candidate: (B, C, H, W) -> (B, C, H / stride, W / stride), times the coefficient () if there is one.

    ``relu_first``: it begins with a ReLU, and is handed its input rectified. ``folds``: its batch normalisations, and
    for each the convolutions, side by side, whose output it alone reads; a deployed network folds them together.
    Every class says so, be it that there are none.
    """

    relu_first: ClassVar[bool] = True
    folds: ClassVar[Folds]

    @property
    def last_bn(self) -> BatchNorm | None:
        """The batch normalisation that ends it and carries the coefficient, None for a pool or skip without."""
        return self.bn  # type: ignore[return-value]

    @property
    def is_identity(self) -> bool:
        """Whether it does nothing, so that drop-path spares it."""
        return False


class SepConv(Operation):
    """(ReLU, depthwise k x k, pointwise, BN) twice; the first has the stride."""

    folds: ClassVar[Folds] = {"bn1": ("pointwise1",), "bn2": ("pointwise2",)}

    def __init__(self, kernel: int, channels: int, stride: int, bn: BatchNorms) -> None:
        super().__init__()
        self.depthwise1 = _depthwise(channels, kernel, stride)
        self.pointwise1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = BatchNorm(channels, bn.affine)
        self.depthwise2 = _depthwise(channels, kernel, 1)
        self.pointwise2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = BatchNorm(channels, bn.affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        x = F.relu_(self.bn1(self.pointwise1(self.depthwise1(x))))
        return self.bn2(self.pointwise2(self.depthwise2(x)), coefficient)

    @property
    def last_bn(self) -> BatchNorm:
        return self.bn2


class DilConv(Operation):
    """ReLU, depthwise k x k with dilation 2, pointwise, BN."""

    folds: ClassVar[Folds] = {"bn": ("pointwise",)}

    def __init__(self, kernel: int, channels: int, stride: int, bn: BatchNorms) -> None:
        super().__init__()
        self.depthwise = _depthwise(channels, kernel, stride, dilation=2)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = BatchNorm(channels, bn.affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return self.bn(self.pointwise(self.depthwise(x)), coefficient)


class Conv7x1(Operation):
    """ReLU, 1 x 7 convolution, 7 x 1 convolution, BN."""

    folds: ClassVar[Folds] = {"bn": ("conv2",)}

    def __init__(self, channels: int, stride: int, bn: BatchNorms) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False)
        self.conv2 = nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False)
        self.bn = BatchNorm(channels, bn.affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return self.bn(self.conv2(self.conv1(x)), coefficient)


class ReLUConvBN(Operation):
    """ReLU, 1 x 1 convolution, BN: brings an input of a cell to the cell's channels."""

    folds: ClassVar[Folds] = {"bn": ("conv",)}

    def __init__(self, in_channels: int, channels: int, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn = BatchNorm(channels, affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return self.bn(self.conv(x), coefficient)


class FactorizedReduce(Operation):
    """ReLU, two 1 x 1 convolutions of stride 2, the second one pixel further, concatenated, BN.

    The pixels are taken first and the convolutions have stride 1: the same sums, and oneDNN's backward pass of 1 x 1
    convolutions of stride 2 writes beyond its memory when there are few channels.
    """

    folds: ClassVar[Folds] = {"bn": ("conv1", "conv2")}
    side_by_side = 1

    def __init__(self, in_channels: int, channels: int, affine: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, channels - channels // 2, 1, bias=False)
        self.bn = BatchNorm(channels, affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        shifted = x[:, :, 1::2, 1::2]
        if x.shape[2] % 2 or x.shape[3] % 2:  # at an odd size the shifted image has one row or column too few
            shifted = F.pad(shifted, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        halves = [self.conv1(x[:, :, ::2, ::2]), self.conv2(shifted)]
        return self.bn(concatenated(halves, self.side_by_side), coefficient)


class Pool(Operation):
    """3 x 3 max or average pooling (padding not counted), with a BN of its own or not."""

    relu_first = False
    folds: ClassVar[Folds] = {}

    def __init__(self, kind: str, channels: int, stride: int, bn: BatchNorms) -> None:
        super().__init__()
        if kind == "max":
            self.pool: nn.Module = nn.MaxPool2d(3, stride, padding=1)
        else:
            self.pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        self.bn = BatchNorm(channels, bn.affine) if bn.after_pool else None

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return _finish(self.bn, self.pool(x), coefficient)


class Skip(Operation):
    """Identity, with a BN of its own or not."""

    relu_first = False
    folds: ClassVar[Folds] = {}

    def __init__(self, channels: int, bn: BatchNorms) -> None:
        super().__init__()
        self.bn = BatchNorm(channels, bn.affine) if bn.after_skip else None

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return _finish(self.bn, x, coefficient)

    @property
    def is_identity(self) -> bool:
        return self.bn is None


def make_skip(channels: int, stride: int, bn: BatchNorms) -> Operation:
    """A skip: the identity, which at stride 2 becomes a factorised reduction."""
    return Skip(channels, bn) if stride == 1 else FactorizedReduce(channels, channels, bn.affine)


def concatenated(parts: Sequence[Tensor], networks: int = 1) -> Tensor:
    """The channels of all ``parts`` (B, C_i, H, W), one part's after the other's: (B, sum C_i, H, W).

    Where the channels are those of several networks side by side, each network's are joined by themselves.
    """
    if networks == 1:
        return torch.cat(list(parts), dim=1)
    return torch.cat([part.unflatten(1, (networks, -1)) for part in parts], dim=2).flatten(1, 2)


@dataclass(frozen=True)
class Row:
    """All that is known of an operation by its name.

    ``make(channels, stride, bn)`` makes it. ``kept``: tensors of its output's size that it keeps for the backward pass
    at stride 1 in a search, beside the input that it reads, and ``kept_places``: such tensors of int64 numbers.
    ``colors``: outline and filling in pictures.
    """

    make: Callable[[int, int, BatchNorms], Operation]
    kept: int
    kept_places: int
    colors: tuple[str, str]


_SEP, _DIL, _POOL = ("#1f5fa8", "#eaf2fb"), ("#b34a0b", "#fdf0e7"), ("#23784a", "#e9f6ee")

#: Every operation that a genotype may name, in the order of :data:`isnas.space.cells.genotype.NAMES`.
OPERATIONS: dict[str, Row] = {
    "max_pool_3x3": Row(partial(Pool, "max"), 1, 1, _POOL),
    "avg_pool_3x3": Row(partial(Pool, "avg"), 1, 0, _POOL),
    "skip_connect": Row(make_skip, 0, 0, ("#5f4b8b", "#f1eef8")),
    "sep_conv_3x3": Row(partial(SepConv, 3), 5, 0, _SEP),
    "sep_conv_5x5": Row(partial(SepConv, 5), 5, 0, _SEP),
    "dil_conv_3x3": Row(partial(DilConv, 3), 2, 0, _DIL),
    "dil_conv_5x5": Row(partial(DilConv, 5), 2, 0, _DIL),
    "sep_conv_7x7": Row(partial(SepConv, 7), 5, 0, _SEP),
    "conv_7x1_1x7": Row(Conv7x1, 2, 0, ("#a0256e", "#fbebf4")),
}


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)


def _finish(bn: BatchNorm | None, x: Tensor, coefficient: Tensor | None) -> Tensor:
    if bn is not None:
        return bn(x, coefficient)
    return x if coefficient is None else coefficient * x

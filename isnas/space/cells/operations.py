"""The candidate operations.

Two conventions make the super-net cheap:

- An operation whose first layer is a ReLU (``relu_first``) is handed its input already rectified, so that all
  operations of a cell that read one state share one ReLU.
- A connection's coefficient c is carried by the operation's last batch normalisation, whose scale gamma and shift
  beta become c gamma and c beta: the output is c times the operation's, without another pass over it.

Source of the operations: DARTS (ICLR 2019); ``conv_7x1_1x7`` and ``sep_conv_7x7`` are NASNet's and AmoebaNet's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.space.sync_bn import synchronised_batch_norm


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


class BatchNorm(nn.Module):
    """Batch normalisation that can carry a coefficient: ``forward(x, c) = c * forward(x)``.

    Momentum 0.1 and epsilon 1e-5, as everywhere in the DARTS family. Without ``affine`` there are no gamma and beta.
    ``synchronised`` ones take mean and variance over the images of all processes.
    """

    epsilon, momentum = 1e-5, 0.1
    synchronised = False
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        weight: Tensor | None = self.weight
        bias: Tensor | None = self.bias
        if coefficient is not None:
            # contiguous: torch's channels_last backward on the CPU reads past the end of an expanded weight
            weight = coefficient.expand(self.channels).contiguous() if weight is None else coefficient * weight
            bias = None if bias is None else coefficient * bias
        if self.training and self.synchronised:
            return synchronised_batch_norm(
                x, self.running_mean, self.running_var, weight, bias, self.momentum, self.epsilon
            )
        return F.batch_norm(
            x, self.running_mean, self.running_var, weight, bias, self.training, self.momentum, self.epsilon
        )


class SepConv(nn.Module):
    """(ReLU, depthwise k x k, pointwise, BN) twice; the first has the stride."""

    relu_first = True

    def __init__(self, channels: int, kernel: int, stride: int, bn: BatchNorms) -> None:
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


class DilConv(nn.Module):
    """ReLU, depthwise k x k with dilation 2, pointwise, BN."""

    relu_first = True

    def __init__(self, channels: int, kernel: int, stride: int, bn: BatchNorms) -> None:
        super().__init__()
        self.depthwise = _depthwise(channels, kernel, stride, dilation=2)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = BatchNorm(channels, bn.affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return self.bn(self.pointwise(self.depthwise(x)), coefficient)


class Conv7x1(nn.Module):
    """ReLU, 1 x 7 convolution, 7 x 1 convolution, BN."""

    relu_first = True

    def __init__(self, channels: int, stride: int, bn: BatchNorms) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False)
        self.conv2 = nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False)
        self.bn = BatchNorm(channels, bn.affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return self.bn(self.conv2(self.conv1(x)), coefficient)


class ReLUConvBN(nn.Module):
    """ReLU, 1 x 1 convolution, BN: brings an input of a cell to the cell's channels."""

    relu_first = True

    def __init__(self, in_channels: int, channels: int, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn = BatchNorm(channels, affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return self.bn(self.conv(x), coefficient)


class FactorizedReduce(nn.Module):
    """ReLU, two 1 x 1 convolutions of stride 2, the second one pixel further, concatenated, BN.

    The pixels are taken first and the convolutions have stride 1: the same sums, and oneDNN's backward pass of 1 x 1
    convolutions of stride 2 writes beyond its memory when there are few channels.
    """

    relu_first = True

    def __init__(self, in_channels: int, channels: int, affine: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, channels - channels // 2, 1, bias=False)
        self.bn = BatchNorm(channels, affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        shifted = x[:, :, 1::2, 1::2]
        if x.shape[2] % 2 or x.shape[3] % 2:  # at an odd size the shifted image has one row or column too few
            shifted = F.pad(shifted, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        return self.bn(torch.cat([self.conv1(x[:, :, ::2, ::2]), self.conv2(shifted)], dim=1), coefficient)


class Pool(nn.Module):
    """3 x 3 max or average pooling (padding not counted), with a BN of its own or not."""

    relu_first = False

    def __init__(self, kind: str, channels: int, stride: int, bn: BatchNorms) -> None:
        super().__init__()
        if kind == "max":
            self.pool: nn.Module = nn.MaxPool2d(3, stride, padding=1)
        else:
            self.pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        self.bn = BatchNorm(channels, bn.affine) if bn.after_pool else None

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return _finish(self.bn, self.pool(x), coefficient)


class Skip(nn.Module):
    """Identity, with a BN of its own or not."""

    relu_first = False

    def __init__(self, channels: int, bn: BatchNorms) -> None:
        super().__init__()
        self.bn = BatchNorm(channels, bn.affine) if bn.after_skip else None

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return _finish(self.bn, x, coefficient)


def is_identity(operation: nn.Module) -> bool:
    """Whether it is a skip without a BN of its own, which drop-path spares."""
    return isinstance(operation, Skip) and operation.bn is None


def make_operation(name: str, channels: int, stride: int, bn: BatchNorms) -> nn.Module:
    """The operation with this name of ``genotype.OPERATIONS``: (B, C, H, W) -> (B, C, H / stride, W / stride)."""
    kind, _, size = name.rpartition("_")
    kernel = int(size[0]) if size[0].isdigit() else 0
    if kind == "sep_conv":
        return SepConv(channels, kernel, stride, bn)
    if kind == "dil_conv":
        return DilConv(channels, kernel, stride, bn)
    if kind in ("max_pool", "avg_pool"):
        return Pool(kind[:3], channels, stride, bn)
    if name == "skip_connect":
        return Skip(channels, bn) if stride == 1 else FactorizedReduce(channels, channels, bn.affine)
    assert name == "conv_7x1_1x7"
    return Conv7x1(channels, stride, bn)


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)


def _finish(bn: BatchNorm | None, x: Tensor, coefficient: Tensor | None) -> Tensor:
    if bn is not None:
        return bn(x, coefficient)
    return x if coefficient is None else coefficient * x

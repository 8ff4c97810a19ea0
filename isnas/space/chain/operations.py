"""The modules of a chain: convolution with batch normalisation, and the candidates of a block.

A candidate's coefficient c is carried by the batch normalisation that ends it: the output is c times the candidate's
own, without another pass over it. An MBConv's output is not rectified. Source: MobileNetV2 (CVPR 2018), ProxylessNAS.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from isnas.space.batch_norm import BatchNorm, Folds
from isnas.space.chain.candidates import CANDIDATES, SKIP


def relu6_(x: Tensor) -> Tensor:
    """min(max(x, 0), 6) in place, of which the backward pass keeps the result alone.

    torch's keeps a copy of x too, half as much again as all the rest that a block keeps.
    """
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
        return _ReLU6.apply(x)
    return F.relu6(x, inplace=True)


class _ReLU6(torch.autograd.Function):
    """The result is in (0, 6) where x is, so it tells the derivative as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.mark_dirty(x)
        F.relu6(x, inplace=True)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, y, 0.0, 6.0)


class ChainBatchNorm(BatchNorm):
    """The same with ProxylessNAS's epsilon."""

    epsilon = 1e-3


class ConvolutionBN(nn.Module):
    """k x k convolution that keeps the size but for its stride, and BN."""

    folds: ClassVar[Folds] = {"bn": ("conv",)}

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, affine: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = ChainBatchNorm(channels, affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        return self.bn(self.conv(x), coefficient)


class Operation(nn.Module):
    """A candidate: (B, C, H, W) -> (B, C', H / stride, W / stride), times the coefficient () if there is one."""

    #: It adds nothing to its block's shortcut, so it need not run and drop-path spares it.
    is_identity = False

    @property
    def last_bn(self) -> BatchNorm | None:
        """The batch normalisation that ends it and carries the coefficient, None where there is none."""
        raise NotImplementedError


class MBConv(Operation):
    """1 x 1 to ``expansion`` times the channels, BN, ReLU6; depthwise k x k, BN, ReLU6; 1 x 1, BN.

    Without expansion (1) the first convolution is left out. The depthwise one has the stride.
    """

    def __init__(
        self, kernel: int, expansion: int, in_channels: int, channels: int, stride: int, affine: bool = True
    ) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.expand = ConvolutionBN(in_channels, inner, affine=affine) if expansion > 1 else None
        self.depthwise = ConvolutionBN(inner, inner, kernel, stride, groups=inner, affine=affine)
        self.project = ConvolutionBN(inner, channels, affine=affine)

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        if self.expand is not None:
            x = relu6_(self.expand(x))
        x = relu6_(self.depthwise(x))
        return self.project(x, coefficient)

    @property
    def last_bn(self) -> BatchNorm:
        return self.project.bn


class Skip(Operation):
    """What a block adds to its shortcut when it is left out: nothing, or with ``bn`` the normalised input.

    A candidate that adds nothing would have no gradient, and a search that once left a block out would never take it
    back. With the normalisation its coefficient has one, as the appended BN of one-stage ISTA-NAS gives the identity.
    It has gamma and beta in any search: without them, of an input that is normalised already it would be a multiple,
    and the next block's normalisation would undo whatever the coefficient does.
    """

    def __init__(self, channels: int, bn: bool) -> None:
        super().__init__()
        self.is_identity = not bn
        self.bn = ChainBatchNorm(channels) if bn else None

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        assert self.bn is not None, "it adds nothing"
        return self.bn(x, coefficient)

    @property
    def last_bn(self) -> BatchNorm | None:
        return self.bn


def make_operation(name: str, in_channels: int, channels: int, stride: int, affine: bool, skip_bn: bool) -> Operation:
    """The candidate of this name; ``affine``: an MBConv's BNs have gamma and beta; ``skip_bn``: a skip has a BN."""
    if name == SKIP:
        assert stride == 1 and in_channels == channels
        return Skip(channels, skip_bn)
    row = CANDIDATES[name]
    return MBConv(row.kernel, row.expansion, in_channels, channels, stride, affine)

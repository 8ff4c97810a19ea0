"""Batch normalisation in training on the CPU whose statistics are exact in ``channels_last`` too.

torch adds up all N = B H W values of a channel one after the other in float32 there. In memory x (N, C) is also
x (N / P, P C), whose columns hold every P-th value of a channel. torch's kernel takes these columns in blocks of rows,
so that it adds up a few hundred values each, and what it finds is joined here in float64:

    mu = mean_k mu_k,   var = mean_k (var_k + (mu_k - mu)^2)        (Chan, Golub and LeVeque, 1979)

    y = gamma (x - mu) / sqrt(var + eps) + beta

The backward pass is torch's, whose plain sums change the gradient by 1e-6 to 1e-5. An error of the statistics counts
for far more, since it moves values across zero in the rectifiers and past each other in the pooling.
Source: Ioffe and Szegedy, Batch Normalization (ICML 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from isnas.space.recomputation import once

#: Most values that are added up one after the other, and that a row has, where N has the divisors.
_COLUMN, _ROW = 512, 1024


def exact_batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    epsilon: float,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` in training of x (B, C, H, W) in ``channels_last`` on the CPU.

    ``running_mean`` and ``running_var`` (C,) move in place, the latter towards the unbiased variance.
    """
    mean, var = once(partial(_moved, x, running_mean, running_var, momentum))
    return _BatchNorm.apply(x, mean, var, weight, bias, epsilon)


@torch.no_grad()
def _moved(x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of x, towards which the running statistics have moved."""
    mean, var = _statistics(x)
    count = x.numel() // x.shape[1]
    running_mean.lerp_(mean, momentum)
    running_var.mul_(1.0 - momentum).add_(var, alpha=momentum * count / (count - 1.0))
    return mean, var


class _BatchNorm(torch.autograd.Function):
    """It keeps what torch's keeps: x, mean, inverse deviation and weight."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        epsilon: float,
    ) -> Tensor:
        ctx.save_for_backward(x, mean, torch.rsqrt(var + epsilon), weight)
        ctx.epsilon = epsilon
        return torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, epsilon)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, mean, inverse_std, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        needed = [ctx.needs_input_grad[position] for position in (0, 3, 4)]
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse_std, True, ctx.epsilon, needed
        )
        return of_x, None, None, of_weight, of_bias, None


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,)."""
    blocks = [torch.batch_norm_update_stats(block, None, None, 0.0) for block in _blocks(x)]
    means, variances = torch.cat([part for pair in zip(*blocks) for part in pair]).view(2, -1, x.shape[1])
    mean, between = torch.batch_norm_update_stats(means.double(), None, None, 0.0)
    return mean.to(x.dtype), variances.mean(0).add_(between)


def _blocks(x: Tensor) -> Sequence[Tensor]:
    """x in the same memory as a matrix (N / P, P C), in blocks of as many rows."""
    channels = x.shape[1]
    parts, blocks = _divide(x.numel() // channels, channels)
    return x.permute(0, 2, 3, 1).view(-1, parts * channels).chunk(blocks)


@cache
def _divide(count: int, channels: int) -> tuple[int, int]:
    """P, and the number of blocks: the largest and the smallest divisor that will do, 1 if none does."""
    parts = max((p for p in range(1, _ROW // channels + 1) if count % p == 0), default=1)
    rows = count // parts
    least = math.ceil(rows / _COLUMN)
    return parts, next((k for k in range(least, 4 * least) if rows % k == 0), 1)

"""Batch normalisation over the images of all processes, on any device.

torch's SyncBatchNorm takes GPUs only, and cannot carry a coefficient that is differentiated.

    y = gamma (x - mu) / sqrt(var + eps) + beta,   mu and var over all images and pixels of all processes

    dx = gamma / sqrt(var + eps) (g - mean(g) - xhat mean(g xhat)),   means over all processes

Each process contributes its own share to the gradients of gamma and beta; the exchange of gradients adds them up.
Source: Ioffe and Szegedy, Batch Normalization (ICML 2015).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from isnas.base.distributed import collective, sum_over_ranks, world_size
from isnas.space.recomputation import once


def synchronised_batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    epsilon: float,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` in training of x (B, C, H, W), as if all processes' x were one batch.

    ``running_mean`` and ``running_var`` (C,) move in place, the latter towards the unbiased variance.
    """
    mean, var, count = once(partial(_moved, x, running_mean, running_var, momentum))
    y = _Normalise.apply(x, mean, torch.rsqrt(var + epsilon), count)
    if weight is not None:
        y = y * weight.to(y.dtype).view(1, -1, 1, 1)
    return y if bias is None else y + bias.to(y.dtype).view(1, -1, 1, 1)


@torch.no_grad()
def _moved(x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float) -> tuple[Tensor, Tensor, Tensor]:
    """What :func:`_statistics` finds, towards which the running statistics have moved."""
    mean, var, count = _statistics(x)
    running_mean.lerp_(mean.to(running_mean.dtype), momentum)
    running_var.lerp_((var * count / (count - 1.0)).to(running_var.dtype), momentum)
    return mean, var, count


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (C,) over all processes and the number of values (), from each one's own (Chan 1979)."""
    full = x.to(torch.promote_types(x.dtype, torch.float32))
    count = full.new_full((1,), x.numel() // x.shape[1])
    var, mean = torch.var_mean(full, (0, 2, 3), correction=0)
    mine = torch.cat([mean, var, count])
    gathered = mine.new_empty(world_size(), len(mine))
    with collective():
        dist.all_gather(list(gathered.unbind()), mine)
    means, variances, counts = gathered.split([len(mean), len(mean), 1], dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    var = (counts * (variances + (means - mean) ** 2)).sum(0) / total
    return mean, var, total


class _Normalise(torch.autograd.Function):
    """``xhat = (x - mean) inverse_std`` where mean and standard deviation are those of x over all processes.

    It keeps x, which the layer before keeps anyway, and not its result, which a rectifier may overwrite.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, inverse_std: Tensor, count: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, mean, inverse_std, count)
        return _normalised(x, mean, inverse_std).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        x, mean, inverse_std, count = ctx.saved_tensors
        xhat, full = _normalised(x, mean, inverse_std), gradient.to(mean.dtype)
        sums = torch.stack([full.sum((0, 2, 3)), (full * xhat).sum((0, 2, 3))])
        mean_of_gradient, correlation = (sum_over_ranks(sums) / count).unbind()
        result = _channels(inverse_std) * (full - _channels(mean_of_gradient) - xhat * _channels(correlation))
        return result.to(gradient.dtype), None, None, None


def _normalised(x: Tensor, mean: Tensor, inverse_std: Tensor) -> Tensor:
    return (x - _channels(mean)) * _channels(inverse_std)


def _channels(per_channel: Tensor) -> Tensor:
    return per_channel.view(1, -1, 1, 1)

"""Batch normalisation that carries a connection's coefficient, whatever the space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.space.exact_bn import exact_batch_norm
from isnas.space.recomputation import repeating
from isnas.space.sync_bn import synchronised_batch_norm

#: A module's batch normalisations by name, and for each the convolutions, side by side, whose output it alone reads.
Folds = Mapping[str, tuple[str, ...]]


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
        if self.training and _sums_plainly(x):
            return exact_batch_norm(x, self.running_mean, self.running_var, weight, bias, self.momentum, self.epsilon)
        running = self.running_mean, self.running_var
        if self.training and repeating():  # these have moved
            running = torch.empty_like(self.running_mean), torch.empty_like(self.running_var)
        return F.batch_norm(x, *running, weight, bias, self.training, self.momentum, self.epsilon)


@contextmanager
def still_statistics(norms: Sequence[BatchNorm]) -> Iterator[None]:
    """Within, passes in training do not move the running statistics of these."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


def _sums_plainly(x: Tensor) -> bool:
    """Whether torch would add up a channel's values one by one in float32, as it does on the CPU in this layout."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.shape[0] * x.shape[2] * x.shape[3] > 1
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )

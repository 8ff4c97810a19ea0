"""Training of a fixed network: the target network of an architecture, as the DARTS family trains it.

Cross-entropy, the auxiliary head's with its weight beside it, drop-path that grows with the epochs, dropout, SGD,
clipping.
Sources: ISTA-NAS (NeurIPS 2020), supplement 1.2 and 1.3, and for what these do not name its released code, as DARTS.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from isnas.base.distributed import local_part
from isnas.base.precision import sent
from isnas.space.space import Network, Output
from isnas.train.stepping import Stepping, StepResult
from isnas.train.train_options import (
    TrainingOptions,
)


def loss_of(output: Output, labels: Tensor, options: TrainingOptions) -> Tensor:
    """Cross-entropy of the scores, and the auxiliary head's with its weight.

    ``labels`` are int64 (B,), or shares of the classes (B, K), smoothed already where they are to be.
    """
    smoothing = 0.0 if labels.is_floating_point() else options.label_smooth
    loss = F.cross_entropy(output.logits, labels, label_smoothing=smoothing)
    if output.auxiliary is None:
        return loss
    return loss + options.auxiliary_weight * F.cross_entropy(output.auxiliary, labels, label_smoothing=smoothing)


def drop_path_probability(epoch: int, epochs: int, highest: float) -> float:
    """Drop-path's probability in an epoch (from 0): ``highest * epoch / epochs``."""
    return highest * epoch / epochs


def draw_scales(probability: float, batch_size: int, count: int, rng: torch.Generator) -> Tensor | None:
    """What each of ``count`` values of an image is multiplied by, (batch_size, count), or None at probability 0.

    0 with ``probability`` p and 1 / (1 - p) otherwise, so that the mean stays: connections' outputs by drop-path, and
    the classifier's inputs by dropout.
    """
    if probability == 0.0:
        return None
    kept = torch.rand(batch_size, count, generator=rng) >= probability
    return kept / (1.0 - probability)


def dropping(network: Network, scales: Tensor | None) -> AbstractContextManager[Any]:
    """Meanwhile the classifier reads its inputs times these scales (B, inputs), if there are any."""
    if scales is None:
        return nullcontext()
    return network.classifier.register_forward_pre_hook(lambda _, args: (args[0] * scales.to(args[0].dtype),))


def mine(scales: Tensor, device: torch.device) -> Tensor:
    """This process's rows of what was drawn for a whole batch, on its way to the device."""
    return sent(scales[local_part(len(scales))], device)


class Training:
    """The state of the training: network, optimiser and, with ``ema_decay``, the average of the weights."""

    def __init__(
        self, network: Network, optimizer: Optimizer, stepping: Stepping, options: TrainingOptions, grad_clip: float
    ) -> None:
        self.network, self.optimizer, self.stepping, self.options = network, optimizer, stepping, options
        self.grad_clip = grad_clip
        self.average: Network | None = None
        if options.ema_decay:
            self.average = copy.deepcopy(network).requires_grad_(False)
            self._update_average = get_ema_multi_avg_fn(options.ema_decay)
            self._averaged = [list(n.state_dict().values()) for n in (self.average, network)]

    @property
    def result(self) -> Network:
        """The network to test and save: the averaged one if there is one."""
        return self.network if self.average is None else self.average

    def step(
        self, x: Tensor, labels: Tensor, drop_path: Tensor | None = None, dropout: Tensor | None = None
    ) -> StepResult:
        """Descend the loss of a batch; the scales are as from :func:`draw_scales`, on the batch's device."""
        batch = (x, labels, drop_path, dropout)
        result = self.stepping.backward(self._loss, batch, self.network.parameters())
        self.stepping.update(self.optimizer, grad_clip=self.grad_clip)
        if self.average is not None:
            self._update_average(*self._averaged, 0)
        return result

    def predict(self, x: Tensor) -> Output:
        """Scores of :attr:`result`; the caller has set eval mode."""
        return self.stepping.forward(self.result, x)

    def state_dict(self) -> dict[str, Any]:
        """Everything the training needs to go on."""
        return {
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stepping": self.stepping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepping.load_state_dict(state["stepping"])

    def _loss(
        self, x: Tensor, labels: Tensor, drop_path: Tensor | None, dropout: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        with dropping(self.network, dropout):
            output = self.stepping.forward(self.network, x, None, drop_path)
        return loss_of(output, labels, self.options), output.logits

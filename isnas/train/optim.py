"""Optimisers and schedules. A schedule is a function of the epoch, so there is no state to resume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adam, Optimizer

from isnas.train.train_options import (
    ArchAdamOptions,
    SgdOptions,
)


def make_sgd(
    parameters: Iterable[Tensor], options: SgdOptions, fused: bool = False, without_decay: Sequence[Tensor] = ()
) -> SGD:
    """SGD as the options say; ``fused``, torch's fastest on a GPU, for parameters that are always the same.

    Those of the parameters that are ``without_decay`` are in a group of their own.

    Fused SGD cannot take a step in which some parameters have momentum and others, just back in the support, have none.
    """
    free = set(without_decay)
    groups: list[dict[str, Any]] = [{"params": [parameter for parameter in parameters if parameter not in free]}]
    if free:
        groups.append({"params": list(without_decay), "weight_decay": 0.0})
    return SGD(
        groups,
        options.learning_rate,
        options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov,
        fused=fused or None,
    )


class EarlyEpsilonAdam(Adam):
    """Adam as torch had it once: ``step = lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)``.

    That is today's with epsilon / sqrt(1 - beta2^t) in step t. All parameters that have a gradient have taken the same
    number of steps.
    """

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        for group in self.param_groups:
            taken = {int(self.state[p]["step"]) for p in group["params"] if p.grad is not None and p in self.state}
            assert len(taken) <= 1, "parameters have taken different numbers of steps"
            correction = 1.0 - group["betas"][1] ** (1 + max(taken, default=0))
            group["eps"] = self.defaults["eps"] / math.sqrt(correction)
        return super().step(closure)


def make_adam(parameters: Iterable[Tensor], options: ArchAdamOptions) -> Adam:
    """Adam of the architecture's variables as the options say."""
    betas = (options.arch_beta1, options.arch_beta2)
    kind = EarlyEpsilonAdam if options.arch_early_epsilon else Adam
    return kind(parameters, options.arch_learning_rate, betas=betas, weight_decay=options.arch_weight_decay)


def set_arch_learning_rate(optimizer: Optimizer, epoch: int, epochs: int, options: ArchAdamOptions) -> None:
    """Give :func:`make_adam`'s optimiser its learning rate of an epoch (from 0)."""
    if options.arch_lr_schedule == "cosine":
        set_learning_rate(optimizer, cosine(epoch, epochs, options.arch_learning_rate, 0.0))


def keep_running(optimizer: Optimizer, parameters: list[Parameter]) -> None:
    """Let the optimiser's only group hold these parameters; what leaves it loses gradient and momentum."""
    (group,) = optimizer.param_groups
    for parameter in set(group["params"]) - set(parameters):
        parameter.grad = None
        optimizer.state.pop(parameter, None)
    group["params"] = parameters


def cosine(epoch: int, epochs: int, highest: float, lowest: float) -> float:
    """Learning rate of an epoch (from 0): ``lowest + (highest - lowest) (1 + cos(pi epoch / epochs)) / 2``."""
    return lowest + (highest - lowest) * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


def learning_rate_of(epoch: int, epochs: int, options: SgdOptions) -> float:
    """SGD's learning rate of an epoch (from 0).

    :func:`cosine` of the epoch, with ``cosine_ahead`` of the next one; or linear, with ``linear_tail_epochs`` T:
    ``lowest + (highest - lowest) (1 - epoch / (epochs - T))``, and in the last T epochs with
    ``(epochs - epoch) / (T (epochs - T))`` in the place of the last bracket. In the first ``warmup_epochs`` it is at
    most ``highest (epoch + 1) / warmup_epochs``, with ``warmup_first`` exactly that.
    """
    highest, lowest, tail = options.learning_rate, options.learning_rate_min, options.linear_tail_epochs
    if options.warmup_first and epoch < options.warmup_epochs:
        return warm_up(epoch, options)
    if options.lr_schedule == "cosine":
        rate = cosine(epoch + options.cosine_ahead, epochs, highest, lowest)
    elif epochs - epoch > tail:
        rate = lowest + (highest - lowest) * (1.0 - epoch / (epochs - tail))
    else:
        rate = lowest + (highest - lowest) * (epochs - epoch) / (tail * (epochs - tail))
    return min(rate, warm_up(epoch, options))


def warm_up(epoch: int, options: SgdOptions) -> float:
    """The full learning rate, or the part of it that an early epoch may have: ``(epoch + 1) / warmup_epochs``."""
    return options.learning_rate * min(1.0, (epoch + 1) / max(1, options.warmup_epochs))


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Give all parameter groups this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate

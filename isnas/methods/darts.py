"""DARTS (ICLR 2019), first order and second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.methods.mixed import MixedOptions, MixedSearch
from isnas.space.batch_norm import still_statistics

#: R |v|: how far W is moved to either side in the second order's difference.
_DISTANCE = 0.01


@dataclass(frozen=True)
class DartsOptions(MixedOptions):
    """The original's settings for CIFAR-10."""

    batch_size: int = option(64, "images per step", minimum=1, maximum=10**6)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    learning_rate_min: float = option(0.001, "SGD's learning rate after the last epoch", minimum=0.0, maximum=1e6)
    arch_learning_rate: float = option(3e-4, "Adam's learning rate for alpha", above=0.0, maximum=1e6)
    unrolled: bool = option(False, "second order: alpha's loss is taken after a step of W")

    def validate(self) -> None:
        """Check what second order cannot have."""
        if self.unrolled and self.amp == "fp16":
            raise UserError("--unrolled needs gradients that are not scaled; leave out --amp fp16, or take bf16")
        if self.unrolled and self.nesterov:
            raise UserError("--unrolled takes a step with plain momentum ahead; leave out --nesterov")


Settings = TypeVar("Settings", bound=DartsOptions)


class Darts(MixedSearch[Settings]):
    """The mixture. In first order alpha descends the validation loss V at W.

    In second order alpha descends V at W', which is W after a step of SGD on the training loss T, of rate eta, with the
    momentum mu's buffers m and the weight decay lambda:

        W' = W - eta (mu m + dT/dW + lambda W)
        dV/dalpha(W') - eta (dT/dalpha(W + R v) - dT/dalpha(W - R v)) / (2 R),   v = dV/dW(W'),   R = 0.01 / |v|
    """

    Options: ClassVar[type[DartsOptions]] = DartsOptions

    @classmethod
    def passes_of_step(cls, options: Settings, epoch: int) -> float:
        return 5.0 if options.unrolled else 2.0

    def find_gradient(self, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> None:
        if not self.options.unrolled:
            return super().find_gradient(train, valid)
        (group,) = self.w_optimizer.param_groups
        w, alpha = group["params"], list(self.architecture.values())
        start = [parameter.detach().clone() for parameter in w]
        step = torch._foreach_add(self._gradient(train, w), start, alpha=group["weight_decay"])
        buffers = [state["momentum_buffer"] for state in self.w_optimizer.state.values()]
        if buffers:  # there are none before the first step
            torch._foreach_add_(step, buffers, alpha=group["momentum"])
        with self._at(torch._foreach_add(start, step, alpha=-group["lr"]), start), still_statistics(self.norms):
            found = self._gradient(valid, w + alpha)
        v, direct = found[: len(w)], found[len(w) :]
        radius = _DISTANCE / torch.stack(torch._foreach_norm(v)).norm()
        torch._foreach_mul_(v, radius)
        with self._at(torch._foreach_add(start, v), start):
            above = self._gradient(train, alpha)
        with self._at(torch._foreach_sub(start, v), start):
            below = self._gradient(train, alpha)
        for variable, first, plus, minus in zip(alpha, direct, above, below, strict=True):
            variable.grad = first - group["lr"] * (plus - minus) / (2 * radius)

    def _gradient(self, batch: tuple[Tensor, Tensor], parameters: list[nn.Parameter]) -> list[Tensor]:
        """The gradient of a batch's mean loss, all processes' images taken together."""
        self.stepping.backward(self.mixed_loss, batch, parameters)
        found = [parameter.grad for parameter in parameters if parameter.grad is not None]
        assert len(found) == len(parameters), "all candidates run"
        for parameter in parameters:
            parameter.grad = None
        return found

    @contextmanager
    def _at(self, values: tuple[Tensor, ...], start: list[Tensor]) -> Iterator[None]:
        """Within, W has these values; then it is back at ``start``."""
        (group,) = self.w_optimizer.param_groups
        with torch.no_grad():
            torch._foreach_copy_(group["params"], values)
        yield
        with torch.no_grad():
            torch._foreach_copy_(group["params"], start)

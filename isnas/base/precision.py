"""What a device may lack: float64, and copies from the host that nobody need wait for.

Apple's MPS has no float64. What is computed in it, b and all that is recovered, is on the host there, and sums of
float32 are added up there.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from isnas.base.distributed import sum_over_ranks

#: So many numbers wait on a device without float64 before they are added up.
_MOST_WAITING = 256


@cache
def has_float64(device: torch.device) -> bool:
    """Whether the device computes in float64."""
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True


def exact_device(device: torch.device) -> torch.device:
    """The device where float64 is: itself, or the host."""
    return device if has_float64(device) else torch.device("cpu")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on its way to the device; only CUDA keeps the host's numbers until they have arrived.

    Elsewhere the host waits: MPS would read them after they are gone (https://github.com/pytorch/pytorch/issues/189690).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


class ExactSums:
    """Sums of ``count`` numbers in float64, in the order in which they come, without waiting for the device.

    Where that has no float64, what comes waits on the device, and is added up on the host when there is enough of it or
    somebody asks: the sums are the same to the last bit.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.sums = torch.zeros(count, dtype=torch.float64, device=exact_device(device))
        self._waiting: list[Tensor] = []

    def include(self, *numbers: Tensor | float) -> None:
        """Add a number to each of the sums; one of them at least is a tensor () of the device."""
        device = next(number.device for number in numbers if isinstance(number, Tensor))
        dtype = self.sums.dtype if device == self.sums.device else torch.float32
        row = [
            number.to(dtype) if isinstance(number, Tensor) else torch.full((), number, dtype=dtype, device=device)
            for number in numbers
        ]
        if device == self.sums.device:
            self.sums += torch.stack(row)
            return
        self._waiting.append(torch.stack(row))
        if len(self._waiting) == _MOST_WAITING:
            self._add_up()

    def total(self) -> Tensor:
        """The sums over all processes, (count,)."""
        self._add_up()
        return sum_over_ranks(self.sums.clone())

    def _add_up(self) -> None:
        if self._waiting:
            for row in torch.stack(self._waiting).to(self.sums.device):
                self.sums += row
            self._waiting.clear()

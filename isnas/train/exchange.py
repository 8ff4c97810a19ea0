"""Gradients of a step, averaged over all processes: those of what runs and nothing else.

Only the parameters of the present support have gradients, so only these are exchanged: no process looks for unused
ones, and nothing of the other candidates travels. Buckets of them leave while backward still computes the rest, last
parameters first, as those are ready first.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from isnas.base.distributed import collective, world_size

#: Bytes of gradients that travel together. Each exchange costs some latency, and the last one hides behind nothing.
BUCKET_BYTES = 4 * 2**20


class _Travelling(NamedTuple):
    gradients: list[Tensor]
    flat: Tensor
    work: dist.Work


class GradientExchange:
    """Replaces the gradients of a step's parameters by their mean over the processes.

    ``num_bytes`` counts what this process has given into the exchange so far.

    Every process must hand in the same parameters in the same order; the support is agreed on at each recovery.
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self._hooked: MutableMapping[Tensor, bool] = WeakIdKeyDictionary()  # a super-net's go when it is left
        self._bucket_of: dict[Tensor, int] = {}
        self._buckets: list[list[Tensor]] = []
        self._missing: list[int] = []
        self._next = 0
        self._travelling: list[_Travelling] = []

    def start(self, parameters: Sequence[Tensor]) -> None:
        """Before backward: these are the parameters whose gradients it will complete."""
        assert not self._travelling
        self._buckets = _buckets(parameters)
        self._bucket_of = {p: number for number, bucket in enumerate(self._buckets) for p in bucket}
        self._missing = [len(bucket) for bucket in self._buckets]
        self._next = 0
        for parameter in parameters:
            if parameter not in self._hooked:
                self._hooked[parameter] = True
                parameter.register_post_accumulate_grad_hook(self._ready)

    def finish(self) -> None:
        """After backward: wait for the sums and put the means in place."""
        while self._next < len(self._buckets):  # a parameter that backward did not reach has no gradient anywhere
            self._send()
        for gradients, flat, work in self._travelling:
            with collective():
                work.wait()
            flat /= world_size()
            parts = flat.split([gradient.numel() for gradient in gradients])
            torch._foreach_copy_(gradients, [part.view(g.shape) for part, g in zip(parts, gradients)])
        self._travelling.clear()
        self._buckets, self._bucket_of = [], {}

    def _ready(self, parameter: Tensor) -> None:
        number = self._bucket_of.get(parameter)
        if number is None:
            return
        self._missing[number] -= 1
        while self._next < len(self._buckets) and self._missing[self._next] == 0:
            self._send()

    def _send(self) -> None:
        """Send the next bucket; the order is the same on every process, whatever was ready first."""
        gradients = [p.grad for p in self._buckets[self._next] if p.grad is not None]
        self._next += 1
        if gradients:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            self.num_bytes += flat.numel() * flat.element_size()
            with collective():
                work = dist.all_reduce(flat, async_op=True)
            assert work is not None
            self._travelling.append(_Travelling(gradients, flat, work))


def _buckets(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """The parameters from last to first in groups of one type and about :data:`BUCKET_BYTES`."""
    buckets: list[list[Tensor]] = []
    room, dtype = 0, None
    for parameter in reversed(parameters):
        size = parameter.numel() * parameter.element_size()
        if parameter.dtype != dtype or size > room:
            buckets.append([])
            room, dtype = BUCKET_BYTES, parameter.dtype
        buckets[-1].append(parameter)
        room -= size
    return buckets

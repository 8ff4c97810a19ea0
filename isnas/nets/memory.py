"""Peak memory of a training step, found without the memory: the step runs on meta tensors, which have sizes only.

Every storage that comes to life is added up in blocks of 512 bytes, as a caching allocator would hand them out, and
taken off when it dies. The figure has no library workspaces, no allocator fragmentation and no CUDA context in it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from isnas.space.connections import Connections
from isnas.space.space import Network, Output

_BLOCK_BYTES = 512


@dataclass(frozen=True)
class PeakMemory:
    """Bytes at the worst moment of a training step, by what holds them.

    ``parameters``: everything the network has, BN statistics too; ``momentum``: of what gets a gradient;
    ``gradients``: those of the parameters that exist by then, of ``gradients_in_all`` when the backward pass is done;
    ``activations``: the images and whatever else the two passes have made, gradients of activations too.
    """

    parameters: int
    momentum: int
    activations: int
    gradients: int
    gradients_in_all: int

    @property
    def step(self) -> int:
        """All but the parameters."""
        return self.momentum + self.activations + self.gradients

    @property
    def total_gib(self) -> float:
        """All of it, in GiB."""
        return (self.parameters + self.step) / 2**30


class _LiveStorages(TorchDispatchMode):
    """Tracks the bytes of all storages made while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[tuple[int, int]] = []  # number of a storage; its bytes when it is made, minus them later
        self.numbers: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def peak(self, apart: list[torch.Tensor]) -> tuple[int, int]:
        """The most bytes that were alive at once: those of the tensors ``apart``, and the others."""
        numbers = {self.numbers[tensor.untyped_storage()._cdata] for tensor in apart}
        live, most = [0, 0], (0, 0)
        for number, size in self.history:
            live[number not in numbers] += size
            if sum(live) > sum(most):
                most = (live[0], live[1])
        return most

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.numbers:
            number, size = len(self.history), _blocks(storage.nbytes())
            self.numbers[key] = number
            self.history.append((number, size))
            weakref.finalize(storage, self._remove, key, number, size)

    def _remove(self, key: int, number: int, size: int) -> None:
        del self.numbers[key]
        self.history.append((number, -size))


def _blocks(size: int) -> int:
    return math.ceil(size / _BLOCK_BYTES) * _BLOCK_BYTES


def estimate_peak_memory(
    build: Callable[[], Network],
    connections: Connections | None,
    *,
    batch_size: int,
    in_channels: int,
    image_size: int,
    momentum: bool = True,
    train_coefficients: bool = False,
    drop_path: bool = False,
    amp: torch.dtype | None = None,
    recompute: bool = False,
) -> PeakMemory:
    """Peak memory of forward and backward of one batch, gradients and ``momentum`` buffers included.

    ``build`` makes the network; it is called on the meta device. Only connections that run cost anything beyond
    their parameters, and what does not train has neither gradient nor momentum. With ``train_coefficients`` the
    gradient goes on to the connections' coefficients, with ``drop_path`` every connection is scaled per image, and with
    ``recompute`` the inner values of the network's parts are computed again.

    ``amp`` is the type of automatic mixed precision, None for float32. It follows the CPU's list of operations, as the
    meta device has none; it differs from CUDA's in none that is used here.
    """
    fake, precision = (nullcontext(), nullcontext()) if amp is None else (FakeTensorMode(), torch.autocast("cpu", amp))
    with fake, torch.device("meta" if amp is None else "cpu"):
        network = build().train()
        network.recompute = recompute
        if connections is not None:
            ones = partial(torch.ones, requires_grad=train_coefficients)
            weights = tuple(ones(len(node)) for node in connections.support)
            passed = connections.passed and tuple(ones(len(node)) for node in connections.passed)
            connections = Connections(connections.support, weights, passed)
        x = torch.empty(batch_size, in_channels, image_size, image_size).to(memory_format=torch.channels_last)
        labels = torch.empty(batch_size, dtype=torch.int64)
        scales = torch.empty(batch_size, network.num_connections(connections)) if drop_path else None
        parameters = sum(_blocks(tensor.nbytes) for tensor in network.state_dict().values())
        with _LiveStorages() as tracker:
            with precision:
                output: Output = network(x, connections, scales)
            loss = F.cross_entropy(output.logits.float(), labels)
            if output.auxiliary is not None:
                loss = loss + F.cross_entropy(output.auxiliary.float(), labels)
            del output
            loss.backward()
    made = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    gradients, activations = tracker.peak(made)
    in_all = sum(_blocks(gradient.nbytes) for gradient in made)
    return PeakMemory(parameters, in_all if momentum else 0, activations + _blocks(x.nbytes), gradients, in_all)

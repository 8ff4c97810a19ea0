"""Peak memory of a training step, found without the memory: the step runs on meta tensors, which have sizes only.

Every storage that comes to life is added up in blocks of 512 bytes, as a caching allocator would hand them out, and
taken off when it dies. The figure has no library workspaces, no allocator fragmentation and no CUDA context in it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from isnas.nets.network import Network, Output
from isnas.space.cells import from_flat, num_candidates
from isnas.space.connections import CellConnections, Connections

_BLOCK_BYTES = 512


@dataclass(frozen=True)
class PeakMemory:
    """Bytes of a training step: ``parameters`` (and BN statistics), ``step`` on top of them at the worst moment."""

    parameters: int
    step: int

    @property
    def total_gib(self) -> float:
        """All of it, in GiB."""
        return (self.parameters + self.step) / 2**30


class _LiveStorages(TorchDispatchMode):
    """Tracks the bytes of all storages made while it is on, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.seen:
            size = math.ceil(storage.nbytes() / _BLOCK_BYTES) * _BLOCK_BYTES
            self.seen.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.live -= size


def estimate_peak_memory(
    build: Callable[[], Network],
    connections: Connections | None,
    *,
    batch_size: int,
    in_channels: int,
    image_size: int,
    momentum: bool = True,
) -> PeakMemory:
    """Peak memory of forward and backward of one batch in float32, gradients and ``momentum`` buffers included.

    ``build`` makes the network; it is called on the meta device. Only connections that run cost anything beyond
    their parameters.
    """
    with torch.device("meta"):
        network = build().train()
        if connections is not None:
            cells = (connections.normal, connections.reduce)
            connections = Connections(*(CellConnections.ones(cell.support) for cell in cells))
        x = torch.empty(batch_size, in_channels, image_size, image_size).to(memory_format=torch.channels_last)
        labels = torch.empty(batch_size, dtype=torch.int64)
    parameters = sum(math.ceil(t.nbytes / _BLOCK_BYTES) * _BLOCK_BYTES for t in network.state_dict().values())
    with _LiveStorages() as tracker:
        output: Output = network(x, connections)
        loss = F.cross_entropy(output.logits, labels)
        if output.auxiliary is not None:
            loss = loss + F.cross_entropy(output.auxiliary, labels)
        del output
        loss.backward()
    gradients = sum(p.grad.nbytes for p in network.parameters() if p.grad is not None)
    return PeakMemory(parameters, tracker.peak + x.nbytes + (gradients if momentum else 0))


def heaviest_connections(num_nodes: int, sparseness: int) -> Connections:
    """The connections with the largest activations: 5 x 5 separable convolutions from as many inputs as there are."""
    weight = {"sep_conv_5x5": 0, "sep_conv_3x3": 1}
    support = []
    for node in range(num_nodes):
        ranked = sorted(range(num_candidates(node)), key=lambda index: weight.get(from_flat(index)[0], 2))
        support.append(tuple(sorted(ranked[:sparseness])))
    cell = CellConnections.ones(tuple(support))
    return Connections(cell, cell)

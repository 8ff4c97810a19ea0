"""Parameters and multiply-adds of a network, counted on the meta device: no memory, no arithmetic.

Several conventions of multiply-adds are in use, and papers rarely say which:

- ``conv_linear``: convolutions and fully connected layers only;
- ``all_layers``: also batch normalisation (2 per element), ReLU and ReLU6 (1 each) and pooling (1 per input element);
- ``own_relus``: all layers of a network in which every operation that begins with a ReLU has its own, as the papers'
  networks do. Here those that read the same state share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from isnas.space.space import Network


@dataclass(frozen=True)
class Counts:
    """Size of a network; the auxiliary head, which only helps in training, is left out."""

    num_params: int
    conv_linear_multiply_adds: int
    all_layers_multiply_adds: int
    own_relus_multiply_adds: int

    @property
    def params_millions(self) -> float:
        """Parameters in millions."""
        return self.num_params / 1e6

    def __str__(self) -> str:
        return (
            f"{self.params_millions:.6f} M parameters, {self.conv_linear_multiply_adds / 1e6:.1f} M multiply-adds "
            f"(convolutions and linear), {self.all_layers_multiply_adds / 1e6:.1f} M with BN, ReLU and pooling, "
            f"{self.own_relus_multiply_adds / 1e6:.1f} M with a ReLU per operation"
        )


class _MultiplyAdds(TorchDispatchMode):
    """Adds up the multiply-adds of the operators it sees.

    ``first_relus``: those of a ReLU at the beginning of each operation that is handed its input rectified, one per
    element of it; ``shared``: what ReLUs have made, by its id, that nothing but such operations has read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_linear = self.others = self.first_relus = 0
        self.shared: dict[int, Tensor] = {}
        self.within = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not self.within:
            for value in tree_leaves(args):
                self.shared.pop(id(value), None)
        if name == "convolution":
            _, channels_per_group, *kernel = args[1].shape
            self.conv_linear += out.numel() * channels_per_group * prod(kernel)
        elif name in ("addmm", "mm"):
            left = args[1] if name == "addmm" else args[0]
            self.conv_linear += out.numel() * left.shape[1]
        elif name in ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"):
            self.others += 2 * args[0].numel()
        elif name in ("relu", "relu_", "hardtanh", "hardtanh_", "avg_pool2d", "max_pool2d_with_indices", "mean"):
            self.others += args[0].numel()
            if name.startswith("relu") and not self.within:
                self.shared[id(out)] = out
        return out

    def enter(self, operation: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Hook: an operation begins that is handed its input rectified."""
        self.first_relus += inputs[0].numel()
        self.within += 1

    def leave(self, operation: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Hook: it ends."""
        self.within -= 1


def num_params(network: nn.Module) -> int:
    """Number of parameters, the auxiliary head's excluded."""
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("auxiliary."))


def count(network: nn.Module, in_channels: int, image_size: int) -> Counts:
    """Counts of a network on the meta device for one image (in_channels, image_size, image_size)."""
    network.eval()
    counter, hooks = _MultiplyAdds(), []
    for module in network.modules():
        if getattr(module, "relu_first", False):
            hooks += [module.register_forward_pre_hook(counter.enter), module.register_forward_hook(counter.leave)]
    with torch.no_grad(), counter:
        network(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    for hook in hooks:
        hook.remove()
    all_layers = counter.conv_linear + counter.others
    own_relus = all_layers + counter.first_relus - sum(x.numel() for x in counter.shared.values())
    return Counts(num_params(network), counter.conv_linear, all_layers, own_relus)


def count_built(build: Callable[[], nn.Module], in_channels: int, image_size: int) -> Counts:
    """Counts of the network that ``build`` makes; it is called on the meta device."""
    with torch.device("meta"):
        network = build()
    return count(network, in_channels, image_size)


def candidate_multiply_adds(
    network: Network, sizes: Sequence[int], in_channels: int, image_size: int
) -> list[list[int]]:
    """Of each node and candidate of a super-net on the meta device its multiply-adds (convolutions and linear layers)
    for one image, in all places of the network together; ``sizes`` are the numbers of candidates.
    """
    network.eval()
    counter, hooks = _MultiplyAdds(), []
    found = [[0] * size for size in sizes]

    def begin(node: int, k: int, *_: Any) -> None:
        found[node][k] -= counter.conv_linear

    def end(node: int, k: int, *_: Any) -> None:
        found[node][k] += counter.conv_linear

    for node in range(len(sizes)):
        for operations in network.operations(node):
            for k, operation in enumerate(operations):
                hooks.append(operation.register_forward_pre_hook(partial(begin, node, k)))
                hooks.append(operation.register_forward_hook(partial(end, node, k)))
    with torch.no_grad(), counter:
        network(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    for hook in hooks:
        hook.remove()
    return found

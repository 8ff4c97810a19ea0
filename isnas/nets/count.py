"""Parameters and multiply-adds of a network, counted on the meta device: no memory, no arithmetic.

Two conventions of multiply-adds are in use, and papers rarely say which:

- ``conv_linear``: convolutions and fully connected layers only;
- ``all_layers``: also batch normalisation (2 per element), ReLU (1 per element) and pooling (1 per input element).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Counts:
    """Size of a network; the auxiliary head, which only helps in training, is left out."""

    num_params: int
    conv_linear_multiply_adds: int
    all_layers_multiply_adds: int

    @property
    def params_millions(self) -> float:
        """Parameters in millions."""
        return self.num_params / 1e6

    def __str__(self) -> str:
        return (
            f"{self.params_millions:.6f} M parameters, {self.conv_linear_multiply_adds / 1e6:.1f} M multiply-adds "
            f"(convolutions and linear), {self.all_layers_multiply_adds / 1e6:.1f} M with BN, ReLU and pooling"
        )


class _MultiplyAdds(TorchDispatchMode):
    """Adds up the multiply-adds of the operators it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_linear = 0
        self.others = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name == "convolution":
            _, channels_per_group, *kernel = args[1].shape
            self.conv_linear += out.numel() * channels_per_group * prod(kernel)
        elif name in ("addmm", "mm"):
            left = args[1] if name == "addmm" else args[0]
            self.conv_linear += out.numel() * left.shape[1]
        elif name in ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"):
            self.others += 2 * args[0].numel()
        elif name in ("relu", "relu_", "avg_pool2d", "max_pool2d_with_indices", "mean"):
            self.others += args[0].numel()
        return out


def num_params(network: nn.Module) -> int:
    """Number of parameters, the auxiliary head's excluded."""
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("auxiliary."))


def count(network: nn.Module, in_channels: int, image_size: int) -> Counts:
    """Counts of a network on the meta device for one image (in_channels, image_size, image_size)."""
    network.eval()
    with torch.no_grad(), _MultiplyAdds() as counter:
        network(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    return Counts(num_params(network), counter.conv_linear, counter.conv_linear + counter.others)


def count_built(build: Callable[[], nn.Module], in_channels: int, image_size: int) -> Counts:
    """Counts of the network that ``build`` makes; it is called on the meta device."""
    with torch.device("meta"):
        network = build()
    return count(network, in_channels, image_size)

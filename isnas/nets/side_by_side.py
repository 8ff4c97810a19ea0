"""Networks of one architecture side by side: K of them are one network with K times the channels.

Every convolution has K times the groups, so each network sees its own channels alone, and a step of all of them costs
little more than a step of one where networks are so small that what takes time is the number of operations. What each
computes is what it computes alone, up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.space.batch_norm import BatchNorm
from isnas.space.cells.cell import Cell
from isnas.space.cells.network import CellNetwork
from isnas.space.cells.operations import FactorizedReduce


class SideBySide(nn.Module):
    """K networks of one architecture, which are used up: ``forward`` takes K batches and gives K times scores.

    Every parameter and buffer is what the networks' are, one after the other in the first dimension.
    """

    def __init__(self, networks: Sequence[CellNetwork]) -> None:
        super().__init__()
        self.count = len(networks)
        states = [network.state_dict() for network in networks]
        joined = {name: torch.cat([state[name] for state in states]) for name in states[0]}
        self.network = networks[0]
        assert self.network.auxiliary is None
        for module in list(self.network.modules()):
            self._widen(module)
            for name, part in list(module.named_children()):
                if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1):
                    module.add_module(name, _Pointwise(part, self.count))
        for name, tensor in [*self.network.named_parameters(), *self.network.named_buffers()]:
            if name in joined:
                tensor.data = joined[name]
        self.network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (K, B, num_classes) of K batches (K, B, C, H, W), a batch for each network."""
        images = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        logits = self.network(images).logits
        return logits.unflatten(1, (self.count, -1)).transpose(0, 1)

    def state_dicts(self) -> list[dict[str, Tensor]]:
        """The networks' states, each by itself."""
        state = self.network.state_dict()
        parts = {name: tensor.chunk(self.count) for name, tensor in state.items()}
        return [{name: part[number] for name, part in parts.items()} for number in range(self.count)]

    @torch.no_grad()
    def clip_gradients(self, largest: float) -> None:
        """Cut the norm of each network's gradient at ``largest``, as ``torch.nn.utils.clip_grad_norm_`` does."""
        gradients = [p.grad.unflatten(0, (self.count, -1)) for p in self.parameters() if p.grad is not None]
        norms = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1).norm(dim=1)
        scale = (largest / (norms + 1e-6)).clamp_(max=1.0)
        torch._foreach_mul_(gradients, [scale.view(-1, *[1] * (gradient.dim() - 1)) for gradient in gradients])

    def _widen(self, module: nn.Module) -> None:
        """Give a module the channels of all networks."""
        if isinstance(module, nn.Conv2d):
            module.groups *= self.count
            module.in_channels *= self.count
            module.out_channels *= self.count
        elif isinstance(module, BatchNorm):
            module.channels *= self.count
        elif isinstance(module, Cell | FactorizedReduce):
            module.side_by_side = self.count
            if isinstance(module, Cell):
                module.channels *= self.count
        elif isinstance(module, CellNetwork):
            assert isinstance(module.classifier, nn.Linear)
            module.add_module("classifier", _Linear(module.classifier, self.count))


class _Pointwise(nn.Module):
    """K convolutions of 1 x 1 as one product with a block-diagonal matrix: for few channels twice as fast as groups."""

    blocks: Tensor

    def __init__(self, conv: nn.Conv2d, count: int) -> None:
        super().__init__()
        assert conv.stride == (1, 1) and conv.bias is None
        self.weight = conv.weight
        self.register_buffer("blocks", torch.eye(count).view(count, 1, count, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(0, (len(self.blocks), -1)).flatten(2).unsqueeze(2)
        dense = (weight * self.blocks.to(weight.dtype)).flatten(2).flatten(0, 1)
        return F.linear(x.permute(0, 2, 3, 1), dense).permute(0, 3, 1, 2)


class _Linear(nn.Module):
    """K linear layers: (B, K in) -> (B, K out)."""

    def __init__(self, linear: nn.Linear, count: int) -> None:
        super().__init__()
        self.count, self.weight, self.bias = count, linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        x, weight = x.unflatten(1, (self.count, -1)), self.weight.unflatten(0, (self.count, -1))
        scores = torch.baddbmm(self.bias.view(self.count, 1, -1), x.transpose(0, 1), weight.transpose(1, 2))
        return scores.transpose(0, 1).flatten(1)

"""Super-net and target network: a stem, a stack of cells, a classifier and, on demand, an auxiliary head.

Both are a :class:`Network`; they differ in the connections their cells hold and in whether ``forward`` is told which
of them run. Sources: DARTS (ICLR 2019) for the CIFAR and ImageNet networks, ISTA-NAS for the super-net.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from isnas.base.options import option
from isnas.space.cells.candidates import NUM_INPUTS, candidates
from isnas.space.cells.cell import Cell
from isnas.space.cells.genotype import Genotype, Node
from isnas.space.cells.operations import BatchNorm, BatchNorms, target_bn
from isnas.space.connections import Connections

STEMS = ("cifar", "imagenet")


@dataclass(frozen=True)
class NetworkOptions:
    """Size of a network; the defaults are the super-net's of the papers' CIFAR-10 search."""

    init_channels: int = option(16, "channels C of the first cells", minimum=1)
    layers: int = option(8, "number of cells; with fewer than 3 there is no normal cell", minimum=3)
    stem: str = option("cifar", "before the cells: cifar keeps the size, imagenet divides it by 8", choices=STEMS)


class Output(NamedTuple):
    """Class scores (B, num_classes) and, in training, those of the auxiliary head if there is one."""

    logits: Tensor
    auxiliary: Tensor | None


class CifarStem(nn.Module):
    """3 x 3 convolution to 3 C channels and BN; both inputs of the first cell."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.out_channels = (3 * channels, 3 * channels)
        self.conv = nn.Conv2d(in_channels, 3 * channels, 3, padding=1, bias=False)
        self.bn = BatchNorm(3 * channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs of the first cell, rectified."""
        s = F.relu_(self.bn(self.conv(x)))
        return s, s


class ImageNetStem(nn.Module):
    """Three 3 x 3 convolutions of stride 2, 224 -> 28; the first cell's first input is at 56."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.out_channels = (channels, channels)
        self.conv1 = nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = BatchNorm(channels // 2)
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False)
        self.bn2 = BatchNorm(channels)
        self.conv3 = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)
        self.bn3 = BatchNorm(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs of the first cell, rectified."""
        x = F.relu_(self.bn1(self.conv1(x)))
        s0 = F.relu_(self.bn2(self.conv2(x)))
        return s0, F.relu_(self.bn3(self.conv3(s0)))


class AuxiliaryHead(nn.Module):
    """Classifier on a rectified feature map of any size f >= 4: pool to 2 x 2, 1 x 1 to 128, 2 x 2 to 768, linear.

    The pooling window is ceil(5 f / 8) with stride f - window: 5 and 3 at f = 8, 5 and 2 at f = 7, as in DARTS.
    """

    def __init__(self, in_channels: int, num_classes: int, final_bn: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 128, 1, bias=False)
        self.bn1 = BatchNorm(128)
        self.conv2 = nn.Conv2d(128, 768, 2, bias=False)
        self.bn2: nn.Module = BatchNorm(768) if final_bn else nn.Identity()  # the ImageNet head of DARTS has none
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        window = math.ceil(5 * size / 8)
        x = F.avg_pool2d(x, window, stride=size - window)
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return self.classifier(x.flatten(1))


class Network(nn.Module):
    """A stack of ``layers`` cells; those at layers // 3 and 2 layers // 3 reduce the size and double the channels."""

    def __init__(
        self,
        normal: tuple[tuple[Node, ...], tuple[int, ...]],
        reduce: tuple[tuple[Node, ...], tuple[int, ...]],
        bn: BatchNorms,
        *,
        stem: str,
        in_channels: int,
        num_classes: int,
        init_channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        assert stem in STEMS
        self.stem: nn.Module = (CifarStem if stem == "cifar" else ImageNetStem)(in_channels, init_channels)
        reductions = (layers // 3, 2 * layers // 3)
        previous: tuple[int, int] = self.stem.out_channels  # type: ignore[assignment]
        channels = init_channels
        after_reduction = stem == "imagenet"
        self.cells = nn.ModuleList()
        for layer in range(layers):
            reduction = layer in reductions
            channels *= 2 if reduction else 1
            cell = Cell(*(reduce if reduction else normal), previous, channels, reduction, after_reduction, bn)
            self.cells.append(cell)
            previous, after_reduction = (previous[1], cell.out_channels), reduction
        self.auxiliary_layer = reductions[1]
        self.auxiliary: AuxiliaryHead | None = None
        if auxiliary:
            branch = self.cells[self.auxiliary_layer]
            assert isinstance(branch, Cell)
            self.auxiliary = AuxiliaryHead(branch.out_channels, num_classes, final_bn=stem == "cifar")
        self.classifier = nn.Linear(previous[1], num_classes)

    def forward(self, x: Tensor, connections: Connections | None = None, drop_path: Tensor | None = None) -> Output:
        """Scores of a batch (B, in_channels, H, W); without ``connections`` every connection runs, unweighted.

        ``drop_path`` (B, number of connections that run, over all cells) scales each of them per image.
        """
        path_scales = None if drop_path is None else iter(drop_path.unbind(1))
        per_type = None if connections is None else self._scalars(connections)
        s0, s1 = self.stem(x)
        auxiliary = None
        last = len(self.cells) - 1
        for layer, cell in enumerate(self.cells):
            assert isinstance(cell, Cell)
            arguments = (None, None) if per_type is None else per_type[cell.reduction]
            out = cell(s0, s1, *arguments, path_scales)
            if layer < last:
                s0, s1 = s1, F.relu_(out)
            if layer == self.auxiliary_layer and self.auxiliary is not None and self.training:
                auxiliary = self.auxiliary(s1 if layer < last else F.relu(out))
        pooled = out.mean(dim=(2, 3))
        return Output(self.classifier(pooled), auxiliary)

    def num_connections(self, connections: Connections | None = None) -> int:
        """How many connections ``forward(x, connections)`` runs, over all cells."""
        total = 0
        for cell in self.cells:
            assert isinstance(cell, Cell)
            total += sum(map(len, connections.of(cell.reduction).support if connections else cell.predecessors))
        return total

    def running_parameters(self, connections: Connections) -> list[nn.Parameter]:
        """The parameters that take part in ``forward(x, connections)``, in the order of ``parameters()``."""
        idle: set[nn.Parameter] = set()
        for cell in self.cells:
            assert isinstance(cell, Cell)
            for operations, active in zip(cell.nodes, connections.of(cell.reduction).support):
                assert isinstance(operations, nn.ModuleList)
                for k, operation in enumerate(operations):
                    if k not in active:
                        idle.update(operation.parameters())
        return [parameter for parameter in self.parameters() if parameter not in idle]

    def _scalars(self, connections: Connections) -> dict[bool, tuple]:
        """Per cell type the support and the coefficients as scalars of the weights' type, taken apart once."""
        dtype = self.classifier.weight.dtype
        result = {}
        for reduction in (False, True):
            cell = connections.of(reduction)
            scalars = [weights.to(dtype).unbind() for weights in cell.coefficients]
            result[reduction] = (cell.support, scalars)
        return result


def super_net(bn: BatchNorms, num_nodes: int = 4, **sizes) -> Network:  # type: ignore[no-untyped-def]
    """The network whose cells hold every candidate connection; ``sizes`` as in :class:`Network`."""
    cell = (candidates(num_nodes), tuple(range(NUM_INPUTS, NUM_INPUTS + num_nodes)))
    return Network(cell, cell, bn, **sizes)


def target_network(genotype: Genotype, **sizes) -> Network:  # type: ignore[no-untyped-def]
    """The network of a genotype, with the extra BNs the genotype asks for; ``sizes`` as in :class:`Network`."""
    return Network(
        (genotype.normal, genotype.normal_concat),
        (genotype.reduce, genotype.reduce_concat),
        target_bn(genotype.extra_bn),
        **sizes,
    )


def extract_state(state: dict[str, Tensor], connections: Connections, layers: int) -> dict[str, Tensor]:
    """The part of a super-net's state that the active connections use, under a target network's names.

    A target network of the same genotype, sizes and BNs takes it with ``load_state_dict``.
    """
    reductions = (layers // 3, 2 * layers // 3)
    positions = {
        reduction: [{k: i for i, k in enumerate(node)} for node in connections.of(reduction).support]
        for reduction in (False, True)
    }
    result = {}
    for key, tensor in state.items():
        parts = key.split(".")
        if parts[0] == "cells" and parts[2] == "nodes":
            layer, node, k = int(parts[1]), int(parts[3]), int(parts[4])
            position = positions[layer in reductions][node].get(k)
            if position is None:
                continue
            parts[4] = str(position)
        result[".".join(parts)] = tensor
    return result

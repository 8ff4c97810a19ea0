"""Super-net and target network: a stem, a stack of cells, a classifier and, on demand, an auxiliary head.

Both are a :class:`CellNetwork`; they differ in the connections that their cells hold, and in whether ``forward`` is
told which of them run. Sources: DARTS (ICLR 2019) for the CIFAR and ImageNet networks, ISTA-NAS for the super-net.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.base.text import shown
from isnas.space.batch_norm import BatchNorm, Folds
from isnas.space.cells.cell import Cell
from isnas.space.cells.genotype import STEMS, Genotype
from isnas.space.cells.operations import BatchNorms, target_bn
from isnas.space.connections import Connections, Support
from isnas.space.genotype_files import require_count
from isnas.space.pairs import Node
from isnas.space.recomputation import runner
from isnas.space.space import Network, Output

#: In a file a network has so many connections at most, over all cells, a hundred times those of the papers' networks.
_MOST_CONNECTIONS = 100_000


class CifarStem(nn.Module):
    """3 x 3 convolution to 3 C channels and BN; both inputs of the first cell."""

    folds: ClassVar[Folds] = {"bn": ("conv",)}

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

    folds: ClassVar[Folds] = {"bn1": ("conv1",), "bn2": ("conv2",), "bn3": ("conv3",)}

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


class CellNetwork(Network):
    """A stack of ``layers`` cells; those at layers // 3 and 2 layers // 3 reduce the size and double the channels.

    A single cell is a normal one.

    Nodes are counted over the normal cell's intermediate nodes and then the reduction cell's; all cells of a type share
    them. With ``shared`` the reduction cell's are the normal cell's, and what runs in one runs in the other.
    """

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
        partial: int = 1,
        shared: bool = False,
    ) -> None:
        super().__init__()
        assert stem in STEMS and init_channels % partial == 0
        self.stem: nn.Module = (CifarStem if stem == "cifar" else ImageNetStem)(in_channels, init_channels)
        reductions = (layers // 3, 2 * layers // 3) if layers > 1 else (1, 1)
        previous: tuple[int, int] = self.stem.out_channels  # type: ignore[assignment]
        channels = init_channels
        after_reduction = stem == "imagenet"
        self.cells = nn.ModuleList()
        for layer in range(layers):
            reduction = layer in reductions
            channels *= 2 if reduction else 1
            cell = Cell(*(reduce if reduction else normal), previous, channels, reduction, after_reduction, bn, partial)
            self.cells.append(cell)
            previous, after_reduction = (previous[1], cell.out_channels), reduction
        self.first_of_reduction = 0 if shared else len(normal[0])
        self.auxiliary_layer = reductions[1]
        self.auxiliary: AuxiliaryHead | None = None
        if auxiliary:
            branch = self.cells[self.auxiliary_layer]  # a single cell has no branch
            assert isinstance(branch, Cell)
            self.auxiliary = AuxiliaryHead(branch.out_channels, num_classes, final_bn=stem == "cifar")
        self.classifier = nn.Linear(previous[1], num_classes)

    def forward(self, x: Tensor, connections: Connections | None = None, drop_path: Tensor | None = None) -> Output:
        """Scores of a batch (B, in_channels, H, W); without ``connections`` every connection runs, unweighted.

        ``drop_path`` (B, number of connections that run, over all cells) scales each of them per image. With
        ``recompute`` the stem and each cell are parts whose inner values are not kept.
        """
        run = runner(self.recompute)
        path_scales = None if drop_path is None else iter(drop_path.unbind(1))
        scalars = None if connections is None else self._scalars(connections.coefficients)
        passed = None if connections is None else self._scalars(connections.passed)
        s0, s1 = run(self.stem, x)
        auxiliary = None
        last = len(self.cells) - 1
        for layer, cell in enumerate(self.cells):
            assert isinstance(cell, Cell)
            support = None if connections is None else self._own(cell, connections.support)
            weights, weights_passed = (each and self._own(cell, each) for each in (scalars, passed))
            scales = None if path_scales is None else list(islice(path_scales, _num_running(cell, support)))
            out = run(cell, s0, s1, support, weights, scales, weights_passed)
            if layer < last:
                s0, s1 = s1, F.relu_(out)
            if layer == self.auxiliary_layer and self.auxiliary is not None and self.training:
                auxiliary = self.auxiliary(s1 if layer < last else F.relu(out))
        pooled = out.mean(dim=(2, 3))
        return Output(self.classifier(pooled), auxiliary)

    def operations(self, node: int) -> Iterator[nn.ModuleList]:
        """The operations of a node's connections, in every cell that has the node."""
        for cell in self.cells:
            assert isinstance(cell, Cell)
            own = self._own_nodes(cell)
            if node in own:
                operations = cell.nodes[node - own.start]
                assert isinstance(operations, nn.ModuleList)
                yield operations

    def parts(self) -> Iterator[nn.Module]:
        """The modules in cells that run whole or not at all."""
        for cell in self.cells:
            assert isinstance(cell, Cell)
            yield from (cell.preprocess0, cell.preprocess1)
            yield from (operation for node in cell.nodes for operation in node.children())

    def running_parameters(self, connections: Connections) -> list[nn.Parameter]:
        running = super().running_parameters(connections)
        idle: set[nn.Parameter] = set()
        for cell in self.cells:
            assert isinstance(cell, Cell)
            for part in cell.unread(self._own(cell, connections.support)):
                idle.update(part.parameters())
        return [parameter for parameter in running if parameter not in idle] if idle else running

    def num_connections(self, connections: Connections | None = None) -> int:
        """How many connections ``forward(x, connections)`` runs, over all cells."""
        total = 0
        for cell in self.cells:
            assert isinstance(cell, Cell)
            total += _num_running(cell, self._own(cell, connections.support) if connections else None)
        return total

    def extract_state(self, state: Mapping[str, Tensor], support: Support) -> dict[str, Tensor]:
        """The part of this super-net's ``state`` that the connections use, under a target network's names.

        A target network of the same genotype, sizes and BNs takes it with ``load_state_dict``. ``state`` may be any
        tensors under this network's names, the optimiser's for one.
        """
        positions = [{k: i for i, k in enumerate(node)} for node in support]
        result = {}
        for key, tensor in state.items():
            parts = key.split(".")
            if parts[0] == "cells" and parts[2] == "nodes":
                cell = self.cells[int(parts[1])]
                assert isinstance(cell, Cell)
                position = positions[self._own_nodes(cell).start + int(parts[3])].get(int(parts[4]))
                if position is None:
                    continue
                parts[4] = str(position)
            result[".".join(parts)] = tensor
        return result

    def _own_nodes(self, cell: Cell) -> range:
        """The numbers of the nodes that a cell has."""
        first = self.first_of_reduction if cell.reduction else 0
        return range(first, first + len(cell.predecessors))

    def _own(self, cell: Cell, per_node: tuple) -> tuple:
        """Of one entry per node those of the nodes that a cell has."""
        own = self._own_nodes(cell)
        return per_node[own.start : own.stop]

    def _scalars(self, weights: tuple[Tensor, ...] | None) -> tuple[tuple[Tensor, ...], ...] | None:
        """The weights of all nodes' connections as scalars of the network's type, on its device, taken apart once."""
        if weights is None:
            return None
        own = self.classifier.weight
        together = torch.cat(weights).to(own.dtype).to(own.device)
        return tuple(of_node.unbind() for of_node in together.split([len(of_node) for of_node in weights]))


def _num_running(cell: Cell, support: Support | None) -> int:
    """How many connections of a cell run."""
    return sum(map(len, cell.predecessors if support is None else support))


def target_network(genotype: Genotype, **sizes) -> CellNetwork:  # type: ignore[no-untyped-def]
    """The network of a genotype, with the extra BNs the genotype asks for; ``sizes`` as in :class:`CellNetwork`."""
    return CellNetwork(
        (genotype.normal, genotype.normal_concat),
        (genotype.reduce, genotype.reduce_concat),
        target_bn(genotype.extra_bn),
        **sizes,
    )


def check_sizes(sizes: Mapping[str, Any], num_tensors: int, genotype: Genotype) -> None:
    """See that a file of so many tensors has the sizes of a network that its tensors allow to be built.

    Raises:
        ValueError: when it has not.
    """
    names = {"stem", "in_channels", "num_classes", "init_channels", "layers"}
    if sizes.keys() != names or sizes["stem"] not in STEMS:
        raise ValueError(f"sizes must be {', '.join(sorted(names))}, and the stem {' or '.join(STEMS)}")
    for name in ("init_channels", "layers"):
        require_count(name, sizes[name])
    connections = sum(map(len, genotype.normal + genotype.reduce))
    if sizes["layers"] > num_tensors or sizes["layers"] * connections > _MOST_CONNECTIONS:
        raise ValueError(f"{shown(sizes['layers'])} layers are too many for its {num_tensors} tensors")

"""Super-net and target network of a chain: one class, whose blocks hold all candidates or those of a genotype.

Source: ProxylessNAS (ICLR 2019), for networks of 224 x 224 images; ISTA-NAS's rebuttal, for the chain as its space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from torch import Tensor, nn

from isnas.space.chain.genotype import Block, ChainGenotype
from isnas.space.chain.operations import ConvolutionBN, MBConv, make_operation, relu6_
from isnas.space.chain.widths import WIDTHS, check_stages
from isnas.space.connections import Connections, Support
from isnas.space.recomputation import runner
from isnas.space.space import Network, Output


class ChainBlock(nn.Module):
    """``x + sum_k c_k o_k(x)`` over its candidates o_k, without x where the block changes channels or size."""

    def __init__(
        self, candidates: Block, in_channels: int, channels: int, stride: int, affine: bool, skip_bn: bool
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == channels
        self.operations = nn.ModuleList(
            make_operation(name, in_channels, channels, stride, affine, skip_bn) for name in candidates
        )

    def forward(
        self,
        x: Tensor,
        active: Sequence[int],
        coefficients: Sequence[Tensor] | None = None,
        path_scales: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Output (B, channels, H / stride, W / stride).

        ``active`` are the places of the candidates that run, ``coefficients`` their weights as scalars (one, when
        None). ``path_scales`` has for each of them what drop-path multiplies each image by, (B,); without
        a shortcut nothing may be dropped.
        """
        total = x if self.shortcut else None
        for position, k in enumerate(active):
            scale = None if path_scales is None else path_scales[position]
            operation = self.operations[k]
            if operation.is_identity:
                continue
            weighted = operation(x, None if coefficients is None else coefficients[position])
            if scale is not None and self.shortcut:
                weighted = weighted * scale.to(weighted.dtype).view(-1, 1, 1, 1)
            total = weighted if total is None else total + weighted
        assert total is not None, "a block without a shortcut has a candidate"
        return total


class ChainNetwork(Network):
    """Stem, a fixed block, the blocks of all stages in turn, head and classifier; node j is block j + 1.

    ``chain``: per stage the candidates of its blocks. ``widths``: a row of :data:`isnas.space.chain.widths.WIDTHS` with
    as many stages. ``affine``: the candidate MBConvs' batch normalisations have gamma and beta; all others do anyway.
    ``skip_bn``: a skip adds its normalised input to the shortcut, rather than nothing.
    """

    def __init__(
        self,
        chain: Sequence[Sequence[Block]],
        affine: bool,
        skip_bn: bool,
        *,
        widths: str,
        in_channels: int,
        num_classes: int,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        assert not auxiliary, "a chain has no auxiliary head"
        self.auxiliary = None
        row = WIDTHS[widths]
        assert len(chain) == len(row.stages)
        self.stem = ConvolutionBN(in_channels, row.stem, 3, row.stem_stride)
        self.first = MBConv(3, 1, row.stem, row.first, 1)
        self.blocks = nn.ModuleList()
        before = row.first
        for stage, channels, first_stride in zip(chain, row.stages, row.strides):
            for place, candidates in enumerate(stage):
                stride = first_stride if place == 0 else 1
                self.blocks.append(ChainBlock(candidates, before, channels, stride, affine, skip_bn))
                before = channels
        self.head = ConvolutionBN(before, row.head)
        self.classifier = nn.Linear(row.head, num_classes)

    def forward(self, x: Tensor, connections: Connections | None = None, drop_path: Tensor | None = None) -> Output:
        """Scores of a batch (B, in_channels, H, W); without ``connections`` every candidate runs, unweighted.

        ``drop_path`` (B, number of candidates that run, over all blocks) scales each of them per image. With
        ``recompute`` each block is a part whose inner values are not kept.
        """
        path_scales = None if drop_path is None else iter(drop_path.unbind(1))
        weights: Sequence[Sequence[Tensor] | None] = [None] * len(self.blocks)
        if connections is not None and connections.coefficients is not None:
            dtype = self.classifier.weight.dtype
            weights = [of_block.to(dtype).unbind() for of_block in connections.coefficients]
        run = runner(self.recompute)
        x = self.first(relu6_(self.stem(x)))
        for block, active, own in zip(self.blocks, self._active(connections), weights, strict=True):
            scales = None if path_scales is None else list(islice(path_scales, len(active)))
            x = run(block, x, active, own, scales)
        x = relu6_(self.head(x))
        return Output(self.classifier(x.mean((2, 3))), None)

    def operations(self, node: int) -> Iterator[nn.ModuleList]:
        """The candidates of a block."""
        operations = self.blocks[node].operations
        assert isinstance(operations, nn.ModuleList)
        yield operations

    def parts(self) -> Iterator[nn.Module]:
        """The candidates of all blocks."""
        for node in range(len(self.blocks)):
            for operations in self.operations(node):
                yield from operations

    def num_connections(self, connections: Connections | None = None) -> int:
        """How many candidates ``forward(x, connections)`` runs, skips included."""
        return sum(map(len, self._active(connections)))

    def extract_state(self, state: Mapping[str, Tensor], support: Support) -> dict[str, Tensor]:
        """The part of this super-net's ``state`` that the connections use, under a target network's names.

        A target network of the same genotype, widths and BNs takes it with ``load_state_dict``. ``state`` may be any
        tensors under this network's names, the optimiser's for one.
        """
        result = {}
        for key, tensor in state.items():
            parts = key.split(".")
            if parts[0] == "blocks":
                node, k = support[int(parts[1])], int(parts[3])
                if k not in node:
                    continue
                parts[3] = str(node.index(k))
            result[".".join(parts)] = tensor
        return result

    def _active(self, connections: Connections | None) -> Sequence[Sequence[int]]:
        """The places of the candidates that run in each block."""
        if connections is not None:
            return connections.support
        return [range(len(operations)) for node in range(len(self.blocks)) for operations in self.operations(node)]


def target_network(genotype: ChainGenotype, **sizes) -> ChainNetwork:  # type: ignore[no-untyped-def]
    """The network of a genotype; ``sizes`` as in :class:`ChainNetwork`.

    Raises:
        UserError: when the widths are of another number of stages.
    """
    check_stages(len(genotype.chain), sizes["widths"])
    return ChainNetwork(genotype.chain, True, genotype.extra_bn == "all", **sizes)


def check_sizes(sizes: Mapping[str, Any], num_tensors: int, genotype: ChainGenotype) -> None:
    """See that a file has the sizes of a network of the genotype.

    Raises:
        ValueError: when it has not; a UserError, for widths of other stages.
    """
    if sizes.keys() != {"widths", "in_channels", "num_classes"} or sizes["widths"] not in tuple(WIDTHS):
        raise ValueError(f"sizes must be in_channels, num_classes and widths, and these one of {', '.join(WIDTHS)}")
    check_stages(len(genotype.chain), sizes["widths"])

"""The chain as a space: a node for each block, whose candidates exclude one another, and networks of chains.

Flat index of a candidate = its place among the space's operations. The first block of a stage has no skip.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnas.base.errors import UserError
from isnas.space.chain.candidates import CANDIDATES, NAMES, SKIP
from isnas.space.chain.genotype import Block, ChainGenotype
from isnas.space.chain.widths import WIDTHS
from isnas.space.connections import Support

if TYPE_CHECKING:
    import torch

    from isnas.space.chain.network import ChainNetwork


@dataclass(frozen=True)
class ChainSpace:
    """Chains of so many blocks per stage; without ``blocks``, as many as the widths have.

    ``widths`` are those in which architectures are compared.
    """

    widths: str = "default"
    blocks: tuple[int, ...] = ()
    operations: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", self.blocks or WIDTHS[self.widths].blocks)
        ordered = tuple(name for name in NAMES if name in self.operations)  # as a genotype has a block's candidates
        object.__setattr__(self, "operations", ordered)
        assert len(self.blocks) == len(WIDTHS[self.widths].stages) and self.operations != (SKIP,)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of the blocks: 6, 7, 7, 7 five times over, and 6, with all operations and default widths."""
        return tuple(map(len, self.candidates))

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """One for each block, as all its candidates read the same."""
        return tuple((0,) * size for size in self.sizes)

    @property
    def node_names(self) -> tuple[str, ...]:
        """``block 1`` and so on; the fixed one is block 0."""
        return tuple(f"block {number}" for number in range(1, sum(self.blocks) + 1))

    @property
    def candidate_names(self) -> tuple[Block, ...]:
        """``k3_e3`` and so on."""
        return self.candidates

    @property
    def mixes_none(self) -> bool:
        """No: a skip is among the candidates, where a block can be left out."""
        return False

    @property
    def derived_sizes(self) -> dict[str, Any]:
        """The network of the space's own widths."""
        return {"widths": self.widths}

    @property
    def derived_name(self) -> str:
        """That network in words."""
        return f"widths {self.widths}"

    @property
    def candidates(self) -> tuple[Block, ...]:
        """All candidates of each block, in the order of the flat index."""
        return tuple(names for stage in self.stages for names in stage)

    @property
    def stages(self) -> tuple[tuple[Block, ...], ...]:
        """The same, stage by stage."""
        always = tuple(name for name in self.operations if name != SKIP)
        return tuple((always, *[self.operations] * (count - 1)) for count in self.blocks)

    def connected(self, support: Support) -> Support:
        """The same, but that a block without any candidate is skipped, or has its first one where it cannot be."""
        places = ((names.index(SKIP) if SKIP in names else 0,) for names in self.candidates)
        return tuple(node or place for node, place in zip(support, places, strict=True))

    def genotype(self, support: Support, one_stage: bool = False, pool_bn: bool = False) -> ChainGenotype:
        """The chain with these candidates; with ``one_stage`` its skips end in a BN. There are no pools.

        Raises:
            UserError: when a block has none.
        """
        nodes = iter([tuple(names[k] for k in node) for names, node in zip(self.candidates, support, strict=True)])
        return ChainGenotype(
            tuple(tuple(islice(nodes, count)) for count in self.blocks), "all" if one_stage else "none"
        )

    def support(self, genotype: ChainGenotype) -> Support:
        """The flat indices of a chain's candidates.

        Raises:
            UserError: for chains of other stages, or with candidates that are not searched here.
        """
        strange = {name for block in genotype.blocks for name in block} - set(self.operations)
        if strange:
            reason = f"it has {', '.join(sorted(strange))}"
        elif genotype.stage_blocks != self.blocks:
            reason = f"its stages have {' '.join(map(str, genotype.stage_blocks))} blocks"
        else:
            return tuple(
                tuple(map(names.index, block)) for names, block in zip(self.candidates, genotype.blocks, strict=True)
            )
        raise UserError(f"the architecture is not of the space that is searched: {reason}")

    def random(
        self, rng: torch.Generator, connections: int = 1, distinct_inputs: bool = False, none: bool = False
    ) -> Support:
        """A uniformly random support: per block ``connections`` of its candidates, one with ``distinct_inputs``.

        A block's skip is a candidate already, so ``none`` adds nothing.
        """
        import torch

        count = 1 if distinct_inputs else connections
        drawn = (torch.randperm(size, generator=rng, device=rng.device)[:count].tolist() for size in self.sizes)
        return tuple(tuple(sorted(node)) for node in drawn)

    def super_net(self, one_stage: bool = False, partial: int = 1, **sizes: Any) -> ChainNetwork:
        """The network whose blocks hold every candidate; ``sizes`` as in :class:`ChainNetwork`.

        Its skips end in a BN, so that their coefficients have a gradient. In a two-stage search the MBConvs' BNs have
        no gamma and beta: the coefficient alone scales what a block adds.
        """
        from isnas.space.chain.network import ChainNetwork

        assert partial == 1, "operations see all channels"
        return ChainNetwork(self.stages, affine=one_stage, skip_bn=True, **sizes)

    def target_network(self, genotype: ChainGenotype, **sizes: Any) -> ChainNetwork:
        """The network of a genotype; ``sizes`` as in :class:`ChainNetwork`."""
        from isnas.space.chain.network import target_network

        return target_network(genotype, **sizes)

    def heaviest(self, sparseness: int, value_bytes: int = 4) -> Support:
        """The candidates of which most is kept for the backward pass, and of equal ones the largest kernels."""

        def weight(name: str) -> tuple[int, int]:
            return CANDIDATES[name].kept, CANDIDATES[name].kernel

        ranked = (sorted(range(len(names)), key=lambda k: weight(names[k]), reverse=True) for names in self.candidates)
        return tuple(tuple(sorted(node[:sparseness])) for node in ranked)

    def operation_counts(self, genotype: ChainGenotype) -> dict[str, int]:
        """How often each operation of the space occurs."""
        counter = Counter(name for block in genotype.blocks for name in block)
        return {name: counter[name] for name in self.operations}

    def draw(self, genotype: ChainGenotype, folder: Path) -> list[Path]:
        """The chain, as PNG and SVG."""
        from isnas.space.chain.picture import draw_genotype  # matplotlib is slow to import

        return draw_genotype(genotype, folder)

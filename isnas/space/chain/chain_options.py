"""The options of the space of chains: what is searched, and how wide the networks are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.text import brief
from isnas.space.chain.candidates import NAMES, SKIP
from isnas.space.chain.genotype import ChainGenotype
from isnas.space.chain.published import PUBLISHED
from isnas.space.chain.resolve import is_of_space, resolve_genotype
from isnas.space.chain.space import ChainSpace
from isnas.space.chain.widths import WIDTHS, check_stages
from isnas.space.genotype_files import MOST_NODES
from isnas.space.space_options import SpaceOptions


@dataclass(frozen=True)
class ChainOptions(SpaceOptions, title="Chains"):
    """What is searched, and the network's widths, which are the same in a search and in a training to the end.

    A block has one candidate, so a node keeps one connection; b has fewer entries than a block has candidates, and
    starts from one of them. What a block adds to its shortcut has the weight +1 or -1, whatever the size of b: of
    a small one it would vanish, and a large one hardly turns (docs/chain.md).
    """

    defaults: ClassVar = {
        "sparseness": 1,
        "proj_dims": 4,
        "measurement": "unit_gaussian",
        "arch_init": "sparse",
        "gate": "sign",
        "drop_path_prob": 0.0,
    }
    widths: str = option(
        "default",
        "channels of all stages: of the ImageNet space (default), of a published network, or small, for images of 32 "
        "(cifar) or 16 pixels (digits)",
        choices=WIDTHS,
    )
    blocks: tuple[int, ...] = option((), "blocks of each stage; none: as the widths have them", minimum=1, maximum=96)
    operations: tuple[str, ...] = option(NAMES, "candidate operations of a block", choices=NAMES)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not set(self.operations) - {SKIP} or len(set(self.operations)) < len(self.operations):
            raise UserError("--operations must name different operations, one at least beside skip")
        if len(self.blocks) not in (0, count := len(WIDTHS[self.widths].stages)):
            raise UserError(f"--blocks must have {count} numbers, one for each stage of --widths {self.widths}")
        if sum(self.blocks) > MOST_NODES:
            raise UserError(f"--blocks are {sum(self.blocks)} together; a chain has {MOST_NODES} at most")

    def resolve(self, arch: str, one_stage: bool | None = None) -> ChainGenotype:
        """The chain that ``arch`` names.

        Raises:
            UserError: when it names none, one of other widths or stages, or a one-stage chain where ``one_stage`` says
                otherwise.
        """
        genotype = resolve_genotype(arch, self.make_space())
        if arch in PUBLISHED and PUBLISHED[arch].widths != self.widths:
            raise UserError(f"{arch} has other widths than --widths {self.widths}; give {PUBLISHED[arch].widths}")
        check_stages(len(genotype.chain), self.widths)
        if one_stage is not None and one_stage != (genotype.extra_bn == "all"):
            flag, found = ("--onestage", "no BN") if one_stage else ("--no_onestage", "BN")
            raise UserError(f"{flag} contradicts --arch {brief(arch)}, whose skips have {found}; leave it out")
        return genotype

    def lasting(self, arch: str) -> str:
        """The name of a published chain or of one that depends on the space, and any other one's text.

        Raises:
            UserError: for another number of blocks or other operations than the widths', which an architecture has.
        """
        if is_of_space(arch):
            return arch
        if self.make_space() != ChainSpace(self.widths):
            raise UserError(
                f"--blocks and --operations have no effect on --arch {brief(arch)}, which has its own; leave them out"
            )
        return arch if arch in PUBLISHED else str(resolve_genotype(arch))

    def make_space(self) -> ChainSpace:
        """The space that is searched."""
        return ChainSpace(self.widths, self.blocks, self.operations)

    def sizes(self, channels: int, num_classes: int) -> dict[str, Any]:
        """What a network wants to know besides its blocks."""
        return {"widths": self.widths, "in_channels": channels, "num_classes": num_classes}

    @property
    def total_stride(self) -> int:
        """32 for the widths that are made for 224 x 224 images."""
        row = WIDTHS[self.widths]
        return row.stem_stride * math.prod(row.strides)

    def check_parts(self, parts: int) -> None:
        """See that operations see all channels.

        Raises:
            UserError: when they are to see a part.
        """
        if parts > 1:
            raise UserError(
                f"--partial_channels {parts} cannot be had in the space chain, whose blocks change the number of "
                "channels; give 1"
            )

    def check_images(self, image_size: int, auxiliary: bool) -> None:
        """See that no auxiliary head is asked for; images may have any size.

        Raises:
            UserError: when one is.
        """
        if auxiliary:
            raise UserError("--auxiliary cannot be had in the space chain; leave it out")

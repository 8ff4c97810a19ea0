"""The options of the space of cells: what is searched, and how large the networks are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.text import brief
from isnas.space.cells.genotype import DARTS_OPERATIONS, NAMES, STEMS, Genotype
from isnas.space.cells.published import PUBLISHED
from isnas.space.cells.resolve import FORMS, is_random, resolve_genotype
from isnas.space.cells.space import CellSpace
from isnas.space.space_options import SpaceOptions


@dataclass(frozen=True)
class CellOptions(SpaceOptions, title="Cells"):
    """What is searched, how large its networks are; the defaults are the super-net's of the papers' CIFAR-10 search."""

    num_nodes: int = option(4, "intermediate nodes of a cell", minimum=1, maximum=32, formerly="steps")
    operations: tuple[str, ...] = option(DARTS_OPERATIONS, "candidate operations", choices=NAMES)
    init_channels: int = option(16, "channels C of the first cells", minimum=1, maximum=10**4)
    layers: int = option(8, "number of cells; a single one is a normal cell", minimum=1, maximum=1000)
    shared_cell: bool = option(False, "search one cell, which is both the normal and the reduction cell")
    stem: str = option("cifar", "before the cells: cifar keeps the size, imagenet divides it by 8", choices=STEMS)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not self.operations or len(set(self.operations)) < len(self.operations):
            raise UserError("--operations must name different operations, one at least")
        if self.layers == 2:
            raise UserError("--layers 2 would be two reduction cells and no normal one; give 1, or 3 or more")
        if self.shared_cell and self.layers == 1:
            raise UserError("--shared_cell has no effect on --layers 1, which has one cell anyway; leave it out")

    def resolve(self, arch: str, one_stage: bool | None = None) -> Genotype:
        """The cells that ``arch`` names; in the papers' ImageNet network one-stage ones have no extra BNs.

        Raises:
            UserError: when it names none, or one-stage cells where ``one_stage`` says otherwise.
        """
        if not arch:
            raise UserError(f"give --arch: {FORMS}")
        genotype = resolve_genotype(arch, self.make_space())
        if self.stem == "imagenet" and not one_stage:
            return replace(genotype, extra_bn="none")
        if one_stage is not None and one_stage != (genotype.extra_bn == "all"):
            flag, found = ("--onestage", "no BN") if one_stage else ("--no_onestage", "BN")
            raise UserError(f"{flag} contradicts --arch {brief(arch)}, which has {found} after skips; leave it out")
        return genotype

    def lasting(self, arch: str) -> str:
        """A published or a random architecture's name, and any other one's text.

        Raises:
            UserError: for a space other than the default's, of which only a random architecture is drawn.
        """
        drawn = is_random(arch)
        if not drawn and CellSpace(self.operations, self.num_nodes, reduction=not self.shared_cell) != CellSpace():
            raise UserError(
                f"--num_nodes, --operations and --shared_cell have no effect on --arch {brief(arch)}, which has its "
                "own cells; leave them out"
            )
        return arch if drawn or arch in PUBLISHED else str(resolve_genotype(arch))

    def make_space(self) -> CellSpace:
        """The space of these cells."""
        return CellSpace(self.operations, self.num_nodes, reduction=self.layers > 1 and not self.shared_cell)

    def sizes(self, channels: int, num_classes: int) -> dict[str, Any]:
        """What a network wants to know besides its cells."""
        return {
            "stem": self.stem,
            "in_channels": channels,
            "num_classes": num_classes,
            "init_channels": self.init_channels,
            "layers": self.layers,
        }

    @property
    def total_stride(self) -> int:
        """That of the stem, and 2 for each of two reduction cells."""
        return (8 if self.stem == "imagenet" else 1) * (4 if self.layers > 1 else 1)

    def check_parts(self, parts: int) -> None:
        """See that the channels can be divided into so many parts.

        Raises:
            UserError: when they cannot.
        """
        if self.init_channels % parts:
            raise UserError(f"--partial_channels {parts} does not divide --init_channels {self.init_channels}")

    def check_images(self, image_size: int, auxiliary: bool) -> None:
        """See that the images are large enough for the auxiliary head, if there is to be one, and that it has a place.

        Raises:
            UserError: when they are not, or it has none.
        """
        if auxiliary and self.layers == 1:
            raise UserError("--auxiliary sits after the second reduction cell, and --layers 1 has none; leave it out")
        least = 16 if self.stem == "cifar" else 128
        if auxiliary and image_size < least:
            raise UserError(
                f"--auxiliary needs images of {least} pixels or more, these have {image_size}; leave it out"
            )


@dataclass(frozen=True)
class FullCellOptions(CellOptions):
    """The same for networks that are trained to the end; the defaults are the papers' CIFAR-10 network's."""

    init_channels: int = option(36, "channels C of the first cells", minimum=1, maximum=10**4)
    layers: int = option(20, "number of cells; a single one is a normal cell", minimum=1, maximum=1000)

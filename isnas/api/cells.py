"""Architectures: published ones, their networks, their pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from isnas.base.errors import UserError
from isnas.base.late import load
from isnas.base.text import brief, shown
from isnas.space.cells.genotype import Genotype
from isnas.space.chain.genotype import ChainGenotype
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.which import CELLS, CHAIN, RECURRENT, resolve, space_of, space_of_json

if TYPE_CHECKING:
    from isnas.space.space import Network

#: An architecture of any space.
Architecture = Genotype | ChainGenotype | RecurrentGenotype


@overload
def published(name: str, space: Literal["cells"] = "cells") -> Genotype: ...
@overload
def published(name: str, space: Literal["chain"]) -> ChainGenotype: ...
@overload
def published(name: str, space: Literal["recurrent"]) -> RecurrentGenotype: ...
def published(name: str, space: str = "cells") -> Architecture:
    """The published architecture of this name: cells of images, or with ``space="chain"`` a chain of blocks, or with
    ``space="recurrent"`` a cell of text.

    Raises:
        UserError: when there is none; the message names those that there are.
    """
    if space not in (CELLS, CHAIN, RECURRENT):
        raise UserError(f"unknown space {shown(space)}; choose from {CELLS}, {CHAIN}, {RECURRENT}")
    found: Architecture = load(f"isnas.space.{space}.published:published")(name).genotype
    return found


def network(
    genotype: Genotype | ChainGenotype | str,
    num_classes: int = 10,
    *,
    channels: int = 3,
    init_channels: int | None = None,
    layers: int | None = None,
    stem: str | None = None,
    widths: str = "",
    auxiliary: bool = False,
    seed: int = 0,
) -> Network:
    """The network of an architecture with the weights from which a training with the same ``seed`` begins.

    It is a ``torch.nn.Module`` in training mode: of images (B, ``channels``, H, W) it gives ``logits``
    (B, ``num_classes``) and ``auxiliary``, the scores of the head that helps in training, or None.

    Args:
        genotype: The architecture, or a name or text as :func:`isnas.train` takes it.
        num_classes: Classes.
        channels: Channels of an image.
        init_channels: Channels C of the first cells; without, 36 as in the paper's network for CIFAR-10; that for
            ImageNet has 48.
        layers: Cells; without, 20 as there; that for ImageNet has 14.
        stem: What is before the cells: ``cifar``, as without, keeps the size, ``imagenet`` divides it by 8, and
            architectures with extra BNs go without them there, as in the papers.
        widths: Of a chain, which has none of these three, the channels of its stages by name (docs/chain.md); without,
            a published chain's own, and for others those of ProxylessNAS's space. ``random:SEED`` is a chain with
            them, and cells without.
        auxiliary: With that head, for images of 16 pixels (``imagenet``: 128) or more.
        seed: Decides the weights.

    Raises:
        UserError: for no architecture, or a size that there is not.
    """
    from isnas.base.random import initialising
    from isnas.methods.registry import make_options
    from isnas.space.chain.published import PUBLISHED
    from isnas.space.chain.resolve import widths_of

    for name, value in (("num_classes", num_classes), ("channels", channels)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**6:
            raise UserError(f"{name} must be a whole number from 1 to 1,000,000, not {shown(value)}")
    space_name = space_of(str(genotype)) or (CHAIN if widths else CELLS)
    given = {"init_channels": init_channels, "layers": layers, "stem": stem, "widths": widths or None}
    sizes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in sizes:
        if (name == "widths") != (space_name == CHAIN):
            has = "widths alone" if space_name == CHAIN else "no widths"
            raise UserError(f"{name} has no effect on {brief(str(genotype))}, of --space {space_name}, which has {has}")
    if space_name == CHAIN and not widths:
        published_ones = {str(entry.genotype): entry.widths for entry in PUBLISHED.values()}
        sizes["widths"] = published_ones.get(str(genotype)) or widths_of(str(genotype)) or "default"
    options = make_options("evaluation", space_name, arch=str(genotype), seed=seed, auxiliary=auxiliary, **sizes)
    options.check_images(10**4, auxiliary)  # that the head has a place; the images are not known yet
    with initialising(seed, "weights"):
        space, own = options.make_space(), options.sizes(channels, num_classes)
        return space.target_network(options.genotype(), **own, auxiliary=auxiliary)


@dataclass(frozen=True)
class Drawing:
    """A picture of an architecture, which a notebook shows; ``svg`` is its text."""

    genotype: Architecture
    svg: str = field(repr=False)

    def save(self, folder: str | Path = ".", name: str = "cell") -> list[Path]:
        """Write each cell as PNG and SVG into a folder, made if need be: ``{name}_normal.png`` and so on; of a chain
        and of a cell of text, ``{name}.png``.

        Files there are replaced. Returns their paths.

        Raises:
            OSError: when they cannot be written.
        """
        space = space_of_json(self.genotype.to_json())
        paths: list[Path] = load(f"isnas.space.{space}.picture:draw_genotype")(self.genotype, Path(folder), name)
        return paths

    def _repr_svg_(self) -> str:
        return self.svg


def draw(genotype: Architecture | str) -> Drawing:
    """A picture of an architecture, or of what a name or text says as :func:`isnas.train` takes it.

    Raises:
        UserError: for no architecture.
    """
    if isinstance(genotype, str):
        return draw(resolve(genotype, space_of(genotype) or CELLS))
    return Drawing(genotype, genotype._repr_svg_())

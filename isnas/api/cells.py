"""Architectures: published ones, their networks, their pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from isnas.base.errors import UserError
from isnas.base.text import shown
from isnas.space.cells.genotype import Genotype
from isnas.space.recurrent.genotype import RecurrentGenotype

if TYPE_CHECKING:
    from isnas.space.space import Network


@overload
def published(name: str, space: Literal["cells"] = "cells") -> Genotype: ...
@overload
def published(name: str, space: Literal["recurrent"]) -> RecurrentGenotype: ...
def published(name: str, space: str = "cells") -> Genotype | RecurrentGenotype:
    """The published architecture of this name: cells of images, or with ``space="recurrent"`` a cell of text.

    Raises:
        UserError: when there is none; the message names those that there are.
    """
    if space == "recurrent":
        from isnas.space.recurrent.published import published as recurrent

        return recurrent(name).genotype
    if space != "cells":
        raise UserError(f"unknown space {shown(space)}; choose from cells, recurrent")
    from isnas.space.cells.published import published as cells

    return cells(name).genotype


def network(
    genotype: Genotype | str,
    num_classes: int = 10,
    *,
    channels: int = 3,
    init_channels: int = 36,
    layers: int = 20,
    stem: str = "cifar",
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
        init_channels: Channels C of the first cells; the paper's networks have 36 for CIFAR-10 and 48 for ImageNet.
        layers: Cells; the paper's networks have 20 and 14.
        stem: What is before the cells: ``cifar`` keeps the size, ``imagenet`` divides it by 8, and architectures with
            extra BNs go without them there, as in the papers.
        auxiliary: With that head, for images of 16 pixels (``imagenet``: 128) or more.
        seed: Decides the weights.

    Raises:
        UserError: for no architecture, or a size that there is not.
    """
    from isnas.base.random import initialising
    from isnas.methods.registry import make_options

    for name, value in (("num_classes", num_classes), ("channels", channels)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**6:
            raise UserError(f"{name} must be a whole number from 1 to 1,000,000, not {shown(value)}")
    sizes: dict[str, Any] = {"init_channels": init_channels, "layers": layers, "stem": stem, "auxiliary": auxiliary}
    options = make_options("evaluation", arch=str(genotype), seed=seed, **sizes)
    options.check_images(10**4, auxiliary)  # that the head has a place; the images are not known yet
    with initialising(seed, "weights"):
        space, own = options.make_space(), options.sizes(channels, num_classes)
        return space.target_network(options.genotype(), **own, auxiliary=auxiliary)


@dataclass(frozen=True)
class Drawing:
    """A picture of an architecture, which a notebook shows; ``svg`` is its text."""

    genotype: Genotype | RecurrentGenotype
    svg: str = field(repr=False)

    def save(self, folder: str | Path = ".", name: str = "cell") -> list[Path]:
        """Write each cell as PNG and SVG into a folder, made if need be: ``{name}_normal.png`` and so on.

        Files there are replaced. Returns their paths.

        Raises:
            OSError: when they cannot be written.
        """
        if isinstance(self.genotype, RecurrentGenotype):
            from isnas.space.recurrent.picture import draw_genotype as draw_recurrent

            return draw_recurrent(self.genotype, Path(folder), name)
        from isnas.space.cells.picture import draw_genotype

        return draw_genotype(self.genotype, Path(folder), name)

    def _repr_svg_(self) -> str:
        return self.svg


def draw(genotype: Genotype | RecurrentGenotype | str) -> Drawing:
    """A picture of an architecture, or of what a name or text says as :func:`isnas.train` takes it.

    Raises:
        UserError: for no architecture.
    """
    if isinstance(genotype, str):
        from isnas.space.cells.resolve import resolve_genotype
        from isnas.space.recurrent.resolve import is_recurrent
        from isnas.space.recurrent.resolve import resolve_genotype as resolve_recurrent

        genotype = resolve_recurrent(genotype) if is_recurrent(genotype) else resolve_genotype(genotype)
    return Drawing(genotype, genotype._repr_svg_())

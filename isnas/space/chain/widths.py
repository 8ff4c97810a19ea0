"""How wide the networks of chains are, a row each, and how their stages are laid out.

A network is a 3 x 3 convolution (the stem), a fixed block of kernel 3 without expansion and shortcut, stages of blocks
that are searched, a 1 x 1 convolution (the head), the mean over places, and a classifier. The first block of a stage
changes the channels and may have stride 2.

Source of the five for 224 x 224: ProxylessNAS (ICLR 2019), its search space and the networks it published. The small
ones are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError


@dataclass(frozen=True)
class Widths:
    """Channels of stem, fixed block, each stage and head; blocks and first stride of each stage; the stem's stride.

    ``image_size``: the side in pixels of the images that they are made for; any other will do.
    """

    image_size: int
    stem: int
    first: int
    stages: tuple[int, ...]
    head: int
    blocks: tuple[int, ...] = (4, 4, 4, 4, 4, 1)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1)
    stem_stride: int = 2

    def __post_init__(self) -> None:
        assert len(self.stages) == len(self.blocks) == len(self.strides)
        before = (self.first, *self.stages)
        assert all(here != last or stride > 1 for last, here, stride in zip(before, self.stages, self.strides))


#: By name; ``default`` is the space's, the next four have the published networks' widths.
WIDTHS: dict[str, Widths] = {
    "default": Widths(224, 32, 16, (24, 40, 80, 96, 192, 320), 1280),
    "mobile": Widths(224, 32, 16, (32, 40, 80, 96, 192, 320), 1280),
    "gpu": Widths(224, 40, 24, (32, 56, 112, 128, 256, 432), 1728),
    "cpu": Widths(224, 40, 24, (32, 48, 88, 104, 216, 360), 1432),
    "mobile14": Widths(224, 48, 24, (40, 56, 112, 136, 256, 448), 1792),
    "cifar": Widths(32, 16, 12, (16, 32, 64), 256, (3, 3, 3), (1, 2, 2), 1),
    "digits": Widths(16, 12, 8, (12, 24), 96, (3, 3), (1, 2), 1),
}


def check_stages(number: int, widths: str) -> None:
    """See that networks of these widths have so many stages.

    Raises:
        UserError: when they do not.
    """
    if number != len(WIDTHS[widths].stages):
        fitting = [name for name, row in WIDTHS.items() if len(row.stages) == number]
        remedy = f"; give --widths {' or '.join(fitting)}" if fitting else ""
        raise UserError(f"--widths {widths} are of {len(WIDTHS[widths].stages)} stages, not of {number}{remedy}")

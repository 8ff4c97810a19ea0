"""Pack a folder of images into shards, tar files that are read in large pieces, as WebDataset has them.

Writes train-000000.tar, ..., val-000000.tar, ... and classes.txt; see docs/datasets.md. Started again, it goes on
where it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from isnas.apps.console import options_of
from isnas.base.errors import UserError
from isnas.base.options import Component, option
from isnas.base.preemption import imported


@dataclass(frozen=True)
class ShardOptions(Component, title="Shards"):
    """What is packed, and how."""

    data: str = option("", "folder with train/CLASS and val/CLASS", path=True)
    output: str = option("", "folder for the shards", path=True)
    images_per_shard: int = option(1000, "images in a shard; the last one may hold fewer", minimum=1, maximum=10**9)
    seed: int = option(0, "decides the order of the images", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        for name in ("data", "output"):
            if not getattr(self, name):
                raise UserError(f"give --{name} FOLDER")


def main(argv: list[str]) -> None:
    """Pack what ``argv`` names."""
    options = options_of("make_shards", ShardOptions, argv)

    from isnas.apps.packing import pack

    imported()
    pack(options)

"""Print the size of an architecture's target network: parameters and multiply-adds in each convention.

Of a training's run folder it is the trained network's own, and else that of a paper's network of the architecture.

Of a chain it is that in its own widths, and of a search of chains for its images; of a recurrent cell, the parameters
of its language model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isnas.apps.console import options_of
from isnas.base.errors import UserError
from isnas.base.options import changed, option
from isnas.base.preemption import imported
from isnas.space.chain.widths import WIDTHS
from isnas.space.which import CELLS, CHAIN, RECURRENT, WhichSpace

#: What ``isnas.apps.counting.table`` gives: counting takes seconds.
TABLE = Path(__file__).with_name("published_sizes.md")

#: The papers' networks.
NETWORKS: dict[str, dict[str, Any]] = {
    "cifar": {"in_channels": 3, "num_classes": 10, "image_size": 32, "init_channels": 36, "layers": 20},
    "imagenet": {"in_channels": 3, "num_classes": 1000, "image_size": 224, "init_channels": 48, "layers": 14},
}


#: What only networks of some spaces have.
ONLY_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("network", "init_channels", "layers", "table"), (CELLS,)),
    **dict.fromkeys(("num_classes", "image_size", "channels"), (CELLS, CHAIN)),
    "widths": (CHAIN,),
    **dict.fromkeys(("nhid", "words"), (RECURRENT,)),
}

#: What the networks of spaces are called.
_CALLED = {(CELLS,): "networks of cells", (CHAIN,): "chains (--space chain)", (CELLS, CHAIN): "networks of images"}
_CALLED |= {(RECURRENT,): "language models (--space recurrent)"}


@dataclass(frozen=True)
class CountOptions(WhichSpace, title="Network"):
    """What is counted."""

    arch: str = option(
        "",
        "published name, genotype.json, run folder, Genotype(...) text or random:SEED; none means all",
        positional=True,
        path=True,
    )
    network: str = option("cifar", "the papers' network for CIFAR-10 or for ImageNet (no extra BN)", choices=NETWORKS)
    init_channels: int | None = option(None, "channels instead of the network's own (36, 48)", minimum=1, maximum=10**4)
    layers: int | None = option(None, "cells instead of the network's own (20, 14)", minimum=1, maximum=1000)
    num_classes: int | None = option(None, "classes instead of the network's own (10, 1000)", minimum=1, maximum=10**6)
    image_size: int | None = option(
        None, "side of the image instead of the network's own (32, 224)", minimum=8, maximum=10**4
    )
    channels: int | None = option(
        None, "channels of the image instead of the network's own (3)", minimum=1, maximum=1000
    )
    widths: str = option("", "channels of a chain's stages; none: its own", choices=("", *WIDTHS))
    nhid: int = option(850, "units of a recurrent cell's state", minimum=1, maximum=10**5)
    words: int = option(10_000, "words of its vocabulary", minimum=1, maximum=10**7)
    table: bool = option(False, "all published architectures as a Markdown table, with the papers' figures")

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        space = self.space_of(self.arch)
        if wrong := changed(self, (name for name, spaces in ONLY_OF.items() if space not in spaces)):
            raise UserError(f"--{wrong[0]} is for {_CALLED[ONLY_OF[wrong[0]]]}; leave it out")
        if self.table and replace(self, table=False) != CountOptions():
            raise UserError("--table shows the published architectures in the papers' networks; give it alone")
        if self.network == "imagenet" and self.init_channels == 1:
            raise UserError("init_channels must be at least 2 for ImageNet, whose stem starts with half of them, not 1")


def main(argv: list[str]) -> None:
    """Count what ``argv`` asks for."""
    options = options_of("count", CountOptions, argv)
    if options.table:
        print(TABLE.read_text(encoding="utf-8"), end="")
        return

    from isnas.apps.counting import show

    imported()
    show(options)

"""Print the size of an architecture's target network: parameters and multiply-adds in each convention.

Of a recurrent cell, the parameters of its language model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.base.files import markdown_table
from isnas.base.options import changed, option, parse
from isnas.nets.count import Counts, count_built, num_params
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import target_network
from isnas.space.cells.published import PUBLISHED, on_imagenet
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.recurrent.network import target_network as language_model
from isnas.space.recurrent.published import PUBLISHED as RECURRENT_CELLS
from isnas.space.recurrent.resolve import WhichSpace
from isnas.space.recurrent.resolve import resolve_genotype as resolve_recurrent

#: The papers' networks.
NETWORKS: dict[str, dict[str, Any]] = {
    "cifar": {"in_channels": 3, "num_classes": 10, "image_size": 32, "init_channels": 36, "layers": 20},
    "imagenet": {"in_channels": 3, "num_classes": 1000, "image_size": 224, "init_channels": 48, "layers": 14},
}
TITLES = {"cifar": "CIFAR-10", "imagenet": "ImageNet"}
EXTRA_BN = {"none": "", "pools": ", BN after pools", "all": ", extra BN"}


#: What only networks of images have, and what only language models.
OF_IMAGES = ("network", "init_channels", "layers", "num_classes", "image_size", "channels", "table")
OF_TEXT = ("nhid", "words")


@dataclass(frozen=True)
class CountOptions(WhichSpace):
    """What is counted."""

    arch: str = option(
        "", "published name, genotype.json, run folder, Genotype(...) text or random:SEED; none means all", path=True
    )
    network: str = option("cifar", "the papers' network for CIFAR-10 or for ImageNet (no extra BN)", choices=NETWORKS)
    init_channels: int | None = option(None, "channels instead of the network's own (36, 48)", minimum=1, maximum=10**4)
    layers: int | None = option(None, "cells instead of the network's own (20, 14)", minimum=1, maximum=1000)
    num_classes: int | None = option(None, "classes instead of the network's own (10, 1000)", minimum=1, maximum=10**6)
    image_size: int | None = option(
        None, "side of the image instead of the network's own (32, 224)", minimum=8, maximum=10**4
    )
    channels: int | None = option(None, "channels of the image instead of 3", minimum=1, maximum=1000)
    nhid: int = option(850, "units of a recurrent cell's state", minimum=1, maximum=10**5)
    words: int = option(10_000, "words of its vocabulary", minimum=1, maximum=10**7)
    table: bool = option(False, "all published architectures as a Markdown table, with the papers' figures")

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        of_text = self.of_text(self.arch)
        if wrong := changed(self, OF_IMAGES if of_text else OF_TEXT):
            whose = "networks of images" if of_text else "language models (--space recurrent)"
            raise UserError(f"--{wrong[0]} is for {whose}; leave it out")
        if self.table and replace(self, table=False) != CountOptions():
            raise UserError("--table shows the published architectures in the papers' networks; give it alone")
        if self.network == "imagenet" and self.init_channels == 1:
            raise UserError("init_channels must be at least 2 for ImageNet, whose stem starts with half of them, not 1")


def main(argv: list[str]) -> None:
    """Count what ``argv`` asks for."""
    options = parse(CountOptions, argv, "Count parameters and multiply-adds of a target network.")
    if options.table:
        print(table())
        return
    if options.of_text(options.arch):
        for name in [options.arch] if options.arch else RECURRENT_CELLS:
            with torch.device("meta"):
                model = language_model(
                    resolve_recurrent(name), vocabulary=options.words, ninp=options.nhid, nhid=options.nhid
                )
            size = num_params(model) / 1e6
            print(f"{name} {size:.6f} M parameters ({options.nhid} units, {options.words:,} words)")
        return
    genotypes = {name: entry.genotype for name, entry in PUBLISHED.items()}
    if options.arch:
        genotypes = {options.arch: resolve_genotype(options.arch)}
    changes = {
        "in_channels": options.channels,
        "num_classes": options.num_classes,
        "image_size": options.image_size,
        "init_channels": options.init_channels,
        "layers": options.layers,
    }
    for name, genotype in genotypes.items():
        print(f"{name} {count_in(options.network, genotype, changes)}")


def count_in(network: str, genotype: Genotype, changes: dict[str, int | None] | None = None) -> Counts:
    """Counts of the genotype in one of the papers' networks, with the sizes in ``changes`` that are not None."""
    sizes = NETWORKS[network] | {key: size for key, size in (changes or {}).items() if size is not None}
    image_size = sizes.pop("image_size")
    counted = on_imagenet(genotype) if network == "imagenet" else genotype
    build = partial(target_network, counted, stem=network, **sizes)
    return count_built(build, sizes["in_channels"], image_size)


def table() -> str:
    """Markdown, one line per network of which a paper gives a size; CIFAR-10's for cells without a figure."""
    titles = ["architecture", "network", "parameters", "multiply-adds, convolutions and linear"]
    titles += ["with BN, ReLU and pooling", "with a ReLU per operation", "in a paper"]
    lines = []
    for name, entry in PUBLISHED.items():
        reported = {size.network: str(size) for size in entry.reported}
        for network, figure in (reported or {"cifar": ""}).items():
            counts = count_in(network, entry.genotype)
            where = TITLES[network] + (EXTRA_BN[entry.genotype.extra_bn] if network == "cifar" else "")
            adds = [counts.conv_linear_multiply_adds, counts.all_layers_multiply_adds, counts.own_relus_multiply_adds]
            sizes = (f"{counts.params_millions:.6f} M", *(f"{number / 1e6:.1f} M" for number in adds))
            lines.append((f"`{name}`", where, *sizes, figure))
    return markdown_table(titles, lines, 2)

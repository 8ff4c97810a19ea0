"""Print the size of an architecture's target network: parameters and multiply-adds in both conventions."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.base.errors import run_tool
from isnas.base.options import option, parse
from isnas.nets.count import count_target
from isnas.space.published import PUBLISHED, on_imagenet
from isnas.space.resolve import resolve_genotype

#: stem, input channels, classes, image size, init_channels, layers of the papers' networks
NETWORKS = {"cifar": ("cifar", 3, 10, 32, 36, 20), "imagenet": ("imagenet", 3, 1000, 224, 48, 14)}


@dataclass(frozen=True)
class CountOptions:
    """What is counted."""

    arch: str = option("", "published name, genotype.json, run folder or Genotype(...) text; none means all published")
    network: str = option("cifar", "the papers' network for CIFAR-10 or for ImageNet (no extra BN)", choices=NETWORKS)
    init_channels: int | None = option(None, "channels instead of the network's own (36, 48)", minimum=1)
    layers: int | None = option(None, "cells instead of the network's own (20, 14)", minimum=1)
    num_classes: int | None = option(None, "classes instead of the network's own (10, 1000)", minimum=1)
    image_size: int | None = option(None, "side of the image instead of the network's own (32, 224)", minimum=8)
    channels: int | None = option(None, "channels of the image instead of 3", minimum=1)


def main(argv: list[str]) -> None:
    """Count what ``argv`` asks for."""
    options = parse(CountOptions, argv, "Count parameters and multiply-adds of a target network.")
    stem, channels, num_classes, image_size, init_channels, layers = NETWORKS[options.network]
    genotypes = {name: entry.genotype for name, entry in PUBLISHED.items()}
    if options.arch:
        genotypes = {options.arch: resolve_genotype(options.arch)}
    for name, genotype in genotypes.items():
        counts = count_target(
            on_imagenet(genotype) if stem == "imagenet" else genotype,
            stem=stem,
            in_channels=options.channels or channels,
            num_classes=options.num_classes or num_classes,
            image_size=options.image_size or image_size,
            init_channels=options.init_channels or init_channels,
            layers=options.layers or layers,
        )
        print(f"{name} {counts}")


if __name__ == "__main__":
    run_tool(main)

"""What ``isnas count`` prints: sizes of target networks."""

from __future__ import annotations

from functools import partial

import torch

from isnas.apps.count import NETWORKS, CountOptions
from isnas.base.files import markdown_table
from isnas.nets.count import Counts, count_built, num_params
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import target_network
from isnas.space.cells.published import PUBLISHED, on_imagenet
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.recurrent.network import target_network as language_model
from isnas.space.recurrent.published import PUBLISHED as RECURRENT_CELLS
from isnas.space.recurrent.resolve import resolve_genotype as resolve_recurrent

TITLES = {"cifar": "CIFAR-10", "imagenet": "ImageNet"}
EXTRA_BN = {"none": "", "pools": ", BN after pools", "all": ", extra BN"}


def show(options: CountOptions) -> None:
    """Print the sizes of what the options name."""
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
    """Markdown, one line per network of which a paper gives a size; CIFAR-10's for cells without a figure.

    ``isnas count --table`` prints the file of it, without counting; ``scripts/write_table.py`` writes that anew.
    """
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

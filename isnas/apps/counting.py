"""What ``isnas count`` prints: sizes of target networks."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from isnas.apps.count import NETWORKS, CountOptions
from isnas.base.files import markdown_table
from isnas.base.options import build
from isnas.base.yaml_text import read_config
from isnas.data.catalogue import CATALOGUE
from isnas.data.data_options import DataOptions
from isnas.engine.trained import Trained, load_trained
from isnas.engine.weights import WEIGHTS_FILES
from isnas.nets.count import Counts, count_built, num_params
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import target_network
from isnas.space.cells.published import PUBLISHED, on_imagenet
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.chain.network import target_network as chain_network
from isnas.space.chain.published import PUBLISHED as CHAINS
from isnas.space.chain.resolve import widths_of
from isnas.space.chain.widths import WIDTHS
from isnas.space.genotype_files import config_of
from isnas.space.recurrent.network import target_network as language_model
from isnas.space.recurrent.published import PUBLISHED as RECURRENT_CELLS
from isnas.space.recurrent.resolve import resolve_genotype as resolve_recurrent
from isnas.space.which import CHAIN, RECURRENT, resolve

TITLES = {"cifar": "CIFAR-10", "imagenet": "ImageNet"}
EXTRA_BN = {"none": "", "pools": ", BN after pools", "all": ", extra BN"}


def show(options: CountOptions) -> None:
    """Print the sizes of what the options name."""
    space = options.space_of(options.arch)
    if space == RECURRENT:
        for name in [options.arch] if options.arch else RECURRENT_CELLS:
            with torch.device("meta"):
                model = language_model(
                    resolve_recurrent(name), vocabulary=options.words, ninp=options.nhid, nhid=options.nhid
                )
            size = num_params(model) / 1e6
            print(f"{name} {size:.6f} M parameters ({options.nhid} units, {options.words:,} words)")
        return
    changes = {
        "in_channels": options.channels,
        "num_classes": options.num_classes,
        "image_size": options.image_size,
        "init_channels": options.init_channels,
        "layers": options.layers,
    }
    trained = trained_in(options.arch) if options.network == CountOptions.network and not options.widths else None
    if trained is not None:
        own = trained.sizes | {"image_size": trained.info.image_size}
        show_one: Any = counted_chain if space == CHAIN else counted
        print(f"{options.arch}, as it was trained: {show_one(trained.genotype, own, changes)}")
        return
    if space == CHAIN:
        for name in [options.arch] if options.arch else CHAINS:
            own = chain_sizes(options.widths or widths_of(name) or "default")
            own |= {} if options.widths else images_of(name)
            print(f"{name} {counted_chain(resolve(name, CHAIN, own['widths']), own, changes)}")
        return
    genotypes = {name: entry.genotype for name, entry in PUBLISHED.items()}
    if options.arch:
        genotypes = {options.arch: resolve_genotype(options.arch)}
    for name, genotype in genotypes.items():
        print(f"{name} {counted(*in_paper(options.network, genotype), changes)}")


def chain_sizes(widths: str) -> dict[str, Any]:
    """The sizes of networks of these widths, for images as large as they are made for, of 1000 classes or of 10."""
    size = WIDTHS[widths].image_size
    return {"widths": widths, "in_channels": 3, "num_classes": 1000 if size == 224 else 10, "image_size": size}


def images_of(arch: str) -> dict[str, int]:
    """What is known, without reading them, of the images of the search that ``arch`` names: their part of the sizes.

    Raises:
        UserError: when its config.yaml is damaged.
    """
    file = config_of(arch)
    config = read_config(file) if file else {}
    if str(config.get("dataset")) not in CATALOGUE:
        return {}
    data = build(DataOptions, {field.name: config[field.name] for field in fields(DataOptions) if field.name in config})
    record = CATALOGUE[data.dataset]
    known = {
        "in_channels": 1 if data.grey else record.channels,
        "num_classes": record.num_classes,
        "image_size": data.image_size or record.image_size,
    }
    return {name: size for name, size in known.items() if size}


def counted_chain(genotype: Any, network: dict[str, Any], changes: dict[str, int | None]) -> str:
    """What a chain's network of these sizes counts, and what it is; ``changes`` as in :func:`counted`."""
    sizes = network | {key: size for key, size in changes.items() if size is not None}
    widths, size, channels, classes = (sizes[key] for key in ("widths", "image_size", "in_channels", "num_classes"))
    build = partial(chain_network, genotype, **{key: value for key, value in sizes.items() if key != "image_size"})
    counts = count_built(build, channels, size)
    of = f"{channels} channel{'s' if channels > 1 else ''}, {classes} classes"
    return f"{counts} (widths {widths}, {size} x {size} images, {of})"


def trained_in(arch: str) -> Trained | None:
    """The trained network in a run folder of a training that has ended, if ``arch`` is one.

    Raises:
        UserError: when its weights are damaged.
    """
    folder = Path(arch)
    try:
        has_weights = any((folder / name).is_file() for name in WEIGHTS_FILES)
        is_there = bool(arch) and (folder / "result.json").is_file() and has_weights
    except (OSError, ValueError):  # a text that no file system takes for a name
        return None
    return load_trained(folder) if is_there else None


def in_paper(network: str, genotype: Genotype) -> tuple[Genotype, dict[str, Any]]:
    """The genotype as it is in one of the papers' networks, and the sizes of that."""
    sizes = NETWORKS[network] | {"stem": network}
    return on_imagenet(genotype) if network == "imagenet" else genotype, sizes


def counted(genotype: Genotype, network: dict[str, Any], changes: dict[str, int | None]) -> str:
    """What a network of these sizes counts, and what it is; ``changes`` that are not None take the place of sizes."""
    sizes = network | {key: size for key, size in changes.items() if size is not None}
    cells, C, size, classes = (sizes[name] for name in ("layers", "init_channels", "image_size", "num_classes"))
    return f"{count_of(genotype, sizes)} ({cells} cells, C = {C}, {size} x {size} images, {classes} classes)"


def count_in(network: str, genotype: Genotype, changes: dict[str, int] | None = None) -> Counts:
    """Counts of the genotype in one of the papers' networks, with the sizes in ``changes``."""
    placed, sizes = in_paper(network, genotype)
    return count_of(placed, sizes | (changes or {}))


def count_of(genotype: Genotype, sizes: dict[str, Any]) -> Counts:
    """Counts of the target network of these sizes, the side of the images among them."""
    of_network = {key: size for key, size in sizes.items() if key != "image_size"}
    return count_built(partial(target_network, genotype, **of_network), sizes["in_channels"], sizes["image_size"])


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

"""What follows from the options that were given, for those that were not: the images of a search, sizes for few images.

It is decided before a run has a folder, so that config.yaml holds what was used and a run that goes on need not guess.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.options import build, changed, to_dict
from isnas.base.text import whole_number
from isnas.base.yaml_text import read_config
from isnas.data.catalogue import CATALOGUE
from isnas.data.data_options import DataOptions
from isnas.data.sources import data_root
from isnas.space.chain.resolve import widths_of
from isnas.space.genotype_files import config_of
from isnas.space.which import space_of_json

#: What a cell is trained on if nothing is said: all facts of the images of its search, but not how few of them it took.
_OF_IMAGES = ("dataset", "data", "image_size", "grey", "svhn_extra", "max_bad_images", "max_image_megapixels", "flip")

#: From so many training images on the papers' sizes are left as they are.
MANY_IMAGES = 10_000

#: Steps that a search of a small folder has at least, and those that a training has about.
SEARCH_STEPS, TRAINING_STEPS = 500, 2000

#: From so many pixels on the stem divides the side by 8, as the papers' networks for ImageNet do.
_LARGE_SIDE = 64


def follow(given: Mapping[str, Any], names: Collection[str], searches: bool) -> dict[str, Any]:
    """The options ``given``, as a user wrote them, with those that follow from them; ``notes`` say which and why.

    Args:
        given: Values of a command line and its config, by the names of the options.
        names: The names of all options of the run.
        searches: Whether it is a search.

    Raises:
        UserError: when the images of the search that ``arch`` names cannot be told from its config.yaml, or ``weights``
            names no trained network.
    """
    values = dict(given)
    for find in (
        partial(_of_weights, names=names),
        _images_of_search,
        partial(_widths, names=names),
        partial(_small_folder, names=names, searches=searches),
    ):
        taken, note = find({name: value for name, value in values.items() if name in names})
        if taken:
            values |= taken
            before = values.get("notes", ())
            values["notes"] = (*(before if isinstance(before, list | tuple) else (before,)), note)
    return values


def space_of_weights(weights: str) -> str | None:
    """The space of the trained network that ``weights`` names; None where there is none, which is said later."""
    from isnas.engine.trained import load_trained  # slow to import, for torch

    try:
        return space_of_json(load_trained(Path(os.path.expanduser(weights))).genotype.to_json())
    except UserError:
        return None


def _of_weights(given: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], str]:
    """The architecture and sizes of a trained network that is trained further, and its images unless others are given.

    Raises:
        UserError: when there is no such network, or it is of another space than the run.
    """
    if not given.get("weights"):
        return {}, ""
    from isnas.engine.trained import OF_IMAGES, load_trained  # slow to import, for torch

    trained = load_trained(Path(os.path.expanduser(str(given["weights"]))))
    own: dict[str, Any] = {name: size for name, size in trained.sizes.items() if name not in OF_IMAGES}
    if not own.keys() <= set(names):
        space = space_of_json(trained.genotype.to_json())
        raise UserError(f"the network in {given['weights']} is of --space {space}; leave --arch and --space out")
    own |= {"image_size": trained.info.image_size} | ({"grey": True} if trained.data.grey else {})
    if not (given.get("dataset") or given.get("data")):
        own |= {"dataset": trained.data.dataset} | ({"data": trained.data.data} if trained.data.data else {})
    taken = {name: value for name, value in own.items() if name not in given}
    arch = {} if given.get("arch") else {"arch": str(trained.genotype)}
    return taken | arch, f"as the network in {given['weights']} has it: {_flags(taken)}"


def _images_of_search(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The images of the run whose architecture is to be trained, unless others are given, and a line that says so.

    Raises:
        UserError: when its config.yaml is damaged.
    """
    if given.get("dataset") or given.get("data"):
        return {}, ""
    file = config_of(os.path.expanduser(str(given.get("arch") or "")))
    if file is None:
        return {}, ""
    try:
        config = read_config(file)
        if str(config.get("dataset")) not in CATALOGUE:
            return {}, ""
        taken: dict[str, Any] = {name: config[name] for name in _OF_IMAGES if name in config and name not in given}
        flip = {name: taken.pop(name) for name in ("flip",) if name in taken}
        options = build(DataOptions, taken)
    except UserError as error:
        raise UserError(f"the images of {file} cannot be taken over: {error}; give --dataset and --data") from None
    names = ["dataset", *changed(options, (name for name in taken if name != "dataset"))]
    plain = {name: to_dict(options)[name] for name in names} | {k: v for k, v in flip.items() if v != "auto"}
    return plain, f"the images are those of {file.parent}, as no others are given: {_flags(plain)}"


def _widths(given: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], str]:
    """The widths of the network that an architecture is published or was searched in, and a line that says so."""
    arch = os.path.expanduser(str(given.get("arch") or ""))
    widths = widths_of(arch) if "widths" in names and given.get("widths") is None else ""
    return ({"widths": widths}, f"the widths are those of {arch}: --widths {widths}") if widths else ({}, "")


def _small_folder(given: Mapping[str, Any], names: Collection[str], searches: bool) -> tuple[dict[str, Any], str]:
    """Sizes for the few images of a folder, in place of the papers' for 50,000, and a line that says so."""
    if given.get("dataset") != "imagefolder" or not given.get("data"):
        return {}, ""
    from isnas.data.small.folders import survey  # slow to import, for torch

    try:
        count, side = survey(data_root(str(given["data"])))
        count = max(1, min(count, whole_number(str(given.get("max_train_images") or count))))
        side = whole_number(str(given.get("image_size") or side))
        batch_size = whole_number(str(given.get("batch_size") or 0))
    except (OSError, ValueError, UserError):  # what is wrong is said where images and options are read
        return {}, ""
    if count >= MANY_IMAGES:
        return {}, ""
    sizes = (search_sizes if searches else training_sizes)(count, side, batch_size)
    if given.get("budget") or "samples" in names:  # which decide the length in another way
        del sizes["epochs"]
    chosen = {name: value for name, value in sizes.items() if name in names and given.get(name) is None}
    if not chosen:
        return {}, ""
    return chosen, f"{count:,} training images of {side} x {side} pixels are few, so that by default: {_flags(chosen)}"


def search_sizes(count: int, side: int, batch_size: int = 0) -> dict[str, Any]:
    """Batch, unless it is given, epochs and network of a search on ``count`` images, half of which train W."""
    half = max(count // 2, 1)
    batch_size = batch_size or _batch_size(half, 64)
    channels, layers = (8, 5) if count < 1000 else (16, 8)
    epochs = max(50, math.ceil(SEARCH_STEPS / max(half // batch_size, 1)))
    return {"batch_size": batch_size, "epochs": epochs, "init_channels": channels, "layers": layers} | _stem(side)


def training_sizes(count: int, side: int, batch_size: int = 0) -> dict[str, Any]:
    """The same of a training on ``count`` images."""
    batch_size = batch_size or _batch_size(count, 96)
    channels, layers = (16, 8) if count < 1000 else (24, 11)
    epochs = min(max(TRAINING_STEPS // max(count // batch_size, 1), 100), 600)
    return {"batch_size": batch_size, "epochs": epochs, "init_channels": channels, "layers": layers} | _stem(side)


def _batch_size(count: int, most: int) -> int:
    """The largest power of two of which an epoch has ten, from 8 to ``most``; of fewer images all."""
    power = 2 ** int(math.log2(max(count / 10, 1)))
    return min(max(power, 8), most, count)


def _stem(side: int) -> dict[str, str]:
    return {"stem": "imagenet"} if side >= _LARGE_SIDE else {}


def _flags(values: Mapping[str, Any]) -> str:
    """Options as one types them."""
    return " ".join(f"--{name}" if value is True else f"--{name} {value}" for name, value in values.items())

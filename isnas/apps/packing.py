"""What ``isnas make_shards`` does: shards, made one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isnas.apps.make_shards import ShardOptions
from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.base.files import output_folder, remove_unfinished, write_json, write_text
from isnas.base.random import generator
from isnas.base.text import read_json
from isnas.data.class_folders import some
from isnas.data.large.encoded import CLASSES_FILE, FolderImages, list_folders
from isnas.data.large.packed import FINISHED_FILE, UNFINISHED_FILE, ShardRecord, read_packed, shard_records
from isnas.data.large.shard_index import read_index
from isnas.data.large.shards import write_shard
from isnas.data.sources import data_root
from isnas.engine.progress import progress

#: Other suffixes of a JPEG, under the one that every reader of shards knows.
_SUFFIXES = {".jpeg": ".jpg", ".jfif": ".jpg"}


def pack(options: ShardOptions) -> None:
    """Pack what the options name."""
    root = data_root(options.data)
    classes, *parts = list_folders(root)
    splits = dict(zip(("train", "val"), parts))
    for images in splits.values():
        require_files(images)
    folder = output_folder(options.output)
    facts: dict[str, Any] = {"images_per_shard": options.images_per_shard, "seed": options.seed}
    facts |= {"classes": len(classes)} | {name: [len(images), images.digest] for name, images in splits.items()}
    require_same(folder, facts)
    remove_unfinished(folder)
    if not (folder / FINISHED_FILE).exists():
        write_json(folder / UNFINISHED_FILE, facts)
    write_text(folder / CLASSES_FILE, "\n".join(classes) + "\n")
    facts["shards"] = {name: packed(folder, name, images, options) for name, images in splits.items()}
    require_as_made(folder, facts["shards"])
    write_json(folder / FINISHED_FILE, facts)
    (folder / UNFINISHED_FILE).unlink(missing_ok=True)


def packed(folder: Path, name: str, images: FolderImages, options: ShardOptions) -> dict[str, ShardRecord]:
    """Make those shards of train or val that are not there yet; what all of them are.

    Raises:
        UserError: when there is no room for one, or one that was there is damaged or holds something else.
    """
    order = torch.randperm(len(images), generator=generator(options.seed, "shards", name))
    groups = order.split(options.images_per_shard)
    paths = [folder / f"{name}-{number:06d}.tar" for number in range(len(groups))]
    for number in progress(0, len(groups), name):
        if not paths[number].exists():
            write(paths[number], images, groups[number], number * options.images_per_shard)
    entries = read_index(paths, name)
    for path, group, each in zip(paths, groups, entries):
        if each.labels.tolist() != images.labels[group].tolist():
            raise UserError(f"the shard {path} does not hold the images that belong there; remove it and start again")
    print(f"{name}: {len(images)} images in {len(groups)} shards")
    return shard_records(paths, entries)


def write(path: Path, images: FolderImages, numbers: Tensor, first: int) -> None:
    """Write a shard, or raise a :class:`UserError` that says what keeps it from being written."""
    try:
        write_shard(path, samples(images, numbers, first))
    except OSError as error:
        source = str(error.filename or "")
        fault = f"read {source} for the shard" if source.startswith(str(images.folder)) else "write the shard"
        raise UserError(
            f"cannot {fault} {path}: {error.strerror}; see to it and start again, it goes on here"
        ) from None


def require_files(images: FolderImages) -> None:
    """Raise a :class:`UserError` for images that are no files, or cannot be read."""
    numbers = bar(range(len(images)), "looking at images", delay=SOON)
    bad = [images.path(number) for number in numbers if not os.access(images.name(number), os.R_OK)]
    if bad:
        raise UserError(f"{len(bad)} images below {images.folder} cannot be read: {some(bad)}; replace or remove them")


def require_same(folder: Path, facts: dict[str, Any]) -> None:
    """Raise a :class:`UserError` when the folder holds shards of other images, or of another order or size."""
    there = [path for name in (FINISHED_FILE, UNFINISHED_FILE) if (path := folder / name).exists()]
    if not there:
        if any(folder.glob("[!.]*.tar")):
            raise UserError(f"{folder} already holds tar files; choose another --output")
        return
    try:
        before = read_json(there[0])
    except ValueError:
        raise UserError(f"{there[0]} is damaged; choose another --output, or empty {folder}") from None
    differing = [name for name, value in facts.items() if not isinstance(before, dict) or before.get(name) != value]
    if differing:
        raise UserError(
            f"{folder} holds shards with other {', '.join(differing)}; choose another --output, or empty that folder"
        )


def require_as_made(folder: Path, records: dict[str, dict[str, ShardRecord]]) -> None:
    """Raise a :class:`UserError` when a shard is not what an earlier start has made and noted."""
    before = read_packed(folder)
    for name, shards in (before.records if before and before.records else {}).items():
        for shard, record in records[name].items():
            if shards.get(shard) != record:
                raise UserError(f"the shard {folder / shard} is not the one that was made; remove it and start again")


def samples(images: FolderImages, numbers: Tensor, first: int) -> Iterator[tuple[str, bytes, int]]:
    """The images of a shard; each is named by its place among all and by its file."""
    for place, number in enumerate(numbers.tolist(), first):
        path = Path(images.path(number))
        suffix = path.suffix.lower()
        name = f"{place:08d}_{path.stem.replace('.', '_')}{_SUFFIXES.get(suffix, suffix)}"
        yield name, images.read(number), int(images.labels[number])

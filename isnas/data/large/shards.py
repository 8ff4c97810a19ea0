"""Encoded images in shards: tar files as WebDataset has them, read at random access through an index.

A sample is two or more members in a row whose names agree up to the first dot: KEY.jpg (or another suffix of
:data:`isnas.data.decoding.SUFFIXES`) holds the image, KEY.cls the number of its class as text; others are
passed over.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from isnas.base.distributed import from_main
from isnas.base.errors import UserError
from isnas.base.files import replacing
from isnas.base.text import printable
from isnas.data.class_folders import some
from isnas.data.large.encoded import CLASSES_FILE, read_classes
from isnas.data.large.packed import FINISHED_FILE, UNFINISHED_FILE, Packed, read_packed, require_numbers
from isnas.data.large.shard_index import LABEL_SUFFIX, Entries, read_index
from isnas.data.large.tars import BLOCK, NO_CHECKSUM, header_before, intact, write_member

#: So many shards are open at a time, and shuffled as one.
WINDOW = 16


class ShardImages:
    """The images of some shards, by shard and by their order in it.

    Args:
        paths: The shards.
        entries: The samples of each.
    """

    def __init__(self, paths: Sequence[Path], entries: Sequence[Entries]) -> None:
        self.paths = [str(path) for path in paths]
        self._offsets, self._sizes, labels, self._checksums = (np.concatenate(column) for column in zip(*entries))
        self._ends = np.cumsum([len(each.labels) for each in entries])
        self.labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def digest(self) -> str:
        """Says whether other shards have the same images of the same classes in the same places."""
        columns = (self._offsets, self._sizes, self.labels.numpy(), self._checksums, self._ends)
        return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()[:16]

    def name(self, number: int) -> str:
        """The shard of an image, and its name in there."""
        path, offset, _ = self._place(number)
        try:
            return printable(f"{path}:{header_before(_pread(path, BLOCK, offset - BLOCK))[0]}")
        except (OSError, ValueError):
            return printable(f"{path}:{offset}")

    def read(self, number: int) -> bytes:
        """The bytes of an image.

        Raises:
            UserError: when the shard is gone, cannot be read, is shorter than it was or another one.
            ValueError: when the image is not the one that was packed.
        """
        path, offset, size = self._place(number)
        checksum = int(self._checksums[number])
        before = BLOCK if checksum == NO_CHECKSUM else 0  # then its header must do
        try:
            data = _pread(path, before + size, offset - before)
        except OSError as error:
            raise UserError(f"cannot read the shard {path}: {error.strerror}; fetch or make it anew") from None
        if len(data) < before + size:
            raise UserError(f"the shard {path} is truncated; fetch or make it anew")
        if before and not _is_header(data[:before], size):
            raise UserError(
                f"the shard {path} has changed, or is damaged at byte {offset}; start again, or fetch it anew"
            )
        if not intact(data, checksum):
            raise ValueError("its bytes are not those that were packed")
        return data[before:]

    def shuffled(self, rng: torch.Generator) -> Tensor:
        """A random order of the shards, and of the images within every :data:`WINDOW` shards of it."""
        starts = self._ends - np.diff(self._ends, prepend=0)
        order = []
        for window in torch.randperm(len(self.paths), generator=rng).split(WINDOW):
            numbers = torch.cat([torch.arange(starts[shard], self._ends[shard]) for shard in window.tolist()])
            order.append(numbers[torch.randperm(len(numbers), generator=rng)])
        return torch.cat(order)

    def _place(self, number: int) -> tuple[str, int, int]:
        shard = int(np.searchsorted(self._ends, number, side="right"))
        return self.paths[shard], int(self._offsets[number]), int(self._sizes[number])


def has_shards(root: Path) -> bool:
    """Whether a data folder, or train in it, holds tar files."""
    return bool(_tars(root) or _tars(root / "train"))


def list_shards(root: Path) -> tuple[tuple[str, ...], ShardImages, ShardImages]:
    """The classes and the training and validation images of the shards of a data folder.

    The shards are ``root``/train/*.tar and ``root``/val/*.tar, or those in ``root`` whose names contain train and val.
    They must be those of shards.json in ``root``; without it, their numbers must have no gap. The class names are those
    of classes.txt in ``root``; without it, the labels' numbers, which then must occur in training from 0 on. Of several
    processes one reads the shards' headers, so all must call this.

    Raises:
        UserError: when there are no shards of a kind or not all of them, one is damaged or not as it was made, or a
            label is beyond the classes.
    """
    train, val = (
        ShardImages(
            [root / place for place in places], [Entries(*(column.numpy() for column in each)) for each in columns]
        )
        for places, columns in from_main(lambda: _listed(root))
    )
    classes = read_classes(root)
    if classes is None:
        classes = _numbers(root, train)
        said = (
            f"the training images of {root} have {len(classes)} classes; give a {CLASSES_FILE} that names all of them"
        )
    else:
        said = f"{CLASSES_FILE} in {root} names {len(classes)} classes; give the {CLASSES_FILE} of these shards"
    for images in (train, val):
        wrong = (images.labels >= len(classes)).nonzero()
        if len(wrong):
            number = int(wrong[0])
            raise UserError(f"{images.name(number)} has the label {int(images.labels[number])}, but {said}")
    return classes, train, val


def _tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.tar"))


def _listed(root: Path) -> list[tuple[list[str], list[list[Tensor]]]]:
    """For train and val the shards by their place below the root, and the columns of their entries."""
    if (root / UNFINISHED_FILE).exists():
        raise UserError(f"the shards in {root} are not all there; let tools/make_shards.py finish its work")
    try:
        packed = read_packed(root)
        if packed:
            _require_classes(root, packed)
        train, val = (_shards(root, name) for name in ("train", "val"))
        if both := sorted({path.name for path in train if path in val}):
            raise UserError(
                f"the names of shards in {root} contain train and val: {some(both)}; give them one of the two"
            )
        listed = []
        for name, paths in (("train", train), ("val", val)):
            if packed:
                packed.require_files(name, paths)
            else:
                require_numbers(paths)
            entries = read_index(paths, name)
            if packed:
                packed.require_images(name, paths, entries)
            columns = [[torch.from_numpy(column) for column in each] for each in entries]
            listed.append(([str(path.relative_to(root)) for path in paths], columns))
        return listed
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror}") from None


def _shards(root: Path, name: str) -> list[Path]:
    paths = _tars(root / name) or [path for path in _tars(root) if name in path.name]
    if not paths:
        raise UserError(f"{root} holds no shards for {name}: neither {name}/*.tar nor *{name}*.tar; see --data_format")
    return paths


def _require_classes(root: Path, packed: Packed) -> None:
    classes = read_classes(root)
    if len(classes or ()) != packed.classes:
        fault = "is missing" if classes is None else f"names {len(classes)} classes"
        raise UserError(f"{root / CLASSES_FILE} {fault}, and {FINISHED_FILE} says {packed.classes}; fetch it anew")


def _numbers(root: Path, train: ShardImages) -> tuple[str, ...]:
    """The numbers of the classes as names; every one must have a training image."""
    labels = torch.unique(train.labels)
    absent = (labels != torch.arange(len(labels))).nonzero()
    if len(absent):
        number = int(train.labels.argmax())
        raise UserError(
            f"{train.name(number)} has the label {int(train.labels[number])}, but no training image has "
            f"{int(absent[0])}; name all classes in {root / CLASSES_FILE}, one a line in their order"
        )
    if len(labels) < 2:
        raise UserError(f"the training images of {root} are of one class only; add others")
    return tuple(map(str, labels.tolist()))


def _is_header(block: bytes, size: int) -> bool:
    try:
        return header_before(block)[1] == size
    except ValueError:
        return False


@lru_cache(maxsize=2 * WINDOW)
def _opened(path: str, process: int) -> BinaryIO:
    """A shard that stays open for its process; the file that the cache drops is closed by its end."""
    return open(path, "rb", buffering=0)


def _pread(path: str, size: int, offset: int) -> bytes:
    """Up to ``size`` bytes, fewer at the end of the file alone; a file is shared by no other process's position."""
    descriptor = _opened(path, os.getpid()).fileno()
    parts: list[bytes] = []
    while size and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)


def write_shard(path: Path, samples: Iterable[tuple[str, bytes, int]]) -> None:
    """Write a shard of samples (name of the image, its bytes, its label), the same bytes for the same samples.

    Raises:
        OSError: when the file cannot be written.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, data, label in samples:
                write_member(archive, name, data)
                write_member(archive, name.partition(".")[0] + LABEL_SUFFIX, str(label).encode())
        file.flush()
        os.fsync(file.fileno())

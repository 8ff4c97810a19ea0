"""Encoded images in shards: tar files as WebDataset has them, read at random access through an index.

A sample is two or more members in a row whose names agree up to the first dot: KEY.jpg (or another suffix of
:data:`isnas.data.decoding.SUFFIXES`) holds the image, KEY.cls the number of its class as text; others are
passed over.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isnas.base.distributed import from_main
from isnas.base.errors import UserError
from isnas.base.files import replacing
from isnas.data.decoding import SUFFIXES
from isnas.data.large.encoded import read_classes

#: So many shards are open at a time, and shuffled as one.
WINDOW = 16

#: What make_shards.py has packed: in the first file while it is at it, in the second one when it is done.
UNFINISHED_FILE, FINISHED_FILE = "unfinished.json", "shards.json"

_LABEL_SUFFIX = ".cls"
_HEADER_BYTES = 512


class Entries(NamedTuple):
    """The samples of a shard: where in it the images begin, their sizes in bytes, their labels; int64 (N,) each."""

    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


class ShardImages:
    """The images of some shards, by shard and by their order in it.

    Args:
        paths: The shards.
        entries: The samples of each.
    """

    def __init__(self, paths: Sequence[Path], entries: Sequence[Entries]) -> None:
        self.paths = [str(path) for path in paths]
        self._offsets, self._sizes, labels = (np.concatenate(column) for column in zip(*entries))
        self._ends = np.cumsum([len(each.labels) for each in entries])
        self.labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self._offsets)

    def name(self, number: int) -> str:
        """The shard of an image, and its name in there."""
        path, offset, _ = self._place(number)
        try:
            header = _pread(path, _HEADER_BYTES, offset - _HEADER_BYTES)
            return f"{path}:{tarfile.TarInfo.frombuf(header, 'utf-8', 'surrogateescape').name}"
        except (OSError, tarfile.TarError):
            return f"{path}:{offset}"

    def read(self, number: int) -> bytes:
        """The bytes of an image.

        Raises:
            UserError: when the shard is gone, cannot be read, or is shorter than it was.
        """
        path, offset, size = self._place(number)
        try:
            data = _pread(path, size, offset)
        except OSError as error:
            raise UserError(f"cannot read the shard {path}: {error.strerror}; fetch or make it anew") from None
        if len(data) < size:
            raise UserError(f"the shard {path} is truncated; fetch or make it anew")
        return data

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
    The class names are those of classes.txt in ``root``; without it, the labels' numbers. Of several processes one
    reads the shards' headers, so all must call this.

    Raises:
        UserError: when there are no shards of a kind or not all of them yet, one is damaged, or a label is beyond
            classes.txt.
    """
    if (root / UNFINISHED_FILE).exists():
        raise UserError(f"the shards in {root} are not all there; let tools/make_shards.py finish its work")
    train, val = (_listed(root, name) for name in ("train", "val"))
    num_classes = 1 + max(int(images.labels.max()) for images in (train, val))
    classes = read_classes(root) or tuple(map(str, range(max(num_classes, 2))))
    for images in (train, val):
        wrong = (images.labels >= len(classes)).nonzero()
        if len(wrong):
            number = int(wrong[0])
            raise UserError(
                f"{images.name(number)} has the label {int(images.labels[number])}, but classes.txt in {root} names "
                f"{len(classes)} classes; give the classes.txt of these shards"
            )
    return classes, train, val


def _tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.tar"))


def _listed(root: Path, name: str) -> ShardImages:
    folder = root / name
    paths = _tars(folder) or [path for path in _tars(root) if name in path.name]
    if not paths:
        raise UserError(f"{root} holds no shards for {name}: neither {name}/*.tar nor *{name}*.tar; see --data_format")
    columns = from_main(lambda: [[torch.from_numpy(array) for array in each] for each in read_index(paths, name)])
    return ShardImages(paths, [Entries(*(column.numpy() for column in each)) for each in columns])


def read_index(paths: Sequence[Path], name: str) -> list[Entries]:
    """The samples of shards of one folder, from index-``name``.npz beside them for those that are as they were then.

    The others are scanned and the index is written anew, unless the folder cannot be written to.

    Raises:
        UserError: when a shard cannot be read or is damaged, or there is no image in any.
    """
    index = paths[0].parent / f"index-{name}.npz"
    try:
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    except OSError as error:
        raise UserError(f"cannot read the shard {error.filename}: {error.strerror}") from None
    known = _read_cache(index)
    entries = [known[state] if state in known else scan_shard(path) for path, state in zip(paths, states)]
    if not sum(len(each.labels) for each in entries):
        raise UserError(f"the shards {paths[0]} ... hold no samples: an image KEY.jpg and its class KEY.cls")
    if known.keys() != {*states}:
        names, sizes, times = zip(*states)
        lengths = [len(each.labels) for each in entries]
        content: dict[str, Any] = {"shards": names, "bytes": sizes, "times": times, "lengths": lengths}
        content |= {key: np.concatenate(column) for key, column in zip(Entries._fields, zip(*entries))}
        try:
            with replacing(index) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, **content)
        except OSError:  # the next start scans them again
            pass
    return entries


def _read_cache(index: Path) -> dict[tuple[str, int, int], Entries]:
    """The samples of each shard in an index by the shard's name, size and time; empty without a sound index."""
    try:
        with np.load(index, allow_pickle=False) as content:
            ends = np.cumsum(content["lengths"])
            parts = zip(*(np.split(content[field], ends[:-1]) for field in Entries._fields))
            states = zip(*(content[key].tolist() for key in ("shards", "bytes", "times")))
            return {(str(name), size, time): Entries(*part) for (name, size, time), part in zip(states, parts)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def scan_shard(path: Path) -> Entries:
    """The samples of a shard, from the headers of its members and the labels.

    Raises:
        UserError: when it cannot be read, is damaged or truncated, or an image has no label.
    """
    found: list[tuple[int, int, int]] = []
    try:
        with open(path, "rb") as file:
            for sample in _samples(file):
                found.append(sample)
    except tarfile.TarError as error:
        raise UserError(f"the shard {path} is damaged or truncated ({error}); fetch or make it anew") from None
    except ValueError as error:
        raise UserError(f"the shard {path} is not as WebDataset has it: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read the shard {path}: {error.strerror}; fetch or make it anew") from None
    columns = np.array(found, np.int64).reshape(-1, 3)
    return Entries(*(np.ascontiguousarray(column) for column in columns.T))


def _samples(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Offset, size and label of every image of a tar file."""
    key, image, label = "", None, None
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            if not member.isreg():
                continue
            folder, _, base = member.name.rpartition("/")
            stem, _, suffix = base.partition(".")
            if f"{folder}/{stem}" != key:
                yield from _whole(key, image, label)
                key, image, label = f"{folder}/{stem}", None, None
            if f".{suffix.lower()}" == _LABEL_SUFFIX:
                label = _label(archive, member)
            elif f".{suffix.lower()}" in SUFFIXES:
                image = member.offset_data, member.size
    yield from _whole(key, image, label)


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    content = archive.extractfile(member)
    text = content.read(40) if content else b""
    try:
        label = int(text)
    except ValueError:
        raise ValueError(f"{member.name} holds {text!r} and not the number of a class") from None
    if label < 0:
        raise ValueError(f"{member.name} holds the negative class {label}")
    return label


def _whole(key: str, image: tuple[int, int] | None, label: int | None) -> Iterator[tuple[int, int, int]]:
    if image and label is None:
        raise ValueError(f"{key.lstrip('/')} has an image but no {_LABEL_SUFFIX} beside it")
    if image and label is not None:
        yield *image, label


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
    with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data, label in samples:
            key = name.partition(".")[0]
            for member, content in ((name, data), (key + _LABEL_SUFFIX, str(label).encode())):
                header = tarfile.TarInfo(member)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))

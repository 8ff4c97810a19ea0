"""Where the images of shards lie: read from the headers of their members, and kept in a file beside the shards.

The file begins with the SHA-256 of what follows as 64 hexadecimal digits. Then come a line of JSON with the shards'
names, bytes, times and numbers of images, and the columns of :class:`Entries` for all of them in turn, as int64 of the
lower byte first. A file that is damaged, or of other shards, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.base.files import replacing
from isnas.base.text import shown
from isnas.data.class_folders import left_behind
from isnas.data.decoding import SUFFIXES
from isnas.data.large.tars import BLOCK, Member, intact, members

LABEL_SUFFIX = ".cls"

_LABEL = re.compile(rb"\s*([0-9]{1,9})\s*")
_LABEL_BYTES = 32
_DIGEST_CHARACTERS = 64
_COLUMN = np.dtype("<i8")
_MOST_HEAD_BYTES = 2**26
_LEAST_SAMPLE_BYTES = 3 * BLOCK  # two headers and a label

#: A shard's name, its size in bytes, and when it was changed, in nanoseconds.
State = tuple[str, int, int]


class Entries(NamedTuple):
    """The samples of a shard: where in it the images begin, their bytes, labels and CRC-32; int64 (N,) each."""

    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    checksums: np.ndarray

    @property
    def digest(self) -> str:
        """Says whether another shard has the same images, labels and places."""
        return hashlib.sha256(b"".join(column.astype(_COLUMN).tobytes() for column in self)).hexdigest()[:16]


def read_index(paths: Sequence[Path], name: str) -> list[Entries]:
    """The samples of shards of one folder, from index-``name``.bin beside them for those that are as they were then.

    The others are scanned and the index is written anew, unless the folder cannot be written to.

    Raises:
        UserError: when a shard cannot be read or is damaged, or there is no image in any.
    """
    index = paths[0].parent / f"index-{name}.bin"
    try:
        states = [(path.name, status.st_size, status.st_mtime_ns) for path in paths for status in [path.stat()]]
    except OSError as error:
        raise UserError(f"cannot read the shard {error.filename}: {error.strerror}; fetch or make it anew") from None
    known = _read_cache(index, sum(size for _, size, _ in states))
    shards = bar(zip(paths, states), "looking at shards", len(paths), delay=SOON)
    entries = [known[state] if state in known else scan_shard(path) for path, state in shards]
    if not sum(len(each.labels) for each in entries):
        raise UserError(f"the shards {paths[0]} ... hold no samples: an image KEY.jpg and its class KEY{LABEL_SUFFIX}")
    if known.keys() != {*states}:
        with suppress(OSError), replacing(index) as temporary:  # without it the next start scans them again
            temporary.write_bytes(_cache(states, entries))
    return entries


def _cache(states: Sequence[State], entries: Sequence[Entries]) -> bytes:
    names, sizes, times = zip(*states)
    head = {"shards": names, "bytes": sizes, "times": times, "images": [len(each.labels) for each in entries]}
    columns = [np.concatenate(column).astype(_COLUMN).tobytes() for column in zip(*entries)]
    content = b"\n".join([json.dumps(head).encode(), b"".join(columns)])
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def _read_cache(index: Path, total_bytes: int) -> dict[State, Entries]:
    """The samples of each shard in an index by the shard's state; empty without one that is sound."""
    try:
        with open(index, "rb") as file:
            most = _MOST_HEAD_BYTES + total_bytes // _LEAST_SAMPLE_BYTES * len(Entries._fields) * _COLUMN.itemsize
            if os.fstat(file.fileno()).st_size > most:
                return {}
            digest, content = file.read(_DIGEST_CHARACTERS + 1), file.read()
        if digest != hashlib.sha256(content).hexdigest().encode() + b"\n":
            return {}
        line, _, columns = content.partition(b"\n")
        head = json.loads(line)
        states = list(zip(head["shards"], head["bytes"], head["times"], strict=True))
        table = np.frombuffer(columns, _COLUMN).astype(np.int64).reshape(len(Entries._fields), sum(head["images"]))
        parts = np.split(table, np.cumsum(head["images"])[:-1], axis=1)
        entries = [Entries(*part) for part in parts]
        sound = all(_fits(each, size) for each, (_, size, _) in zip(entries, states, strict=True))
        return dict(zip(states, entries)) if sound else {}
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return {}


def _fits(entries: Entries, size: int) -> bool:
    """Whether all images lie within a shard of ``size`` bytes."""
    lowest = min((int(column.min(initial=0)) for column in entries[:3]), default=0)
    inside = (entries.offsets >= BLOCK) & (entries.offsets <= size) & (entries.sizes <= size - entries.offsets)
    return lowest >= 0 and bool(inside.all())


def scan_shard(path: Path) -> Entries:
    """The samples of a shard, from the headers of its members and the labels.

    Raises:
        UserError: when it cannot be read, is damaged or truncated, or holds an image without a label, a label without
            an image, a sample twice or one of two images.
    """
    try:
        with open(path, "rb") as file:
            found = list(_samples(file))
    except _NoSampleError as error:
        raise UserError(f"the shard {path} is not as WebDataset has it: {error}") from None
    except ValueError as error:
        raise UserError(f"the shard {path} is damaged or truncated: {error}; fetch or make it anew") from None
    except OSError as error:
        raise UserError(f"cannot read the shard {path}: {error.strerror}; fetch or make it anew") from None
    columns = np.array(found, np.int64).reshape(-1, len(Entries._fields))
    return Entries(*(np.ascontiguousarray(column) for column in columns.T))


class _NoSampleError(ValueError):
    """Members that are no sample of an image and its class."""


def _samples(file: BinaryIO) -> Iterator[tuple[int, int, int, int]]:
    """Offset, size, label and checksum of every image of a tar file."""
    keys: set[str] = set()
    key: str | None = None
    image: Member | None = None
    label: int | None = None
    for member in members(file):
        folder, _, base = member.name.rpartition("/")
        if member.is_folder or left_behind(base):
            continue
        stem, _, suffix = base.partition(".")
        if (found := f"{folder}/{stem}" if folder else stem) != key:
            yield from _whole(key, image, label)
            key, image, label = found, None, None
        kind = f".{suffix.lower()}"
        if kind != LABEL_SUFFIX and kind not in SUFFIXES:
            continue
        if image is None and label is None:
            if key in keys:
                raise _NoSampleError(f"{shown(key)} is there twice; keep one of the two")
            keys.add(found)
        if not member.is_file:
            raise _NoSampleError(f"{shown(member.name)} is a link or a device; put the file itself there")
        if (label if kind == LABEL_SUFFIX else image) is not None:
            raise _NoSampleError(f"{shown(key)} has two {'classes' if kind == LABEL_SUFFIX else 'images'}; keep one")
        if kind == LABEL_SUFFIX:
            label = _label(file, member)
        else:
            image = member
    yield from _whole(key, image, label)


def _label(file: BinaryIO, member: Member) -> int:
    file.seek(member.offset)
    text = file.read(min(member.size, _LABEL_BYTES))
    found = _LABEL.fullmatch(text) if member.size <= _LABEL_BYTES else None
    if member.size <= _LABEL_BYTES and not intact(text, member.checksum):
        raise ValueError(f"{shown(member.name)} holds other bytes than were packed")
    if not found:
        raise _NoSampleError(f"{shown(member.name)} holds {shown(text)} and not the number of a class, 0 or more")
    return int(found[1])


def _whole(key: str | None, image: Member | None, label: int | None) -> Iterator[tuple[int, int, int, int]]:
    if image is not None and label is not None:
        yield image.offset, image.size, label, image.checksum
    elif image is not None:
        raise _NoSampleError(f"{shown(image.name)} is an image without a {LABEL_SUFFIX} beside it")
    elif label is not None:
        known = ", ".join(sorted(SUFFIXES))
        raise _NoSampleError(f"{shown(key)} has a class and no image KEY.SUFFIX, where SUFFIX is one of {known}")

"""Encoded images that stay where they are: files in a folder per class, listed but not opened."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.data.decoding import SUFFIXES

CLASSES_FILE = "classes.txt"


class EncodedImages(Protocol):
    """Numbered images whose bytes are read one at a time, by any process."""

    labels: Tensor

    @property
    def digest(self) -> str:
        """Says whether others are the same images, without a look at what folders hold: names, classes, places."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def name(self, number: int) -> str:
        """Where an image comes from, for a message."""
        ...

    def read(self, number: int) -> bytes:
        """The bytes of an image, as they are stored.

        Raises:
            OSError: when its file cannot be read.
            UserError: when the file that holds it and others is damaged.
        """
        ...

    def shuffled(self, rng: torch.Generator) -> Tensor:
        """All numbers in a random order in which reading them is fast, int64 (N,)."""
        ...


class FolderImages:
    """The files below ``folder``/CLASS, sorted by class and then by path.

    Their names are one string of bytes, which worker processes share with the one that listed them.

    Args:
        folder: The folder of the class folders.
        classes: Their names in the order of the labels.

    Raises:
        UserError: for a class folder without an image.
        OSError: when a folder cannot be read.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        names: list[bytes] = []
        counts = []
        for name in classes:
            found = sorted(os.path.join(name, path) for path in _files_below(folder / name))
            if not found:
                raise UserError(f"the class folder {folder / name} holds no image; add some, or remove it")
            names += map(os.fsencode, found)
            counts.append(len(found))
        self._names = b"".join(names)
        self._ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
        self.labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def digest(self) -> str:
        """Says whether other files have the same names and classes."""
        return hashlib.sha256(self._names + self._ends.tobytes() + self.labels.numpy().tobytes()).hexdigest()[:16]

    def path(self, number: int) -> str:
        """Where an image is below the folder."""
        start = self._ends[number - 1] if number else 0
        return os.fsdecode(self._names[start : self._ends[number]])

    def name(self, number: int) -> str:
        """The path of an image."""
        return os.path.join(self.folder, self.path(number))

    def read(self, number: int) -> bytes:
        """The file of an image."""
        with open(self.name(number), "rb") as file:
            return file.read()

    def shuffled(self, rng: torch.Generator) -> Tensor:
        """A random order of all."""
        return torch.randperm(len(self), generator=rng)


def read_classes(root: Path) -> tuple[str, ...] | None:
    """The class names in the data folder's classes.txt, one a line in the order of their labels; None without the file.

    Raises:
        UserError: when the file cannot be read, is empty or names a class twice.
    """
    path = root / CLASSES_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if len(names) < 2 or repeated:
        fault = f"names {', '.join(repeated)} twice" if repeated else "names fewer than 2 classes"
        raise UserError(f"{path} {fault}; it must hold every class once, one a line in the order of their labels")
    return names


def list_folders(root: Path) -> tuple[tuple[str, ...], FolderImages, FolderImages]:
    """The classes below ``root``/train and ``root``/val, and the images of both; no file is opened.

    The classes are in the order of classes.txt, if there is one, and else sorted by name.

    Raises:
        UserError: when a folder is missing or empty, or train, val and classes.txt differ in their classes.
    """
    try:
        train, val = (_folders_in(root / name) for name in ("train", "val"))
        classes = read_classes(root)
        if classes is not None:
            _require_same(root, CLASSES_FILE, classes, "train", train)
        _require_same(root, "train", train, "val", val)
        order = classes or tuple(train)
        return order, FolderImages(root / "train", order), FolderImages(root / "val", order)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror}") from None


def _folders_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; --data must hold train/CLASS and val/CLASS, or shards")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise UserError(f"{folder} holds fewer than 2 class folders; --data must hold train/CLASS and val/CLASS")
    return names


def _files_below(folder: Path) -> Iterable[str]:
    """Image files below a folder, relative to it; not what is hidden, no folder twice."""
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder above or beside
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = os.path.relpath(place, folder)
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield name if inner == "." else os.path.join(inner, name)


def _raise(error: OSError) -> None:
    raise error


def _require_same(root: Path, first: str, names: Sequence[str], second: str, others: Sequence[str]) -> None:
    only_first, only_second = sorted({*names} - {*others}), sorted({*others} - {*names})
    faults = [f"{first} has {_some(only_first)}, which {second} has not"] if only_first else []
    faults += [f"{second} has {_some(only_second)}, which {first} has not"] if only_second else []
    if faults:
        raise UserError(f"the classes below {root} differ: {'; '.join(faults)}; make them agree")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

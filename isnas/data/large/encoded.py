"""Encoded images that stay where they are: files in a folder per class, listed but not opened."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.base.text import read_text
from isnas.data.class_folders import (
    TEST,
    VAL,
    class_folders,
    find_parts,
    hint,
    images_below,
    require_class_name,
    require_same_classes,
    some,
)

CLASSES_FILE = "classes.txt"

_LAYOUT = "--data must hold train/CLASS and val/CLASS"

#: Of how many files of a class the digest looks at the size and the first bytes, and at how many bytes.
_SAMPLED_FILES, _SAMPLED_BYTES = 4, 2**12


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
        UserError: for a class folder without an image, and as :func:`isnas.data.class_folders.images_below`.
        OSError: when a folder cannot be read.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        names: list[bytes] = []
        counts = []
        composed = {unicodedata.normalize("NFC", name) for name in classes}
        for name in bar(classes, "listing images", delay=SOON):
            found = images_below(folder / name, composed)
            if not found:
                raise UserError(f"the class folder {folder / name} holds no image; add some, or remove it")
            names += (os.fsencode(os.path.join(name, path)) for path in found)
            counts.append(len(found))
        self._names = b"".join(names)
        self._ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
        self.labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def digest(self) -> str:
        """Says whether other files have the same names and classes, and a few of each class the same contents.

        Those are :data:`_SAMPLED_FILES` spread over the class: to look at a million files takes minutes where they are
        on a network, and other images under the same names differ in these too.
        """
        digest = hashlib.sha256(self._names + self._ends.tobytes() + self.labels.numpy().tobytes())
        ends = torch.bincount(self.labels).cumsum(0).tolist()
        for first, end in bar(zip([0, *ends], ends), "looking at images", len(ends), delay=SOON):
            for number in sorted({*np.linspace(first, end - 1, _SAMPLED_FILES).astype(int).tolist()}):
                digest.update(self._sample(number))
        return digest.hexdigest()[:16]

    def _sample(self, number: int) -> bytes:
        try:
            with open(self.name(number), "rb") as file:
                return os.fstat(file.fileno()).st_size.to_bytes(8, "little") + file.read(_SAMPLED_BYTES)
        except OSError:  # a bad image, which is told of when it is needed
            return b""

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
        lines = read_text(path).split("\n")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    names = tuple(unicodedata.normalize("NFC", line.strip()) for line in lines if line.strip())
    for name in names:
        require_class_name(name, f"{path}: {some([name])}")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if len(names) < 2 or repeated:
        fault = f"names {some(repeated)} twice" if repeated else "names fewer than 2 classes"
        raise UserError(f"{path} {fault}; it must hold every class once, one a line in the order of their labels")
    return names


def list_folders(root: Path) -> tuple[tuple[str, ...], FolderImages, FolderImages]:
    """The classes below the folders for training and validation in ``root``, and the images of both.

    The folders are train and val, or are called as :func:`isnas.data.class_folders.role` understands it. The classes
    are in the order of classes.txt, if there is one, and else sorted by name. No file but that is opened.

    Raises:
        UserError: when a folder is missing or empty, or train, val and classes.txt differ in their classes.
    """
    try:
        parts = find_parts(root, (VAL, TEST), f"{_LAYOUT}, or shards")
        if parts is None:
            raise UserError(f"there is no folder {root / 'train'}{hint(root)}; {_LAYOUT}, or shards")
        train, val = (class_folders(root / name, _LAYOUT) for name in parts)
        classes = read_classes(root)
        if classes is not None:
            require_same_classes(root, CLASSES_FILE, classes, parts[0], tuple(train))
        require_same_classes(root, parts[0], tuple(train), parts[1], tuple(val))
        order = classes or tuple(train)
        images = [FolderImages(root / name, [own[c] for c in order]) for name, own in zip(parts, (train, val))]
        return order, images[0], images[1]
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror}") from None

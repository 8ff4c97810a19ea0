"""Readers of the file formats: idx (MNIST and its relatives), the pickled batches of CIFAR, and SVHN's MATLAB files.

A file that is not whole, or not of its format, is a :class:`UserError` that names it.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from isnas.base.errors import UserError
from isnas.base.text import one_line, shown
from isnas.data.small.capacity import MEMORY_LIMIT_BYTES
from isnas.data.small.matlab import matrices
from isnas.data.small.pickles import read_pickle

_REMEDY = "remove it and fetch it again"


def read_idx(path: Path, dimensions: int, most: int = MEMORY_LIMIT_BYTES) -> np.ndarray:
    """The unsigned bytes in an idx file, plain or gzipped (``.gz``), as an array with ``dimensions`` axes.

    An idx file is a big-endian header, then the values: the bytes 0, 0, 8 (meaning uint8) and the number of axes,
    four bytes per axis with its length, and one byte per value. A file is read, and inflated, as far as its header
    promises, if that is ``most`` values at most.

    Raises:
        UserError: when the file is unreadable, truncated, corrupt, of another kind or of more values.
    """
    with _opened(path) as file:
        header = _start(file, 4 + 4 * dimensions)
        if len(header) < 4 + 4 * dimensions:
            raise UserError(f"{path} is truncated: {len(header)} bytes are less than its header; {_REMEDY}")
        magic = bytes((0, 0, 8, dimensions))
        if header[:4] != magic:
            raise UserError(
                f"{path} starts with {header[:4].hex()}, an idx file of its kind with {magic.hex()}; {_REMEDY}"
            )
        shape = struct.unpack(f">{dimensions}I", header[4:])
        promised = math.prod(shape)
        if promised > most:
            raise UserError(
                f"the header of {path} promises {promised:,} values, more than the {most:,} of its kind; {_REMEDY}"
            )
        values = _start(file, promised + 1)
        if len(values) != promised:
            found = "more" if len(values) > promised else f"{len(values):,}"
            raise UserError(f"{path} holds {found} values where its header promises {promised:,}; {_REMEDY}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def read_cifar_batch(path: Path, labels_key: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 32, 32, 3), and labels, int64 (N,), in one pickled batch of CIFAR-10 or CIFAR-100.

    Nothing that the file names is called; see :mod:`isnas.data.small.pickles`.

    Args:
        path: The file.
        labels_key: Under which key the pickled dictionary holds the labels: "labels", or "fine_labels" in CIFAR-100.
        num_classes: How many classes there are; labels are 0..num_classes - 1.

    Raises:
        UserError: when the file is unreadable, truncated, corrupt or of another kind.
    """
    entry = _unpickled(path)
    if not isinstance(entry, dict) or not {"data", labels_key} <= set(entry):
        raise UserError(
            f"{path} is not a batch of CIFAR-{num_classes} (a pickled dictionary with data and {labels_key}); {_REMEDY}"
        )
    rows, labels = entry["data"], entry[labels_key]
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or not rows.size or rows.shape[1:] != (3 * 32 * 32,):
        raise UserError(f"{path}: data is not an array of rows of 3,072 bytes; {_REMEDY}")
    known = frozenset(range(num_classes))
    are_known = isinstance(labels, list) and all(type(label) is int and label in known for label in labels)
    if not are_known or len(labels) != len(rows):
        raise UserError(
            f"{path} holds {len(rows)} images but no list of as many labels 0..{num_classes - 1}; {_REMEDY}"
        )
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, np.int64)


def read_svhn(path: Path, most: int = MEMORY_LIMIT_BYTES // (3 * 32 * 32)) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 32, 32, 3), and labels, int64 (N,), in one MATLAB file of SVHN's cropped digits.

    It holds X, uint8 (32, 32, 3, N), and y (N, 1) with labels 1..10, where 10 means the digit 0; N is ``most`` at most.
    The images are a view of X with its axes in another order.

    Raises:
        UserError: when the file is unreadable, truncated, corrupt, of another kind or of more images.
    """
    found = _svhn_arrays(path, most)
    if len(found) < 2:
        raise UserError(f"{path} is not a file of SVHN (MATLAB arrays X and y); {_REMEDY}")
    pixels, marks = found["X"], found["y"]
    count = pixels.shape[3]
    if marks.shape != (count, 1) or not np.isin(marks, np.arange(1, 11)).all():
        raise UserError(f"{path} holds {count} images but no column of as many labels 1..10; {_REMEDY}")
    return pixels.transpose(3, 0, 1, 2), marks.ravel().astype(np.int64) % 10


def _svhn_arrays(path: Path, most: int) -> dict[str, np.ndarray]:
    """X and y, of which only what has the right type, shape and size is read."""
    found: dict[str, np.ndarray] = {}
    try:
        with _opened(path) as file:
            for matrix in matrices(file):
                name, kind, shape = matrix.name, matrix.kind, matrix.shape
                if name in found:
                    raise ValueError(f"it holds {name} twice")
                if name == "X" and (kind != np.uint8 or shape[:-1] != (32, 32, 3) or not shape[-1]):
                    raise UserError(f"{path}: X is {kind} {shown(shape)}, not uint8 (32, 32, 3, N); {_REMEDY}")
                if name in ("X", "y") and math.prod(shape) > most * (3 * 32 * 32 if name == "X" else 1):
                    raise UserError(f"{path}: {name} is {shown(shape)}, more than {most:,} images; {_REMEDY}")
                if name in ("X", "y"):
                    found[name] = matrix.read()
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} is truncated or not a MATLAB file of version 5 ({error}); {_REMEDY}") from None
    return found


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The content of a file, unpacked if it is gzipped; what is wrong with it is a UserError that names it."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except EOFError:
        raise UserError(f"{path} is truncated; {_REMEDY}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}); {_REMEDY}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _start(file: BinaryIO, count: int) -> bytearray:
    """The next ``count`` bytes of a file, or as many as there are, of which no more than those are taken."""
    data = bytearray()
    while piece := file.read(min(count - len(data), 2**20)):
        data += piece
    return data


def _unpickled(path: Path) -> Any:
    try:
        return read_pickle(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        reason = one_line(error)
        raise UserError(f"{path} is truncated or not a pickle of arrays of bytes ({reason}); {_REMEDY}") from None

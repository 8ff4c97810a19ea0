"""Readers of the file formats: idx (MNIST and its relatives), the pickled batches of CIFAR, and SVHN's MATLAB files.

A file that is not whole, or not of its format, is a :class:`UserError` that names it.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from isnas.base.errors import UserError
from isnas.base.text import printable
from isnas.data.small.pickles import read_pickle

_REMEDY = "remove it and fetch it again"


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The unsigned bytes in an idx file, plain or gzipped (``.gz``), as an array with ``dimensions`` axes.

    An idx file is a big-endian header, then the values: the bytes 0, 0, 8 (meaning uint8) and the number of axes,
    four bytes per axis with its length, and one byte per value.

    Raises:
        UserError: when the file is unreadable, truncated, corrupt or of another kind.
    """
    content = _unpacked(path)
    magic, header = bytes((0, 0, 8, dimensions)), 4 + 4 * dimensions
    if len(content) < header:
        raise UserError(f"{path} is truncated: {len(content)} bytes are less than its header; {_REMEDY}")
    if content[:4] != magic:
        raise UserError(
            f"{path} starts with {content[:4].hex()}, an idx file of its kind with {magic.hex()}; {_REMEDY}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise UserError(f"{path} holds {len(content)} bytes where its header promises {expected}; {_REMEDY}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


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


def read_svhn(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 32, 32, 3), and labels, int64 (N,), in one MATLAB file of SVHN's cropped digits.

    It holds X, uint8 (32, 32, 3, N), and y (N, 1) with labels 1..10, where 10 means the digit 0. The images are a
    view of X with its axes in another order.

    Raises:
        UserError: when the file is unreadable, truncated, corrupt or of another kind.
    """
    entry = _matlab_variables(path, "X", "y")
    pixels, marks = entry.get("X"), entry.get("y")
    if not isinstance(pixels, np.ndarray) or not isinstance(marks, np.ndarray):
        raise UserError(f"{path} is not a file of SVHN (MATLAB arrays X and y); {_REMEDY}")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3) or not pixels.size:
        raise UserError(f"{path}: X is {pixels.dtype} {pixels.shape}, not uint8 (32, 32, 3, N); {_REMEDY}")
    count = pixels.shape[3]
    if marks.shape != (count, 1) or not np.isin(marks, np.arange(1, 11)).all():
        raise UserError(f"{path} holds {count} images but no column of as many labels 1..10; {_REMEDY}")
    return pixels.transpose(3, 0, 1, 2), marks.ravel().astype(np.int64) % 10


def _matlab_variables(path: Path, *names: str) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        with path.open("rb") as file:
            return loadmat(file, variable_names=names)
    except Exception as error:  # a damaged file may fail in any way
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        raise UserError(f"{path} is truncated or not a MATLAB file of version 5 ({error}); {_REMEDY}") from None


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except EOFError:
        raise UserError(f"{path} is truncated; {_REMEDY}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}); {_REMEDY}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _unpickled(path: Path) -> Any:
    try:
        return read_pickle(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        reason = printable(str(error)[:200])
        raise UserError(f"{path} is truncated or not a pickle of arrays of bytes ({reason}); {_REMEDY}") from None

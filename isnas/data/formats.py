"""Readers of the two file formats: idx (MNIST and its relatives) and the pickled batches of CIFAR-10.

A file that is not whole, or not of its format, is a :class:`UserError` that names it.
"""

from __future__ import annotations

import codecs
import gzip
import math
import pickle
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isnas.base.errors import UserError

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


def read_cifar_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 32, 32, 3), and labels, int64 (N,), in one pickled batch of CIFAR-10.

    The pickle may build numpy arrays and Python's own containers, numbers and strings; it can call nothing else.

    Raises:
        UserError: when the file is unreadable, truncated, corrupt or of another kind.
    """
    entry = _unpickled(path)
    if not isinstance(entry, dict) or not {"data", "labels"} <= set(entry):
        raise UserError(f"{path} is not a batch of CIFAR-10 (a pickled dictionary with data and labels); {_REMEDY}")
    rows, labels = entry["data"], entry["labels"]
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or not rows.size or rows.shape[1:] != (3 * 32 * 32,):
        raise UserError(f"{path}: data is not an array of rows of 3,072 bytes; {_REMEDY}")
    if not isinstance(labels, list) or len(labels) != len(rows) or not all(label in range(10) for label in labels):
        raise UserError(f"{path} holds {len(rows)} images but no list of as many labels 0..9; {_REMEDY}")
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, np.int64)


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


class _ArrayUnpickler(pickle.Unpickler):
    _reconstruct = np.empty(0).__reduce__()[0]
    known: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("_codecs", "encode"): codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return self.known[module, name]


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy: the files of 2009 hold a dtype whose alignment flag is an integer
            return _ArrayUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # a damaged pickle may fail in any way
        raise UserError(f"{path} is truncated or not a pickle of arrays ({error}); {_REMEDY}") from None

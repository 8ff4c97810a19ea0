"""Arrays of numbers in MATLAB's files of version 5, as far as they are asked for.

After a header of 128 bytes come elements: their type and length, four bytes each, and their content. A matrix is an
element that holds elements: flags, axes, name and values; most files have each matrix in a compressed element.
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
_INT32, _UINT32 = 5, 6

#: Values by the types of elements, and the arrays of the classes of matrices, which values may be stored shorter than.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}

_MOST_AXES, _MOST_NAME_BYTES, _PIECE = 8, 64, 2**20


@dataclass(frozen=True)
class Matrix:
    """A matrix whose values are not read yet.

    ``kind`` is the type of its values; ``read``, to be called before the next matrix is asked for, returns them, whose
    first axis varies fastest, and raises a ValueError when they are not as many.
    """

    name: str
    kind: np.dtype
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def matrices(file: BinaryIO) -> Iterator[Matrix]:
    """The matrices of real numbers in a file, one after the other; other variables are passed over.

    No more is read, or inflated, than what is asked for.

    Raises:
        ValueError: when the file is not whole or not of this format; the message says why.
    """
    header = file.read(128)
    if len(header) < 128 or header[124:] not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise ValueError("its header is another")
    order = "<" if header[126:] == b"IM" else ">"
    while tag := file.read(8):
        kind, length = _unpacked(f"{order}II", tag)
        start = file.tell()
        if kind == _COMPRESSED:
            source: _Plain | _Inflated = _Inflated(file, length)
            kind, _ = _unpacked(f"{order}II", source.read(8))
        else:
            source = _Plain(file, length)
        if kind == _MATRIX:
            found = _matrix(source, order)
            if found:
                yield found
        if start + length > file.seek(0, 2):
            raise ValueError("it ends within a variable")
        file.seek(start + length)


class _Plain:
    """An element of ``length`` bytes from where the file is."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file, self.left = file, length

    def read(self, count: int) -> bytearray:
        """The next ``count`` bytes."""
        data = bytearray()
        while len(data) < count:
            piece = self._piece(min(count - len(data), _PIECE))
            if not piece:
                raise ValueError("it ends within a variable")
            data += piece
        return data

    def end(self) -> None:
        """Raise a ValueError unless the element ends here, and was whole."""

    def _piece(self, most: int) -> bytes:
        piece = self.file.read(min(most, self.left))
        self.left -= len(piece)
        return piece


class _Inflated(_Plain):
    """The same of a compressed element."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        super().__init__(file, length)
        self.inflater = zlib.decompressobj()

    def end(self) -> None:
        self._piece(1)
        if not self.inflater.eof:
            raise ValueError("a variable is longer than its values")

    def _piece(self, most: int) -> bytes:
        try:
            while not self.inflater.eof:
                packed = self.inflater.unconsumed_tail or super()._piece(_PIECE)
                piece = self.inflater.decompress(packed, most)
                if piece or not packed:
                    return piece
        except zlib.error:
            raise ValueError("it is not compressed as it says") from None
        return b""


def _matrix(source: _Plain, order: str) -> Matrix | None:
    kind, flags = _element(source, order, 8)
    if kind != _UINT32 or len(flags) != 8:
        raise ValueError("a variable has no flags")
    bits = struct.unpack(f"{order}II", flags)[0]
    number, is_complex = bits & 0xFF, bits & 0x800
    if number not in _CLASSES or is_complex:
        return None
    kind, axes = _element(source, order, 4 * _MOST_AXES)
    if kind != _INT32 or len(axes) % 4 or len(axes) < 8:
        raise ValueError("a variable has no axes")
    shape = struct.unpack(f"{order}{len(axes) // 4}i", axes)
    if min(shape) < 0:
        raise ValueError("a variable has an axis of a negative length")
    _, name = _element(source, order, _MOST_NAME_BYTES)
    final = np.dtype(_CLASSES[number])

    def read() -> np.ndarray:
        stored, values = _element(source, order, math.prod(shape) * final.itemsize)
        source.end()
        if stored not in _STORED:
            raise ValueError("a variable has values of an unknown type")
        array = np.frombuffer(values, np.dtype(order + _STORED[stored]))
        if len(array) != math.prod(shape) or not np.can_cast(array.dtype, final):
            raise ValueError("a variable has other values than it says")
        return array.astype(final, copy=False).reshape(shape, order="F")

    return Matrix(name.decode("latin-1"), final, shape, read)


def _element(source: _Plain, order: str, most: int) -> tuple[int, bytearray]:
    """The type and the content of the next element, of ``most`` bytes at most; short ones stand within their tag."""
    tag = source.read(8)
    kind, length = struct.unpack(f"{order}II", tag)
    if kind >> 16:
        kind, length = kind & 0xFFFF, kind >> 16
        if length > 4:
            raise ValueError("a variable is damaged")
        return kind, tag[4 : 4 + length]
    if length > most:
        raise ValueError("a variable is longer than its axes say")
    content = source.read(length)
    source.read(-length % 8)
    return kind, content


def _unpacked(pattern: str, data: bytes | bytearray) -> tuple[int, ...]:
    if len(data) != struct.calcsize(pattern):
        raise ValueError("it ends within a variable")
    return struct.unpack(pattern, data)

"""What Pillow does not see to in an image file: metadata that keeps it from opening, a PNG that ends too early."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Literal

_PNG = b"\x89PNG\r\n\x1a\n"

#: Chunks of a PNG that decide over its pixels, and tags that do so in a TIFF: sizes, strips and tiles, how the values
#: are packed and what they mean, from the specification and from its supplements for JPEG.
_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_PNG_METADATA = frozenset(
    (
        *(b"cHRM", b"cICP", b"gAMA", b"iCCP", b"mDCV", b"cLLI", b"sBIT", b"sRGB", b"bKGD", b"hIST", b"pHYs", b"sPLT"),
        *(b"eXIf", b"tIME", b"iTXt", b"tEXt", b"zTXt"),
    )
)
_TIFF_TAGS = frozenset(
    (
        *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325),
        *(332, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
    )
)

#: The red, green and blue samples of a pixel in a PNG, or whatever else its colour type has.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

#: First row and column, and their steps, of the seven passes of an interlaced PNG.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def without_metadata(data: bytes) -> bytes | None:
    """The same image without what has nothing to do with its pixels; None where nothing of the kind is known.

    Orientation goes with the rest. Known are PNG (its further chunks), TIFF (further tags of the first page) and AVIF
    (EXIF and XMP).
    """
    if data.startswith(_PNG):
        return _PNG + b"".join(chunk for kind, chunk in _chunks(data) if not _is_png_metadata(kind, chunk))
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _plain_tiff(data)
    if data[4:8] == b"ftyp":  # of an item's entry the type: it becomes one that nobody knows
        return re.sub(rb"(infe\x02.{7})(?:Exif|mime)", rb"\1none", data, flags=re.DOTALL)
    return None


def require_checksums(data: bytes) -> None:
    """Raise a ValueError when the pixels in a PNG are not those that were written, which Pillow does not look at."""
    for kind, chunk in _chunks(data):
        if kind in _PNG_CHUNKS and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise ValueError(f"the checksum of its {kind.decode()} does not match")
        if kind == b"IEND":
            break


def is_whole_png(data: bytes) -> bool:
    """Whether the pixels in a PNG are as many as its header says; as its header says."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    missing = 0
    for top, left, down, right in _PASSES if interlaced else ((0, 0, 1, 1),):
        rows, columns = max(-(-(height - top) // down), 0), max(-(-(width - left) // right), 0)
        missing += rows * (1 + -(-columns * depth * _SAMPLES[colour] // 8)) if columns else 0
    inflater = zlib.decompressobj()
    for kind, chunk in _chunks(data):
        packed = chunk[8:-4] if kind == b"IDAT" else b""
        while packed and missing > 0 and not inflater.eof:
            missing -= len(inflater.decompress(packed, 2**20))
            packed = inflater.unconsumed_tail
    return missing <= 0 or missing <= len(inflater.flush())  # flush inflates all that is left


def _is_png_metadata(kind: bytes, chunk: bytes) -> bool:
    """A kind that nobody knows is metadata if it has its checksum; else it may be a damaged name of another kind."""
    if kind in _PNG_CHUNKS or kind in _PNG_METADATA:
        return kind in _PNG_METADATA
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind of each chunk of a PNG, and the chunk with its length and its checksum."""
    place = len(_PNG)
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place:end]
        place = end


def _plain_tiff(data: bytes) -> bytes:
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    start = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[start : start + 2], order)
    places = range(start + 2, start + 2 + 12 * count, 12)
    entries = [data[place : place + 12] for place in places]
    kept = [entry for entry in entries if int.from_bytes(entry[:2], order) in _TIFF_TAGS]
    directory = len(kept).to_bytes(2, order) + b"".join(kept) + bytes(4)  # no further page
    return data[:start] + directory + data[start + len(directory) :]

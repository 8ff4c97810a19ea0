"""The members of a tar file, read strictly: whatever does not belong there is an error, where others stop in silence.

A tar file has a checksum for every header and none for what a member holds. :func:`write_member` puts the CRC-32 of
the content where the name of the owner would be; readers of tar files take no notice, and :func:`members` finds it.
"""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

from isnas.base.text import shown

BLOCK = 512

#: The checksum of a member that has none.
NO_CHECKSUM = -1

#: Two empty blocks close a tar file; more fill up its last record.
_END_BYTES = 2 * BLOCK
_RECORD = re.compile(rb"([1-9]\d{0,6}) ([^=]+)=")
_MOST_EXTRA_BYTES = 2**20
_PIECE_BYTES = 2**20
_EXTRA_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_CHECKSUM = re.compile(r"crc32:([0-9a-f]{8})")


class Member(NamedTuple):
    """A member of a tar file; of what is no file, such as a link, there is no content."""

    name: str
    offset: int  #: where its content begins, in bytes
    size: int  #: of its content, in bytes
    is_file: bool
    is_folder: bool
    checksum: int  #: the CRC-32 of the content as it was packed, or :data:`NO_CHECKSUM`


def members(file: BinaryIO) -> Iterator[Member]:
    """The members of a tar file (ustar, GNU or pax) in their order, until the empty blocks that must close it.

    Raises:
        ValueError: when a header is damaged, the file ends too early or goes on behind its end, or it holds what is
            not read here (sparse files); the message says where.
    """
    end = os.fstat(file.fileno()).st_size
    offset, name = 0, ""
    records: dict[str, str] = {}
    for_all: dict[str, str] = {}
    while any(block := _read(file, offset, BLOCK, end)):
        header = _header(block, offset)
        offset += BLOCK
        if header.type in _EXTRA_TYPES:
            (for_all if header.type == tarfile.XGLTYPE else records).update(_records(file, offset, header.size, end))
        elif header.type == tarfile.GNUTYPE_LONGNAME:
            name = _text(_extra(file, offset, header.size, end).rstrip(b"\0"))
        elif header.type != tarfile.GNUTYPE_LONGLINK:
            both = for_all | records
            name = name or both.get("path") or header.name
            if header.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in both):
                raise ValueError(f"{shown(name)} is stored as a sparse file")
            header.size = _size(both["size"]) if "size" in both else header.size
            if not header.isreg() and header.type in tarfile.SUPPORTED_TYPES:
                header.size = 0
            _require_room(header.size, offset, end)
            yield Member(name, offset, header.size, header.isreg(), header.isdir(), _checksum(header))
            name, records = "", {}
        _require_room(header.size, offset, end)
        offset += -(-header.size // BLOCK) * BLOCK
    if name or records:
        raise ValueError(f"the member to which the header before byte {offset} belongs is missing")
    _require_end(file, offset, end)


def write_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a tar file, the same bytes for the same name and content."""
    header = tarfile.TarInfo(name)
    header.size, header.uname = len(content), f"crc32:{zlib.crc32(content):08x}"
    archive.addfile(header, BytesIO(content))


def intact(content: bytes, checksum: int) -> bool:
    """Whether the content of a member is what was packed, as far as there is a checksum."""
    return checksum in (NO_CHECKSUM, zlib.crc32(content))


def header_before(block: bytes) -> tuple[str, int]:
    """The name in the block before a member's content, as far as that block holds it, and the size.

    Raises:
        ValueError: when it is no header.
    """
    header = _header(block, 0)
    return header.name, header.size


def _header(block: bytes, offset: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise ValueError(f"the header at byte {offset} is damaged: {error}") from None


def _read(file: BinaryIO, offset: int, size: int, end: int) -> bytes:
    """Bytes that must be there."""
    if offset + size > end:
        raise ValueError(f"it ends at byte {end} without the empty blocks that close a tar file")
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise ValueError("it is shorter than it was")
    return data


def _require_room(size: int, offset: int, end: int) -> None:
    if not 0 <= size <= end - offset:
        raise ValueError(f"the header before byte {offset} promises {shown(size)} bytes, and {end - offset} follow")


def _extra(file: BinaryIO, offset: int, size: int, end: int) -> bytes:
    if not 0 <= size <= _MOST_EXTRA_BYTES:
        raise ValueError(f"the header before byte {offset} promises a name or attributes of {shown(size)} bytes")
    return _read(file, offset, size, end)


def _records(file: BinaryIO, offset: int, size: int, end: int) -> dict[str, str]:
    """Attributes as pax has them: each a line "LENGTH KEY=VALUE", of LENGTH bytes with the line's end."""
    data, place, found = _extra(file, offset, size, end).rstrip(b"\0"), 0, {}
    while place < len(data):
        match = _RECORD.match(data, place)
        last = place + int(match[1]) - 1 if match else 0
        if not match or last < match.end() or data[last : last + 1] != b"\n":
            raise ValueError(f"the attributes at byte {offset} are damaged")
        found[_text(match[2])] = _text(data[match.end() : last])
        place = last + 1
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _size(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"an attribute gives the size {shown(text)}")
    return int(text)


def _checksum(header: tarfile.TarInfo) -> int:
    match = _CHECKSUM.fullmatch(header.uname)
    return int(match[1], 16) if match else NO_CHECKSUM


def _require_end(file: BinaryIO, offset: int, end: int) -> None:
    """From ``offset`` on there must be zeros alone, and enough of them."""
    _read(file, offset, _END_BYTES, end)
    file.seek(offset)
    while piece := file.read(_PIECE_BYTES):
        if piece.count(0) < len(piece):
            raise ValueError(f"it goes on behind its end at byte {offset}")

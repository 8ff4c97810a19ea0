"""Tar files are read as tarfile reads them, and what it passes over in silence is an error."""

import io
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path

import pytest

from isnas.data.large.tars import members, write_member

LONG = "folder/" + "n" * 150 + "/ü.jpg"


def read(path: Path) -> list[tuple[str, bytes]]:
    """The files in a tar file by the places that are found here."""
    data = path.read_bytes()
    with open(path, "rb") as file:
        return [(each.name, data[each.offset : each.offset + each.size]) for each in members(file) if each.is_file]


def by_tarfile(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        return [(each.name, archive.extractfile(each).read()) for each in archive if each.isreg()]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_is_read_alike(tmp_path, form):
    with tarfile.open(tmp_path / "a.tar", "w", format=form, pax_headers={"comment": "one for all"}) as archive:
        names = ["a.jpg", "/absolute.jpg", "x" * 90 + "/" + "y" * 90, ""]
        names += [] if form == tarfile.USTAR_FORMAT else [LONG]
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = len(name)
            archive.addfile(header, io.BytesIO(name.encode()[: len(name)]))
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            header = tarfile.TarInfo("z" * 70)
            header.type, header.linkname, header.size = kind, "l" * 90, 700
            archive.addfile(header)
        archive.addfile(tarfile.TarInfo("last"))
    assert read(tmp_path / "a.tar") == by_tarfile(tmp_path / "a.tar")
    assert len(read(tmp_path / "a.tar")) == len(names) + 1


@pytest.mark.skipif(not shutil.which("tar"), reason="there is no tar")
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_what_the_tar_command_writes_is_read_alike(tmp_path, form):
    folder = tmp_path / "files"
    folder.mkdir()
    names = ["a.jpg", "b c.cls", "n" * 80] + ([] if form in ("v7", "ustar") else ["m" * 150])
    for number, name in enumerate(names):
        (folder / name).write_bytes(bytes([number + 1]) * (511 + number))
    (folder / "link").symlink_to("a.jpg")
    subprocess.run(["tar", f"--format={form}", "-cf", tmp_path / "a.tar", "files"], cwd=tmp_path, check=True)
    assert read(tmp_path / "a.tar") == by_tarfile(tmp_path / "a.tar")
    assert len(read(tmp_path / "a.tar")) == len(names)


def packed(path: Path, names: str = "ab") -> bytes:
    """Members of 600 bytes each, so that one begins at every 1,536th byte."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            write_member(archive, f"{name}.jpg", name.encode() * 600)
    return path.read_bytes()


def test_the_checksum_is_where_no_reader_of_tar_files_minds_it(tmp_path):
    packed(tmp_path / "a.tar")
    with open(tmp_path / "a.tar", "rb") as file:
        assert [each.checksum for each in members(file)] == [zlib.crc32(b"a" * 600), zlib.crc32(b"b" * 600)]
    assert by_tarfile(tmp_path / "a.tar") == [("a.jpg", b"a" * 600), ("b.jpg", b"b" * 600)]


def attributes(content: bytes) -> bytes:
    """A pax header with this content, whatever it is, padded to whole blocks."""
    header = tarfile.TarInfo("attributes")
    header.type, header.size = tarfile.XHDTYPE, len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + b"\0" * (-len(content) % 512)


def sized(data: bytes, field: bytes) -> bytes:
    """The first header with another size in it and the right checksum."""
    block = data[:124] + field + data[136:148] + b" " * 8 + data[156:512]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + data[512:]


SPOILT = {
    "a bit of the second header": (
        lambda data: data[:1540] + bytes([data[1540] ^ 4]) + data[1541:],
        "at byte 1536 is dam",
    ),
    "cut between members": (lambda data: data[:1536], "ends at byte 1536 without the empty blocks"),
    "cut in a header": (lambda data: data[:1600], "ends at byte 1600 without the empty blocks"),
    "cut in a member": (lambda data: data[:2500], "promises 600 bytes, and 452 follow"),
    "one empty block": (lambda data: data[: 3072 + 512], "without the empty blocks"),
    "two archives in a row": (lambda data: data + data, "goes on behind its end at byte 3072"),
    "an empty file": (lambda data: b"", "ends at byte 0"),
    "a negative size": (lambda data: sized(data, b"-0000000777\0"), "promises -511 bytes"),
    "a size of 2^80": (lambda data: sized(data, b"\x80\0" + (2**79).to_bytes(10)), "promises 6.* bytes"),
    "attributes without length": (lambda data: attributes(b"size=3\n") + data, "attributes at byte 512 are damaged"),
    "attributes beyond their end": (
        lambda data: attributes(b"99 size=3\n") + data,
        "attributes at byte 512 are damaged",
    ),
    "a size that is no number": (lambda data: attributes(b"10 size=x\n") + data, "gives the size 'x'"),
    "a size of many digits": (
        lambda data: attributes(b"58 size=" + b"9" * 49 + b"\n") + data,
        "gives the size '9{10,}",
    ),
    "a smaller size": (lambda data: attributes(b"10 size=1\n") + data, "the header at byte 2048 is damaged"),
    "a sparse file": (lambda data: attributes(b"22 GNU.sparse.major=1\n") + data, "'a.jpg' is stored as a sparse file"),
    "attributes of nothing": (
        lambda data: attributes(b"10 path=x\n") + bytes(1024),
        "to which the header .* is missing",
    ),
    "endless attributes": (lambda data: sized(attributes(b"10 path=x\n"), b"00040000000\0") + data, "of 8388608 bytes"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_what_tarfile_passes_over_is_an_error(tmp_path, fault):
    spoil, words = SPOILT[fault]
    path = tmp_path / "a.tar"
    path.write_bytes(spoil(packed(path)))
    with pytest.raises(ValueError, match=words):
        read(path)

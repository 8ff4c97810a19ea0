"""Files that are either whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.text import printable, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _UNFINISHED = ".unfinished-", re.compile(r"\.unfinished-\d+-")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; renamed to ``path`` when the block ends well, removed otherwise."""
    if _UNFINISHED.match(path.name):  # it is such a path already
        yield path
        return
    with _reserved(path.parent, path.name, os.O_CREAT | os.O_RDWR) as temporary:
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in ``parent``, which is removed with all that is in it when the block ends."""
    with _reserved(parent, "folder", os.O_RDONLY) as temporary:
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _reserved(folder: Path, name: str, flags: int) -> Iterator[Path]:
    """A path of a file, or without ``O_CREAT`` a folder, locked so that :func:`remove_unfinished` spares it."""
    _clean_once(folder.absolute())
    path = folder / f"{_PREFIX}{os.getpid()}-{name}"
    descriptor = None
    while descriptor is None:  # another process may remove it before it is locked
        if not flags & os.O_CREAT:
            path.mkdir(exist_ok=True)
        if fcntl is None:
            break
        descriptor = locked(path, flags, wait=True)
    try:
        yield path
    finally:
        if descriptor is not None:
            os.close(descriptor)


def locked(path: Path, flags: int, wait: bool = False) -> int | None:
    """Open and lock a file or a folder, until it is closed or the process ends, where the file system has locks.

    Returns a descriptor; None when what was locked is no longer there, and one may try again.

    Raises:
        BlockingIOError: when another process has locked it; with ``wait`` it waits instead.
        OSError: when it cannot be opened.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise
            except OSError:  # no locks here
                return descriptor
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def output_folder(name: str) -> Path:
    """The folder of ``--output``, made if need be.

    Raises:
        UserError: when it cannot be made or written to.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_make(folder, error.strerror) from None
    _check_writable(folder)
    remove_unfinished(folder)
    return folder


def check_output(name: str) -> None:
    """Refuse what :func:`output_folder` would refuse, and make nothing: for what may still fail before it is kept.

    Raises:
        UserError: when the folder cannot be made or written to.
    """
    folder = Path(name)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise _cannot_make(folder, os.strerror(errno.EEXIST if existing == folder else errno.ENOTDIR))
    _check_writable(existing)


def _cannot_make(folder: Path, reason: str | None) -> UserError:
    return UserError(f"cannot make the folder {folder}: {reason}; choose another --output")


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write into {folder}; choose another --output")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], num_words: int = 1) -> str:
    """A Markdown table; all columns but the first ``num_words`` are aligned to the right, as numbers are.

    A cell stays one, on one line, whatever is in it.
    """
    cells = [[printable(cell).replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---"] * num_words + ["---:"] * (len(header) - num_words)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *cells])


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of files they were writing; what a living one writes is locked and stays."""
    if fcntl is None:
        return
    try:
        names = [name for name in os.listdir(folder) if _UNFINISHED.match(name)]
    except OSError:
        return
    for path in (folder / name for name in names):
        with suppress(OSError):
            kind = path.lstat().st_mode
            if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
                descriptor = locked(path, os.O_RDONLY if stat.S_ISDIR(kind) else os.O_RDWR)
                if descriptor is not None:
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not so where there are no locks
                        (shutil.rmtree if stat.S_ISDIR(kind) else os.unlink)(path)
                    finally:
                        os.close(descriptor)


_clean_once = cache(remove_unfinished)


def write_tensors(path: Path, content: Any) -> None:
    """Write what ``torch.load(path, weights_only=True)`` reads, as a whole."""
    with replacing(path) as temporary:
        write_through(temporary, content)


def write_through(path: Path, content: Any) -> None:
    """Write tensors and plain values into a file and through to the disk.

    torch's own writer turns a full disk into an error that does not say so; here it is an OSError.
    """
    import torch  # takes seconds

    buffer = io.BytesIO()
    torch.save(content, buffer)
    with open(path, "wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def read_tensors(path: Path) -> Any:
    """What :func:`write_tensors` has written, on the CPU; nothing in it is executed.

    Checksums and marks of the archive are looked at, as ``torch.load`` does not.

    Raises:
        OSError: when it cannot be read.
        Exception: of many kinds, when it is damaged or another file.
    """
    import torch

    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("it promises more than it holds")
        if any(entry.external_attr & 0x10 for entry in entries):  # torch.load leaves such a tensor's memory as it was
            raise ValueError("a part of it is marked as a folder")
        damaged_part = archive.testzip()
    if damaged_part is not None:
        raise ValueError(f"the checksum of {shown(damaged_part)} does not match")
    with warnings.catch_warnings():  # of torch, about what it then refuses
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, as a whole."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_with(path: Path, writer: Callable[[Path], None]) -> None:
    """Let ``writer`` fill a temporary file, then rename it to ``path``."""
    with replacing(path) as temporary:
        writer(temporary)

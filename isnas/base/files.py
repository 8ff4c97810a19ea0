"""Files that are either whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; renamed to ``path`` when the block ends well, removed otherwise."""
    temporary = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    """A Markdown table; all columns but the first ``num_words`` are aligned to the right, as numbers are."""
    rule = ["---"] * num_words + ["---:"] * (len(header) - num_words)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left of files it was writing."""
    for path in folder.glob(".unfinished-*"):
        path.unlink(missing_ok=True)


def write_tensors(path: Path, content: Any) -> None:
    """Write what ``torch.load(path, weights_only=True)`` reads, as a whole."""
    with replacing(path) as temporary:
        write_through(temporary, content)


def write_through(path: Path, content: Any) -> None:
    """Write tensors and plain values into a file and through to the disk.

    torch's own writer turns a full disk into an error that does not say so; here it is an OSError.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with open(path, "wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


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

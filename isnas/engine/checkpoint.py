"""Checkpoints: written whole, the one before kept, read without running anything they contain."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError, first_line
from isnas.base.files import replacing, write_through

LAST, PREVIOUS = "checkpoint.pt", "checkpoint_previous.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` as the folder's last checkpoint; the last one becomes the previous one.

    Raises:
        UserError: when it cannot be written, as on a full disk; the checkpoints there are stay as they are.
    """
    try:
        with replacing(folder / LAST) as temporary:
            write_through(temporary, state)
            if (folder / LAST).exists():
                os.replace(folder / LAST, folder / PREVIOUS)
    except OSError as error:
        raise UserError(
            f"cannot write a checkpoint in {folder}: {error.strerror}; mend that, and go on from the one before with "
            f"--resume {folder}"
        ) from None


def load_checkpoint(folder: Path, report: Callable[[str], None]) -> dict[str, Any] | None:
    """The last checkpoint that is whole, on the CPU, or None when there is none at all.

    ``report`` is told when the last one is damaged and the previous one is taken.

    Raises:
        UserError: when there are checkpoints and none can be read.
    """
    damaged = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state = _read(path)
        except Exception as error:
            damaged.append(f"{name} is damaged ({first_line(error)})")
            continue
        if damaged:
            (folder / LAST).unlink()  # or the next save would make it the previous one
            report(f"{damaged[0]}; going on from {name}")
        return state
    if damaged:
        raise UserError(f"cannot resume {folder}: {'; '.join(damaged)}; start a new run")
    return None


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that torch.save writes
        damaged_part = archive.testzip()
    if damaged_part is not None:
        raise ValueError(f"the checksum of {damaged_part} does not match")
    return torch.load(path, map_location="cpu", weights_only=True)

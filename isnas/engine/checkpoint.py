"""Checkpoints: written whole, the one before kept, read without running anything they contain.

A checkpoint holds the ``state`` of a run, the marks of its ``records`` by name, and the ``options`` that decide it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.base.files import read_tensors, replacing, write_through
from isnas.base.text import one_line, shown
from isnas.engine.records import FILES, METRICS, Mark, misfits

LAST, PREVIOUS = "checkpoint.pt", "checkpoint_previous.pt"


def save_checkpoint(folder: Path, content: dict[str, Any], keep_previous: bool = False) -> None:
    """Write ``content`` as the folder's last checkpoint; the last one becomes the previous one.

    With ``keep_previous`` the last one, which is damaged, is replaced, and the previous one stays.

    Raises:
        UserError: when it cannot be written, as on a full disk; the checkpoints there are stay as they are.
    """
    try:
        with replacing(folder / LAST) as temporary:
            write_through(temporary, content)
            if not keep_previous and (folder / LAST).exists():
                os.replace(folder / LAST, folder / PREVIOUS)
    except OSError as error:
        raise UserError(
            f"cannot write a checkpoint in {folder}: {error.strerror}; mend that, and go on from the one before with "
            f"--resume {folder}"
        ) from None


def has_checkpoint(folder: str) -> bool:
    """Whether a run can go on in a folder, if one is named."""
    return bool(folder) and any((Path(folder) / name).is_file() for name in (LAST, PREVIOUS))


def load_checkpoint(folder: Path, report: Callable[[str], None]) -> dict[str, Any] | None:
    """The last checkpoint that is whole and that the records fit, on the CPU; None when there is none at all.

    Its ``file`` is the name of the file. ``report`` is told when that is the previous one. Nothing is changed.

    Raises:
        UserError: when there are checkpoints and none can be gone on from, or one cannot be read for another reason
            than its content; when there are none, and the run has been further than its first.
    """
    faults: list[str] = []
    for name in (LAST, PREVIOUS):
        try:
            content = read_tensors(folder / name)
            fault = _fault(content)
            fault = f"{name} is not a checkpoint of a run ({fault})" if fault else misfits(folder, _marks(content))
        except FileNotFoundError:
            continue
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or "not enough memory"
            raise UserError(f"cannot read {folder / name}: {reason}; mend that and resume again") from None
        except Exception as error:
            fault = f"{name} is damaged ({one_line(error)})"
        if fault is None:
            for found in faults:
                report(f"{found}; going on from {name}")
            return content | {"file": name, "records": _marks(content)}
        faults.append(fault)
    if faults:
        reasons = "; ".join(dict.fromkeys(faults))
        raise UserError(f"cannot resume {folder}: {reasons}; restore what is missing, or start a new run")
    if (folder / METRICS).exists() and (folder / METRICS).stat().st_size:
        raise UserError(f"cannot resume {folder}: its {LAST} is gone; restore it, or start a new run in another folder")
    return None


def _marks(content: dict[str, Any]) -> dict[str, Mark]:
    return {name: Mark(*mark) for name, mark in content["records"].items()}


def _fault(content: Any) -> str | None:
    """Why this is not a checkpoint, as far as can be said of any run's; None when it is one."""
    if isinstance(content, dict) and "sizes" in content and "records" not in content:
        return "an earlier version wrote it, which this one cannot go on from"
    for name in ("state", "records", "options"):
        if not isinstance(content, dict) or not isinstance(content.get(name), dict):
            return f"it has no {name}"
    for name, mark in content["records"].items():
        if name not in FILES or not isinstance(mark, tuple) or [type(part) for part in mark] != [int, str]:
            return f"it has no mark of {shown(name)}"
    for name, value in content["options"].items():
        if not all(isinstance(part, str | int | float | None) for part in (value if type(value) is tuple else [value])):
            return f"it has no option {shown(name)}"
    waiting, seen = [content["state"]], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, torch.Tensor):
            if value.layout is not torch.strided or value.device.type != "cpu" or value.is_complex():
                return f"it has a tensor that is {value.layout}, {value.device}, {value.dtype}"
        elif not isinstance(value, str | int | float | None):
            return f"it has a {type(value).__name__}"
    return None

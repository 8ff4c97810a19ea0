"""Files of run folders, which others may have changed: every value of the kind that belongs there, or a ValueError."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from isnas.base import yaml_text
from isnas.base.errors import UserError
from isnas.base.text import number as written_number
from isnas.base.text import one_line, read_json, read_text, shown, whole_number

Row = dict[str, Any]


def read_config(folder: Path) -> Row:
    """The settings in a run's config.yaml: text, numbers and lists of them by their names.

    Raises:
        ValueError: when the file cannot be read or is nothing of the kind; its message names the file.
    """
    try:
        config = yaml_text.read_config(folder / "config.yaml")
    except UserError as error:
        raise ValueError(str(error)) from None
    values = {name: [_typed(each) for each in v] if isinstance(v, list) else _typed(v) for name, v in config.items()}
    return _plain(values, "config.yaml")


def _typed(scalar: str | None) -> Any:
    """A scalar as the finite number or the truth value that it writes, and else as it is."""
    if scalar is None or scalar in ("true", "false"):
        return scalar and scalar == "true"
    for kind in (whole_number, written_number):
        with suppress(ValueError):
            value = kind(scalar)
            if isinstance(value, int) or math.isfinite(value):  # an integer may be too large to be asked
                return value
    return scalar


def read_object(path: Path) -> Row:
    """The object in a JSON file.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is no such file; its message names it.
    """
    try:
        value = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path.name}: {one_line(error)}") from None
    return _object(value, path.name)


def read_lines(path: Path) -> list[Row]:
    """The rows of a file of JSON lines that may be growing: a last line without its end is left out.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when a line is no JSON object; its message names file and line.
    """
    if not path.exists():
        return []
    rows = []
    try:
        for number, line in enumerate(read_text(path).split("\n")[:-1], start=1):
            rows.append(_object(json.loads(line), f"{path.name}, line {number}"))
    except RecursionError:
        raise ValueError(f"{path.name}: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name}, line {len(rows) + 1}: {one_line(error)}") from None
    return rows


def number(row: Row, name: str, least: float = 0.0, most: float = 1e15) -> float:
    """A finite number of a row, within bounds."""
    value = _entry(row, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name} is {shown(value)}, not a number of {least:g} to {most:g}")
    return value


def percent(row: Row, name: str) -> float:
    """An accuracy or an error in percent."""
    return number(row, name, 0.0, 100.0)


def optional_percent(row: Row, name: str) -> float | None:
    """The same, or None where the row has none."""
    return None if row.get(name) is None else percent(row, name)


def optional_number(row: Row, name: str) -> float | None:
    """A number from 0 up, or None where the row has none."""
    return None if row.get(name) is None else number(row, name)


def integer(row: Row, name: str) -> int:
    """A whole number from 0 up."""
    value = number(row, name, 0.0, 2.0**64)
    if not isinstance(value, int):
        raise ValueError(f"{name} is {shown(value)}, not a whole number")
    return value


def text(row: Row, name: str) -> str:
    """Text of a row, of any length."""
    value = _entry(row, name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}, not text")
    return value


def settings(row: Row, name: str) -> Row:
    """Settings within a row, of the kind that :func:`read_config` takes."""
    return _plain(_entry(row, name), name)


def cannot_read(folder: Path, error: Exception) -> UserError:
    """A run folder that is not as a run leaves it, as one line that names it."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
    return UserError(f"{folder} cannot be read ({reason})")


def _entry(row: Row, name: str) -> Any:
    if name not in row:
        raise ValueError(f"{name} is missing")
    return row[name]


def _object(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: it is {shown(value)}, not an object")
    return value


def _plain(value: Any, place: str) -> Row:
    """A table of scalars and lists of scalars: what is written out in full, as often as it is there."""
    for name, part in _object(value, place).items():
        scalars = part if isinstance(part, list) else [part]
        if not isinstance(name, str) or not all(isinstance(each, str | int | float | None) for each in scalars):
            raise ValueError(f"{place}: {shown(name)} is {shown(part)}, not a setting")
        if any(isinstance(each, float) and not math.isfinite(each) for each in scalars):
            raise ValueError(f"{place}: {shown(name)} is {shown(part)}, which is not finite")
    return value

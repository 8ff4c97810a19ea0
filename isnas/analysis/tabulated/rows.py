"""A file of JSON lines that grows: facts in the first one, then rows that are appended as they are made.

A line between them says on what the rows after it were made, where that is not what those before it were made on.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.base.files import write_text
from isnas.base.text import brief, read_text, shown
from isnas.engine.run import environment

_LARGEST = 50_000_000  # bytes; the largest files here have a few hundred thousand

#: The facts that say on what rows were made.
_MADE_ON = ("packages", "processor")


def read_rows(path: Path, grows: bool = False) -> tuple[list[dict[str, Any]], str]:
    """The lines of a file, the facts first, and its text; of one that ``grows`` without half a line at its end.

    Raises:
        UserError: when it cannot be read, or has anything but objects.
    """
    try:
        text = read_text(path, _LARGEST)
        lines = [json.loads(line) for line in (whole_lines(text) if grows else text).splitlines()]
        if not lines or not all(isinstance(line, dict) for line in lines):
            raise ValueError("it does not hold an object in every line")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"cannot read the rows in {brief(str(path))}: {reason}") from None
    return lines, text


def whole_lines(text: str) -> str:
    """The text without half a line at its end."""
    return text[: text.rfind("\n") + 1]


def is_row(line: dict[str, Any]) -> bool:
    """Whether a line after the first is a row, not a word about what follows it."""
    return not line.keys() <= {*_MADE_ON}


def is_number(value: Any) -> bool:
    """Whether it is a number that a float can be, and neither infinite nor NaN."""
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def open_rows(path: Path, facts_of_table: dict[str, Any], begin: bool) -> RowFile:
    """The rows of searches on a table, for images that are the table's; with ``begin`` the file need not be there.

    Raises:
        UserError: when it is not there, or holds something else.
    """
    if not begin and not path.exists():
        raise UserError(f"there is no file {path}; give --rows, or leave --no_search out")
    facts = {key: facts_of_table[key] for key in ("benchmark", "train_digest")}
    return RowFile(path, facts | made_here(), tuple(facts))


def made_here() -> dict[str, Any]:
    """On what rows are made by this process: versions and processor."""
    return _made_on(environment(torch.device("cpu")))


class RowFile:
    """Facts and rows of a file, which is begun if it is not there; half a row at its end does not count.

    ``same`` names the facts in which a file that is there must agree. Only :meth:`append` writes to such a file: it can
    be read while another process fills it.

    Raises:
        UserError: when the file cannot be read, holds something else, or disagrees; then it is left as it is.
    """

    def __init__(self, path: Path, facts: dict[str, Any], same: tuple[str, ...]) -> None:
        self.path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(facts) + "\n")
        self._end = path.stat().st_size
        (self.facts, *lines), text = read_rows(path, grows=True)
        self.rows = [line for line in lines if is_row(line)]
        self.check()
        told = [self.facts, *(line for line in lines if not is_row(line))]
        self._made_on, self._here = _made_on(told[-1]), _made_on(facts)
        for key in same:
            if self.facts.get(key) != facts.get(key):
                found, wanted = shown(self.facts.get(key)), shown(facts.get(key))
                raise UserError(f"{brief(str(path))} has {key} {found}, not {wanted}; give another file")
        self._whole = self._end - len(text[len(whole_lines(text)) :].encode())

    def check(self) -> None:
        """See that facts and rows are what they should be.

        Raises:
            UserError: when they are not.
        """
        return None

    def append(self, row: dict[str, Any]) -> None:
        """Add a row, in the place of half a row that the file ended with.

        Raises:
            UserError: when another process writes to the file, which would give it the same rows twice.
        """
        lines = [row] if self._made_on == self._here else [self._here, row]
        with self.path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) != self._end:
                raise UserError(f"another process writes to {brief(str(self.path))}; let one fill a file at a time")
            file.truncate(self._whole)
            file.seek(self._whole)
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            self._whole = self._end = file.tell()
        self._made_on = self._here
        self.rows.append(row)


def _made_on(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: facts[key] for key in _MADE_ON if key in facts}

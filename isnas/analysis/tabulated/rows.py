"""A file of JSON lines that grows: facts in the first one, then rows that are appended as they are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.files import write_text
from isnas.base.text import shown


class RowFile:
    """Facts and rows of a file, which is begun if it is not there; half a row at its end is dropped.

    ``same`` names the facts in which a file that is there must agree.

    Raises:
        UserError: when the file cannot be read, holds something else, or disagrees.
    """

    def __init__(self, path: Path, facts: dict[str, Any], same: tuple[str, ...]) -> None:
        self.path, self.facts = path, facts
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            self._read(same)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(facts) + "\n")

    def append(self, row: dict[str, Any]) -> None:
        """Add a row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)

    def _read(self, same: tuple[str, ...]) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            facts, *rows = map(json.loads, whole.splitlines())
            if not all(isinstance(row, dict) for row in (facts, *rows)):
                raise ValueError("a line is not an object")
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {shown(str(self.path))}: {error}") from None
        for key in same:
            if facts.get(key) != self.facts[key]:
                found, wanted = shown(facts.get(key)), shown(self.facts[key])
                raise UserError(f"{shown(str(self.path))} has {key} {found}, not {wanted}; give another file")
        if whole != text:
            write_text(self.path, whole)
        self.facts, self.rows = facts, rows

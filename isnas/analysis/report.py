"""What every analysis takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.options import option


@dataclass(frozen=True)
class ReportOptions:
    """The runs that are read, and where the answer goes."""

    runs: tuple[str, ...] = option((), "run folders", positional=True)
    output: str = option(
        "", "folder for table.md, the numbers as JSON and the picture; files there are replaced; none: only print"
    )

    def validate(self) -> None:
        """Check that there are runs."""
        if not self.runs:
            raise UserError("give one run folder or more")


@dataclass(frozen=True)
class Report:
    """Markdown ``text``, its numbers as plain ``values``, and ``draw(folder)``, which writes pictures."""

    text: str
    values: dict[str, Any]
    draw: Callable[[Path], list[Path]]

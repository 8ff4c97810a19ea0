"""What every analysis takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from isnas.analysis.tables import Table, in_one_text
from isnas.base.errors import UserError
from isnas.base.options import Component, option

#: What ``--output`` holds afterwards, for its help text.
KEPT = "folder for table.md and the like, the numbers as JSON, the pictures; files there are replaced; none: only print"


@dataclass(frozen=True)
class ReportOptions(Component, title="Answer"):
    """Where the answer goes; ``on_a_page``: a file FILE.html is one as well."""

    on_a_page: ClassVar[bool] = False
    output: str = option("", KEPT, path=True)


@dataclass(frozen=True)
class RunsOptions(ReportOptions, title="Runs"):
    """The runs that are read, and where the answer goes."""

    runs: tuple[str, ...] = option((), "run folders", positional=True, path=True)

    def validate(self) -> None:
        """Check that there are runs."""
        if not self.runs:
            raise UserError("give one run folder or more")


def no_pictures(folder: Path) -> list[Path]:
    """The ``draw`` of a report that is a table alone."""
    return []


@dataclass(frozen=True)
class Report:
    """Markdown ``text``, its numbers as plain ``values``, ``draw(folder)``, which writes pictures, and warnings.

    ``tables``: those of the text that are kept as CSV and LaTeX too. ``page``: makes the page that it has. ``faults``:
    what the answer lacks, which ends the tool with an error after all is printed and kept.
    """

    text: str
    values: dict[str, Any]
    draw: Callable[[Path], list[Path]] = no_pictures
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    page: Callable[[], str] | None = None

    @classmethod
    def of(
        cls, parts: Sequence[Table | str], values: dict[str, Any], draw: Callable[[Path], list[Path]] = no_pictures
    ) -> Self:
        """The report of tables and paragraphs, one after the other."""
        tables = tuple(part for part in parts if isinstance(part, Table))
        return cls(in_one_text(parts), values, draw, tables=tables)


def left_out(faults: Sequence[str]) -> str:
    """The first of the runs that an answer lacks, and how many more there are."""
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"left out: {faults[0]}{more}; mend these runs, or leave them out"

"""The options of tables over runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isnas.analysis.report import KEPT, RunsOptions
from isnas.base.errors import UserError
from isnas.base.options import option


@dataclass(frozen=True)
class SummaryOptions(RunsOptions, title="Answer"):
    """What is summarised."""

    on_a_page: ClassVar[bool] = True
    output: str = option("", f"{KEPT}; FILE.html: one page about the runs instead", path=True)
    curves: bool = option(False, "draw the runs' curves over one another, into the folder --output")
    runs: tuple[str, ...] = option(
        (), "run folders of searches and evaluations, in any order", positional=True, path=True
    )

    def validate(self) -> None:
        """Check that the curves have a place."""
        if self.curves and not self.output:
            raise UserError("--curves are drawn into a folder; give --output FOLDER")
        if self.curves and self.output.endswith(".html"):
            raise UserError("a page has the curves anyway; leave --curves out, or give --output FOLDER")

"""The options of the papers' tables."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import ReportOptions
from isnas.base.options import option


@dataclass(frozen=True)
class PaperTableOptions(ReportOptions, title="Runs"):
    """Which runs stand beside the paper's lines."""

    runs: tuple[str, ...] = option(
        (), "run folders of searches, and of trainings; none: the paper's lines alone", positional=True, path=True
    )

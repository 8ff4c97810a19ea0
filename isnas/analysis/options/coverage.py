"""The options of the architectures that a search passes."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import RunsOptions
from isnas.base.options import option


@dataclass(frozen=True)
class CoverageOptions(RunsOptions, title="Coverage"):
    """Which searches, and how far they are followed."""

    epochs: int = option(0, "epochs that are counted; 0: as many as the shortest search has", minimum=0, maximum=10**6)

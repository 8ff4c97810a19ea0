"""The options of Figure 2 of ISTA-NAS."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import RunsOptions
from isnas.base.options import option


@dataclass(frozen=True)
class Figure2Options(RunsOptions):
    """What is drawn."""

    runs: tuple[str, ...] = option(
        (), "run folders of searches, one-stage runs and trainings of what was found", positional=True, path=True
    )

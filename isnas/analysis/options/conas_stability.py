"""The options of Table 4 of CoNAS."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import RunsOptions
from isnas.base.options import option


@dataclass(frozen=True)
class StabilityOptions(RunsOptions, title="Recovery"):
    """Which searches, and which weights."""

    runs: tuple[str, ...] = option(
        (), "run folders of searches of CoNAS, and of trainings of cells", positional=True, path=True
    )
    lambdas: tuple[float, ...] = option(
        (0.5, 1.0, 2.0, 5.0, 10.0),
        "weights of the LASSO, in the paper's form; 1 is always among them",
        above=0.0,
        maximum=1e9,
    )

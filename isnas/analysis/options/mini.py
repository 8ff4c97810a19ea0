"""The options of the question what a tabulated benchmark is like."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import ReportOptions
from isnas.analysis.tabulated.benchmarks import BENCHMARKS
from isnas.base.options import option


@dataclass(frozen=True)
class MiniOptions(ReportOptions, title="Table"):
    """Which table, and how intervals are computed."""

    table: str = option("mini", "the benchmark", choices=BENCHMARKS)
    file: str = option("", "a table of it elsewhere; none: the package's own", path=True)
    resamples: int = option(2000, "samples of the bootstrap", minimum=100, maximum=10**6)
    level: float = option(0.95, "of the interval", above=0.0, below=1.0)
    seed: int = option(
        0, "decides the samples of the bootstrap, and the parts that are held out", minimum=0, maximum=2**63 - 1
    )

"""The options of the question what b knows of connections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isnas.analysis.report import ReportOptions
from isnas.analysis.tabulated.benchmarks import BENCHMARKS
from isnas.base.options import option


@dataclass(frozen=True)
class KnowledgeOptions(ReportOptions, title="Searches"):
    """Which table, how long and how often is searched, and where the rows are."""

    table: str = option("mini", "the tabulated benchmark", choices=BENCHMARKS)
    file: str = option("", "a table of it elsewhere; none: the package's own", path=True)
    rows: str = option(
        "knowledge-{table}.jsonl",
        "file of rows: what is there is read, what is missing is searched for and appended",
        path=True,
    )
    trainings: int = option(4, "budget of a search, in trainings of an architecture", minimum=1, maximum=1000)
    num_seeds: int = option(4, "seeds of each search", minimum=1, maximum=1000)
    first_seed: int = option(2000, "the first of them", minimum=0, maximum=2**62)
    search: bool = option(True, "carry out what is missing, --no_search only read what is there")
    resamples: int = option(10_000, "samples of the bootstrap over the seeds", minimum=100, maximum=10**6)
    level: float = option(0.95, "of the intervals", above=0.0, below=1.0)
    draws: int = option(2000, "matrices and dense scores that are recovered", minimum=10, maximum=10_000)
    seed: int = option(0, "decides these samples and draws", minimum=0, maximum=2**63 - 1)

    @property
    def path(self) -> Path:
        """The file of rows."""
        return Path(self.rows.replace("{table}", self.table))

    @property
    def seeds(self) -> range:
        """Those of the searches."""
        return range(self.first_seed, self.first_seed + self.num_seeds)

"""Which searches are held against one another, with how many seeds, and where their rows are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isnas.analysis.report import ReportOptions
from isnas.analysis.tabulated.benchmarks import BENCHMARKS
from isnas.analysis.tabulated.suite import BUDGETS, SUITE, Search
from isnas.base.errors import UserError
from isnas.base.options import option

NAMES = tuple(search.name for search in SUITE)


@dataclass(frozen=True)
class SearchesOptions(ReportOptions, title="Searches"):
    """Which searches, with how many seeds, and where their rows are."""

    table: str = option("mini", "the tabulated benchmark", choices=BENCHMARKS)
    rows: str = option(
        "searches-{table}.jsonl",
        "file of rows: what is there is read, what is missing is searched for and appended",
        path=True,
    )
    only: tuple[str, ...] = option((), "these searches alone, by the beginnings of their names; none: all")
    budgets: tuple[int, ...] = option(
        BUDGETS,
        f"of a search, in trainings of an architecture; {BUDGETS[-1]} and more are for searches by sparse coding and "
        "random search alone",
        minimum=1,
        maximum=1000,
    )
    num_seeds: int = option(8, "seeds of each search", minimum=1, maximum=1000)
    most_seeds: int = option(
        12,
        "seeds where the first ones cannot tell a search from random cells; rows of later ones are not read",
        minimum=1,
        maximum=1000,
    )
    first_seed: int = option(1000, "the first of them; rows of earlier ones are not read", minimum=0, maximum=2**62)
    jobs: int = option(1, "searches at a time, one thread each", minimum=1, maximum=1024)
    search: bool = option(True, "carry out what is missing, --no_search only read what is there")
    resamples: int = option(10_000, "samples of the bootstrap, and of random search", minimum=100, maximum=10**6)
    level: float = option(0.95, "of the intervals", above=0.0, below=1.0)
    seed: int = option(0, "decides these samples", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """See that the searches are there, and have a budget.

        Raises:
            UserError: when a name is that of none, or one is given no budget, or one twice.
        """
        for word in self.only:
            if not any(name.startswith(word) for name in NAMES):
                raise UserError(f"--only {word} is the beginning of no search; there are: {'; '.join(NAMES)}")
        if len(set(self.budgets)) < len(self.budgets):
            raise UserError("--budgets has a budget twice; name each once")
        for search in self.searches:
            if self.only and not any(map(search.takes, self.budgets)):
                raise UserError(f"{search.name} has no budget of {BUDGETS[-1]} or more; give --budgets a smaller one")

    @property
    def path(self) -> Path:
        """The file of rows."""
        return Path(self.rows.replace("{table}", self.table))

    @property
    def searches(self) -> list[Search]:
        """Those that were asked for."""
        return [each for each in SUITE if not self.only or each.name.startswith(self.only)]

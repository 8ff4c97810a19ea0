"""What each search is worth at equal cost: the places of the cells it finds on a tabulated benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import StatisticsError, mean
from typing import Any, NamedTuple

import numpy as np
import torch

from isnas.analysis.kendall import PAPER, bootstrap, kendall
from isnas.analysis.report import Report, ReportOptions
from isnas.analysis.tables import Table as Printed
from isnas.analysis.tables import with_spread
from isnas.analysis.tabulated.benchmarks import BENCHMARKS, Benchmark
from isnas.analysis.tabulated.queries import TabulatedBenchmark, open_table
from isnas.analysis.tabulated.rows import RowFile, open_rows
from isnas.analysis.tabulated.searching import Searcher
from isnas.analysis.tabulated.suite import BUDGETS, SUITE, Search
from isnas.analysis.tabulated.table import Table
from isnas.analysis.tabulated.training import Trainer, images_of
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.random import generator
from isnas.base.text import brief
from isnas.engine.progress import progress
from isnas.space.connections import Support

NAMES = tuple(search.name for search in SUITE)
#: Searches of the paper's Table 2, by what they are called there.
PAPERS_NAMES = {
    "two-stage, z every epoch": "Two-stage ISTA-NAS",
    "one-stage": "One-stage ISTA-NAS",
    "DARTS, first order": "DARTS (1st order)",
    "PC-DARTS": "PC-DARTS",
}


@dataclass(frozen=True)
class SearchesOptions(ReportOptions):
    """Which searches, with how many seeds, and where their rows are."""

    table: str = option("mini", "the tabulated benchmark", choices=BENCHMARKS)
    rows: str = option(
        "searches-{table}.jsonl",
        "file of rows: what is there is read, what is missing is searched for and appended",
        path=True,
    )
    only: tuple[str, ...] = option((), "these searches alone, by the beginnings of their names; none: all")
    budgets: tuple[int, ...] = option(BUDGETS, "of a search, in trainings of an architecture", minimum=1, maximum=1000)
    num_seeds: int = option(8, "seeds of each search", minimum=1, maximum=1000)
    most_seeds: int = option(
        12,
        "seeds where the interval of the mean holds what the best of as many random cells reach",
        minimum=1,
        maximum=1000,
    )
    first_seed: int = option(1000, "the first of them", minimum=0, maximum=2**62)
    jobs: int = option(1, "searches at a time, one thread each", minimum=1, maximum=1024)
    search: bool = option(True, "carry out what is missing, --no_search only read what is there")
    resamples: int = option(10_000, "samples of the bootstrap, and of random search", minimum=100, maximum=10**6)
    level: float = option(0.95, "of the intervals", above=0.0, below=1.0)
    seed: int = option(0, "decides these samples", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """See that the searches are there.

        Raises:
            UserError: when a name is that of none.
        """
        for word in self.only:
            if not any(name.startswith(word) for name in NAMES):
                raise UserError(f"--only {word} is the beginning of no search; there are: {'; '.join(NAMES)}")

    @property
    def path(self) -> Path:
        """The file of rows."""
        return Path(self.rows.replace("{table}", self.table))

    @property
    def searches(self) -> list[Search]:
        """Those that were asked for."""
        return [each for each in SUITE if not self.only or each.name.startswith(self.only)]


class Task(NamedTuple):
    """A search that is to be carried out, or an architecture that is to be trained."""

    name: str
    budget: int
    seed: int
    support: Support = ()


@dataclass(frozen=True)
class Reached:
    """What the seeds of a search reached with a budget: percentiles (100: the best), regret in points of accuracy."""

    search: str
    budget: int
    seeds: tuple[int, ...]
    percentiles: tuple[float, ...]
    regrets: tuple[float, ...]
    low: float
    high: float
    accs: tuple[float, ...]
    search_accs: tuple[float, ...]
    taus: tuple[float, ...]
    ranked: int | None
    passes: float | None
    seconds: float | None


def analyse(options: SearchesOptions) -> Report:
    """Carry out what is missing, and hold the searches against random ones.

    Raises:
        UserError: when there is no table, no file of rows, or it is of other images.
    """
    benchmark = TabulatedBenchmark(open_table(options.table))
    file = open_rows(options.path, benchmark.table.facts, begin=options.search)
    file.rows = [_with_supports(row, options.path) for row in file.rows]
    if options.search:
        for tasks in iter(lambda: pending(options, benchmark, file), []):
            carry_out(benchmark.table.benchmark, options.jobs, tasks, file)
    return report(options, benchmark, file)


def _with_supports(row: dict[str, Any], path: Path) -> dict[str, Any]:
    """A row as it was before it was written: supports are tuples.

    Raises:
        UserError: when it is no such row.
    """
    try:
        if "trained" in row:
            mean(row["loss"]), mean(row["acc"])
            return row | {"trained": tuple(map(tuple, row["trained"]))}
        task = Task(str(row["search"]), int(row["budget"]), int(row["seed"]), tuple(map(tuple, row["support"])))
    except (KeyError, TypeError, ValueError, StatisticsError):
        raise UserError(f"{path} has a row that is none of a search: {brief(str(row))}; remove it") from None
    return row | {"support": task.support}


def pending(options: SearchesOptions, benchmark: TabulatedBenchmark, file: RowFile) -> list[Task]:
    """What is to be done next: searches, then trainings of what they found, then more seeds where they are needed."""
    seeds = range(options.first_seed, options.first_seed + options.num_seeds)
    there = {(row["search"], row["budget"], row["seed"]) for row in file.rows if "search" in row}
    wanted = [
        Task(search.name, budget, seed)
        for budget in options.budgets
        for seed in seeds
        for search in options.searches
        if search.takes(budget)
    ]
    if missing := [task for task in wanted if task[:3] not in there]:
        return missing
    known = scores(benchmark.table, file)
    found = {row["support"]: row for row in file.rows if "search" in row and row["support"] not in known}
    if found:
        return [Task("", row["budget"], row["seed"], support) for support, row in found.items()]
    reached = {(each.search, each.budget): each for each in results(options, benchmark, file)}
    more = []
    for search in options.searches:
        for budget in options.budgets:
            own = [reached[name, budget] for name in (search.name, *search.variants) if (name, budget) in reached]
            line = best_of_random(benchmark, budget, options)[0]
            if any(each.low <= line <= each.high for each in own):
                further = range(seeds.stop, options.first_seed + options.most_seeds)
                more += [Task(search.name, budget, seed) for seed in further]
    return [task for task in more if task[:3] not in there]


_searchers: list[Searcher] = []  # of a process of the pool


def carry_out(benchmark: Benchmark, jobs: int, tasks: Sequence[Task], file: RowFile) -> None:
    """Do the tasks, each in a process, and append their rows."""
    context = get_context("spawn")  # torch's threads do not outlive a fork
    with ProcessPoolExecutor(jobs, context, _prepare, (benchmark,)) as pool:
        done = as_completed([pool.submit(_rows_of, task) for task in tasks])
        try:
            for _ in progress(0, len(tasks), benchmark.name):
                for row in next(done).result():
                    file.append(row)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or all tasks would be done before this process ends
            raise


def _prepare(benchmark: Benchmark) -> None:
    torch.set_num_threads(1)
    _searchers.append(Searcher(Trainer(benchmark, images_of(benchmark)), open_table(benchmark.name)))


def _rows_of(task: Task) -> list[dict[str, Any]]:
    (searcher,) = _searchers
    if task.support:
        return [searcher.trained_row(task.support)]
    (search,) = (each for each in SUITE if each.name == task.name)
    return searcher.rows(search, task.budget, task.seed)


class Score(NamedTuple):
    """Of a trained architecture: mean loss, and mean accuracy (percent)."""

    loss: float
    acc: float


def scores(table: Table, file: RowFile) -> dict[Support, Score]:
    """Those of the table, and of what was trained beside it."""
    supports = table.benchmark.supports
    known = {
        supports[cell]: Score(float(loss), float(acc))
        for cell, loss, acc in zip(table.cells, table.scores, table.accs.mean(axis=1))
    }
    trained = (row for row in file.rows if "trained" in row)
    return known | {row["trained"]: Score(mean(row["loss"]), mean(row["acc"])) for row in trained}


def place(benchmark: TabulatedBenchmark, support: Support, loss: float) -> float:
    """The percentile of an architecture, or of its loss where the table does not have it."""
    in_table = support in benchmark.supports
    return benchmark.query(support).percentile if in_table else benchmark.percentile_of(loss)


def best_of_random(benchmark: TabulatedBenchmark, count: int, options: SearchesOptions) -> tuple[float, float, float]:
    """The best of ``count`` cells drawn from the table, each trained once, by the loss of that one training.

    Returns the mean and the deviation of its percentile, and the mean of its regret in points of accuracy.
    """
    table, rng = benchmark.table, np.random.default_rng(options.seed)
    drawn = rng.integers(len(table.cells), size=(options.resamples, count))
    once = table.losses[drawn, rng.integers(table.losses.shape[1], size=drawn.shape)]
    chosen = drawn[np.arange(len(drawn)), once.argmin(axis=1)]
    places = np.array([benchmark.query(support).percentile for support in benchmark.supports])[chosen]
    accs = table.accs.mean(axis=1)
    return float(places.mean()), float(places.std()), float((accs.max() - accs[chosen]).mean())


def results(options: SearchesOptions, benchmark: TabulatedBenchmark, file: RowFile) -> list[Reached]:
    """What is known of every search and variant with every budget, as far as what it found is trained."""
    known = scores(benchmark.table, file)
    reached = []
    for search in options.searches:
        for name in (search.name, *search.variants):
            for budget in options.budgets:
                rows = [row for row in file.rows if (row.get("search"), row.get("budget")) == (name, budget)]
                rows = sorted((row for row in rows if row["support"] in known), key=lambda row: row["seed"])
                if rows:
                    reached.append(_reached(name, budget, rows, known, benchmark, options))
    return reached


def _reached(
    name: str,
    budget: int,
    rows: Sequence[dict[str, Any]],
    known: dict[Support, Score],
    benchmark: TabulatedBenchmark,
    options: SearchesOptions,
) -> Reached:
    found, best = [known[row["support"]] for row in rows], float(benchmark.table.accs.mean(axis=1).max())
    places = tuple(place(benchmark, row["support"], score.loss) for row, score in zip(rows, found))
    low, high = interval(places, options.resamples, options.level, options.seed)
    taus = tuple(row["tau"] for row in rows if row.get("tau") is not None)
    passes, seconds = ([row[key] for row in rows if key in row] for key in ("passes", "seconds"))
    return Reached(
        name,
        budget,
        tuple(row["seed"] for row in rows),
        places,
        tuple(best - each.acc for each in found),
        low,
        high,
        tuple(each.acc for each in found),
        tuple(row["search_acc"] for row in rows if "search_acc" in row),
        taus,
        next((row["ranked"] for row in rows if "ranked" in row), None),
        mean(passes) if passes else None,
        mean(seconds) if seconds else None,
    )


def interval(values: Sequence[float], resamples: int, level: float, seed: int) -> tuple[float, float]:
    """The percentile interval of the mean over samples of the values, drawn with replacement."""
    drawn = torch.randint(len(values), (resamples, len(values)), generator=generator(seed, "searches")).numpy()
    low, high = np.quantile(np.array(values)[drawn].mean(axis=1), [(1.0 - level) / 2, (1.0 + level) / 2])
    return float(low), float(high)


def report(options: SearchesOptions, benchmark: TabulatedBenchmark, file: RowFile) -> Report:
    """The table, the picture and the numbers.

    Raises:
        UserError: when there is nothing to report.
    """
    reached = results(options, benchmark, file)
    if not reached:
        raise UserError(f"{options.path} has no row of these searches; leave --no_search out, or ask for others")
    lines = {budget: best_of_random(benchmark, budget, options) for budget in sorted({e.budget for e in reached})}
    level = f"{100 * options.level:g} %"
    shown = f"{len(benchmark)} of the table ({benchmark.table.benchmark.shown})"
    title = (
        f"Place of the cell that is found among the {shown}, by the mean loss of {benchmark.table.benchmark.seeds} "
        "trainings: 100 is the best, 50 a random one. The budget is in trainings of one cell; regret: points of "
        "accuracy below the best cell. `best of N random cells` is what the same budget buys without a search, by one "
        "training each."
    )
    header = ["search", "budget", "seeds", "percentile", f"{level} interval", "against random", "regret", "seconds"]
    rows = []
    for budget, (line, deviation, regret) in lines.items():
        rows.append([f"best of {budget} random cells", str(budget), "", f"{line:.0f} ± {deviation:.0f}"])
        rows[-1] += ["", "", f"{regret:.2f}", ""]
        for each in (each for each in reached if each.budget == budget):
            verdict = "above" if each.low > line else "below" if each.high < line else "not told apart"
            row = [each.search, str(budget), str(len(each.seeds)), with_spread(each.percentiles, 0)]
            row += [f"{each.low:.0f} to {each.high:.0f}", verdict, with_spread(each.regrets, 2)]
            row.append("" if each.seconds is None else f"{each.seconds:.0f}")
            rows.append(row)
    printed = Printed("searches", title, header, rows, 1)
    values = {
        "table": options.table,
        "random": {budget: dict(zip(("mean", "deviation", "regret"), found)) for budget, found in lines.items()},
        "searches": [asdict(each) for each in reached],
    }
    return Report.of(
        [printed, _taus(reached, options, level)],
        values,
        partial(draw, reached, {budget: found[0] for budget, found in lines.items()}),
    )


def _taus(reached: Sequence[Reached], options: SearchesOptions, level: str) -> Printed:
    """Whether what a search says of architectures is what training them says."""
    header = [
        "search",
        "budget",
        "seeds",
        "tau over seeds",
        f"{level} interval",
        "paper",
        "tau of the super-net",
        "cells",
    ]
    rows = []
    for each in reached:
        if not each.search_accs:
            continue
        x, y = np.array(each.search_accs), np.array(each.accs)
        tau, (low, high) = kendall(x, y)[1], bootstrap(x, y, options.resamples, options.level, options.seed)
        row = [each.search, str(each.budget), str(len(x)), "" if tau is None else f"{tau:.2f}"]
        row.append("" if low is None else f"{low:.2f} to {high:.2f}")
        row.append(f"{PAPER[PAPERS_NAMES[each.search]]:.2f}" if each.search in PAPERS_NAMES else "")
        rows.append([*row, with_spread(each.taus, 2), str(each.ranked or "")])
    title = (
        "Kendall's tau (b) over the seeds, between the accuracy in the search and the one that the table has of the "
        "cell that is found (the paper's Table 2: 8 seeds on CIFAR-10, tau-a), and between the losses of cells as "
        "parts of the super-net and in the table, mean over the seeds; 1: the same order, 0: chance."
    )
    return Printed("searches_tau", title, header, rows, 1)


def draw(reached: Sequence[Reached], lines: dict[int, float], folder: Path) -> list[Path]:
    """Write ``searches.png`` and ``searches.svg``: a panel for each budget, a row for each search."""
    from isnas.draw.dot_plots import DotPanel, Dots, draw_dots  # matplotlib is slow to import

    panels = []
    for budget, line in lines.items():
        own = [each for each in reached if each.budget == budget]
        rows = [Dots(e.search, e.percentiles, mean(e.percentiles), e.low, e.high) for e in own]
        panels.append(DotPanel(f"{budget} trainings", rows, line))
    return draw_dots(panels, folder, "searches", "percentile (dashed: best of as many random)")

"""What each search is worth at equal cost: the places of the cells it finds on a tabulated benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import torch

from isnas.analysis.options.searches import SearchesOptions
from isnas.analysis.report import Report
from isnas.analysis.tabulated.benchmarks import Benchmark
from isnas.analysis.tabulated.queries import TabulatedBenchmark, open_table
from isnas.analysis.tabulated.reached import best_of_random, results, untrained
from isnas.analysis.tabulated.rows import RowFile, is_number, open_rows
from isnas.analysis.tabulated.searches_report import report
from isnas.analysis.tabulated.searching import Searcher
from isnas.analysis.tabulated.suite import SUITE
from isnas.analysis.tabulated.training import Trainer, images_of
from isnas.base import preemption
from isnas.base.errors import UserError
from isnas.base.text import brief
from isnas.engine.progress import progress
from isnas.space.connections import Support

#: Of a search's row, what reports read of it, if it has that.
_FIGURES = ("passes", "search_acc", "tau")


class Task(NamedTuple):
    """A search that is to be carried out, or an architecture that is to be trained."""

    name: str
    budget: int
    seed: int
    support: Support = ()


def analyse(options: SearchesOptions) -> Report:
    """Carry out what is missing, and hold the searches against random ones.

    Raises:
        UserError: when there is no table, no file of rows, or it is of other images.
    """
    benchmark = TabulatedBenchmark(open_table(options.table))
    file = open_rows(options.path, benchmark.table.facts, begin=options.search)
    file.rows = [_checked(row, benchmark.space.sizes, options.path) for row in file.rows]
    if options.search:
        for tasks in iter(lambda: pending(options, benchmark, file), []):
            carry_out(benchmark.table.benchmark, options.jobs, tasks, file)
    return report(options, benchmark, file)


def _checked(row: dict[str, Any], sizes: Sequence[int], path: Path) -> dict[str, Any]:
    """A row as it was before it was written: supports are tuples.

    Raises:
        UserError: when it is no such row.
    """
    try:
        if "trained" in row:
            key, counts, numbers = "trained", [len(row["loss"]), len(row["acc"])], [*row["loss"], *row["acc"]]
        else:
            key, counts = "support", [index(row["budget"]), index(row.get("ranked", 1)), len(str.strip(row["search"]))]
            numbers = [index(row["seed"]), *(row[figure] for figure in _FIGURES if row.get(figure) is not None)]
        support = tuple(tuple(map(index, node)) for node in row[key])
        in_space = all(0 <= each < size for node, size in zip(support, sizes, strict=True) for each in node)
        if not in_space or min(counts) < 1 or not all(map(is_number, numbers)):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} has a row that is none of a search: {brief(str(row))}; remove it") from None
    return row | {key: support}


def pending(options: SearchesOptions, benchmark: TabulatedBenchmark, file: RowFile) -> list[Task]:
    """What is to be done next: searches, then trainings of what they found, then more seeds where they are needed.

    Whether they are is what the first ``num_seeds`` say, however many there are: a kill between decides nothing.
    """
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
    if found := untrained(options, benchmark, file):
        return [Task("", row["budget"], row["seed"], support) for support, row in found.items()]
    reached = {(each.search, each.budget): each for each in results(options, benchmark, file, options.num_seeds)}
    lines = {budget: best_of_random(benchmark, budget, options) for budget in options.budgets}
    further = range(seeds.stop, options.first_seed + options.most_seeds)
    more = [
        Task(search.name, budget, seed)
        for search in options.searches
        for budget in options.budgets
        if any(
            lines[budget].against(reached[name, budget]) in ("", "not told apart")
            for name in (search.name, *search.variants)
            if (name, budget) in reached
        )
        for seed in further
    ]
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
    preemption.end_with_parent()
    torch.set_num_threads(1)
    _searchers.append(Searcher(Trainer(benchmark, images_of(benchmark)), open_table(benchmark.name)))


def _rows_of(task: Task) -> list[dict[str, Any]]:
    (searcher,) = _searchers
    if task.support:
        return [searcher.trained_row(task.support)]
    (search,) = (each for each in SUITE if each.name == task.name)
    return searcher.rows(search, task.budget, task.seed)

"""The searches' tables and picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np

from isnas.analysis.kendall import PAPER, bootstrap, kendall
from isnas.analysis.options.searches import SearchesOptions
from isnas.analysis.report import Report
from isnas.analysis.tables import Table as Printed
from isnas.analysis.tables import with_spread
from isnas.analysis.tabulated.queries import TabulatedBenchmark
from isnas.analysis.tabulated.reached import Reached, best_of_random, results
from isnas.analysis.tabulated.rows import RowFile
from isnas.base.errors import UserError

#: Searches of the paper's Table 2, by what they are called there.
PAPERS_NAMES = {
    "two-stage, z every epoch": "Two-stage ISTA-NAS",
    "one-stage": "One-stage ISTA-NAS",
    "DARTS, first order": "DARTS (1st order)",
    "PC-DARTS": "PC-DARTS",
}


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
            row = [each.search, str(budget), str(len(each.seeds)), with_spread(each.percentiles, 0)]
            row += [f"{each.low:.0f} to {each.high:.0f}", verdict(each, line), with_spread(each.regrets, 2)]
            row.append("" if each.seconds is None else f"{each.seconds:.0f}")
            rows.append(row)
    printed = Printed("searches", title, header, rows, 1)
    values = {
        "table": options.table,
        "random": {budget: dict(zip(("mean", "deviation", "regret"), found)) for budget, found in lines.items()},
        "searches": [asdict(each) for each in reached],
    }
    by_budget = [_by_budget(reached, lines, level)] if len(lines) > 1 else []
    return Report.of(
        [printed, *by_budget, _taus(reached, options, level)],
        values,
        partial(draw, reached, {budget: found[0] for budget, found in lines.items()}),
    )


def verdict(reached: Reached, line: float) -> str:
    """How the interval of a search's mean lies to what the best of as many random cells reach."""
    return "above" if reached.low > line else "below" if reached.high < line else "not told apart"


def _by_budget(reached: Sequence[Reached], lines: dict[int, tuple[float, float, float]], level: str) -> Printed:
    """The places alone, a row for each search."""
    header = ["search", *(f"{budget} trainings" for budget in lines)]
    rows = [
        ["best of as many random cells", *(f"{line:.0f} ± {deviation:.0f}" for line, deviation, _ in lines.values())]
    ]
    for search in dict.fromkeys(each.search for each in reached):
        own = {each.budget: each for each in reached if each.search == search}
        shown = (
            f"{with_spread(own[budget].percentiles, 0)} ({own[budget].low:.0f} to {own[budget].high:.0f}) "
            f"{verdict(own[budget], line)}"
            if budget in own
            else ""
            for budget, (line, *_) in lines.items()
        )
        rows.append([search, *shown])
    title = f"The same percentiles by budget, with their {level} intervals, against the best of as many random cells."
    return Printed("searches_by_budget", title, header, rows, 1)


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

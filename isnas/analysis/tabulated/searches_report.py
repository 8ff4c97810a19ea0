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
from isnas.analysis.tabulated.reached import Line, Reached, best_of_random, results, untrained
from isnas.analysis.tabulated.rows import RowFile
from isnas.base.errors import UserError

BY_OTHERS = "judged by trainings that did not choose it"

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
        raise UserError(
            f"{options.path} has no row of these searches with a trained cell; leave --no_search out, or ask for others"
        )
    lines = {budget: best_of_random(benchmark, budget, options) for budget in sorted({e.budget for e in reached})}
    level = f"{100 * options.level:g} %"
    waiting = len(untrained(options, benchmark, file))
    shown = f"{len(benchmark)} of the table ({benchmark.table.benchmark.shown})"
    title = (
        f"Place of the cell that is found among the {shown}, by the mean loss of {benchmark.table.benchmark.seeds} "
        "trainings: 100 is the best, 50 a random one. The budget is in trainings of one cell; regret: points of "
        "accuracy below the best cell. `best of N random cells` is what the same budget buys without a search, by one "
        "training each; it is judged by all trainings of the cell, and then by those that did not choose it. Above or "
        f"below: the {level} interval of the mean is, of both."
    )
    if waiting:
        title += f" Left out: {waiting} of the cells that were found {'is' if waiting == 1 else 'are'} not trained yet."
    header = ["search", "budget", "seeds", "percentile", f"{level} interval", "against random", "regret"]
    rows = []
    for budget, line in lines.items():
        rows.append([f"best of {budget} random cells", str(budget), "", f"{line.mean:.0f} ± {line.deviation:.0f}"])
        rows[-1] += ["", "", f"{line.regret:.2f}"]
        rows.append([BY_OTHERS, str(budget), "", f"{line.others:.0f} ± {line.others_deviation:.0f}", "", "", ""])
        for each in (each for each in reached if each.budget == budget):
            row = [each.search, str(budget), str(len(each.seeds)), with_spread(each.percentiles, 0)]
            rows.append([*row, _interval(each), line.against(each), with_spread(each.regrets, 2)])
    printed = Printed("searches", title, header, rows, 1)
    values = {
        "table": options.table,
        "random": {budget: asdict(line) for budget, line in lines.items()},
        "searches": [asdict(each) for each in reached],
    }
    by_budget = [_by_budget(reached, lines, level)] if len(lines) > 1 else []
    return Report.of(
        [printed, *by_budget, _taus(reached, options, level)],
        values,
        partial(draw, reached, {budget: line.mean for budget, line in lines.items()}),
    )


def _interval(reached: Reached) -> str:
    return "" if reached.low is None else f"{reached.low:.0f} to {reached.high:.0f}"


def _by_budget(reached: Sequence[Reached], lines: dict[int, Line], level: str) -> Printed:
    """The places alone, a row for each search."""
    header = ["search", *(f"{budget} trainings" for budget in lines)]
    rows = [
        ["best of as many random cells", *(f"{line.mean:.0f} ± {line.deviation:.0f}" for line in lines.values())],
        [BY_OTHERS, *(f"{line.others:.0f} ± {line.others_deviation:.0f}" for line in lines.values())],
    ]
    for search in dict.fromkeys(each.search for each in reached):
        own = {each.budget: each for each in reached if each.search == search}
        rows.append([search])
        for budget, line in lines.items():
            shown = ""
            if each := own.get(budget):
                shown = with_spread(each.percentiles, 0)
                shown += f" ({_interval(each)}) {line.against(each)}" if each.low is not None else ""
            rows[-1].append(shown)
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

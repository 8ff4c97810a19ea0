"""What the searches reached on a tabulated benchmark, and what as many random architectures do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch

from isnas.analysis.options.searches import SearchesOptions
from isnas.analysis.tabulated.queries import TabulatedBenchmark
from isnas.analysis.tabulated.rows import RowFile
from isnas.analysis.tabulated.table import Table
from isnas.base.random import generator
from isnas.space.connections import Support


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

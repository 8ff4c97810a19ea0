"""What the searches reached on a tabulated benchmark, and what as many random architectures do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch

from isnas.analysis.options.searches import SearchesOptions
from isnas.analysis.tabulated.queries import TabulatedBenchmark, percentiles
from isnas.analysis.tabulated.rows import RowFile
from isnas.analysis.tabulated.table import Table
from isnas.base.random import generator
from isnas.space.connections import Support

#: Seeds from which on a mean has an interval.
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Reached:
    """What the seeds of a search reached with a budget: percentiles (100: the best), regret in points of accuracy.

    ``low`` to ``high``: the interval of the mean percentile, None for fewer than :data:`LEAST_SEEDS` seeds.
    """

    search: str
    budget: int
    seeds: tuple[int, ...]
    percentiles: tuple[float, ...]
    regrets: tuple[float, ...]
    low: float | None
    high: float | None
    accs: tuple[float, ...]
    search_accs: tuple[float, ...]
    taus: tuple[float, ...]
    ranked: int | None
    passes: float | None


@dataclass(frozen=True)
class Line:
    """What the best of as many random cells as a search costs reach, the best being that of the least loss in training.

    ``mean``, ``deviation`` of its percentile and the mean ``regret`` by all trainings of a cell, as a search's cell is
    judged; the one that chose is among them, which is in its favour. ``others``: the mean percentile, with its
    ``others_deviation``, by the other trainings alone, which are fewer, and that is to its disadvantage.
    """

    mean: float
    deviation: float
    regret: float
    others: float
    others_deviation: float

    def against(self, reached: Reached) -> str:
        """How the interval of a search's mean lies to what random cells reach, by whichever trainings."""
        if reached.low is None or reached.high is None:
            return ""
        if reached.low > max(self.mean, self.others):
            return "above"
        return "below" if reached.high < min(self.mean, self.others) else "not told apart"


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


def best_of_random(benchmark: TabulatedBenchmark, count: int, options: SearchesOptions) -> Line:
    """The best of ``count`` cells drawn from the table, each trained once, by the loss of that one training."""
    table, rng = benchmark.table, np.random.default_rng(options.seed)
    drawn = rng.integers(len(table.cells), size=(options.resamples, count))
    seeds = rng.integers(table.losses.shape[1], size=drawn.shape)
    samples, best = np.arange(len(drawn)), table.losses[drawn, seeds].argmin(axis=1)
    chosen, by = drawn[samples, best], seeds[samples, best]
    places, accs = percentiles(table.scores)[chosen], table.accs.mean(axis=1)
    others = places
    if (trained := table.losses.shape[1]) > 1:
        rest = [percentiles(np.delete(table.losses, seed, axis=1).mean(axis=1)) for seed in range(trained)]
        others = np.array(rest)[by, chosen]
    regret = float((accs.max() - accs[chosen]).mean())
    return Line(float(places.mean()), float(places.std()), regret, float(others.mean()), float(others.std()))


def found_rows(options: SearchesOptions, file: RowFile, name: str, budget: int) -> list[dict[str, Any]]:
    """The rows of a search or variant with a budget, by seed, of the seeds that it can have."""
    seeds = range(options.first_seed, options.first_seed + max(options.num_seeds, options.most_seeds))
    rows = [row for row in file.rows if (row.get("search"), row.get("budget")) == (name, budget)]
    return sorted((row for row in rows if row["seed"] in seeds), key=lambda row: row["seed"])


def untrained(options: SearchesOptions, benchmark: TabulatedBenchmark, file: RowFile) -> dict[Support, dict[str, Any]]:
    """What these searches have found that is neither in the table nor trained yet, each with a row of it."""
    known = scores(benchmark.table, file)
    names = [name for search in options.searches for name in (search.name, *search.variants)]
    rows = [row for name in names for budget in options.budgets for row in found_rows(options, file, name, budget)]
    return {row["support"]: row for row in rows if row["support"] not in known}


def results(
    options: SearchesOptions, benchmark: TabulatedBenchmark, file: RowFile, most: int | None = None
) -> list[Reached]:
    """What is known of every search and variant with every budget, as far as what it found is trained.

    Of ``most`` seeds, the first ones, if it is given.
    """
    known = scores(benchmark.table, file)
    reached = []
    for search in options.searches:
        for name in (search.name, *search.variants):
            for budget in options.budgets:
                rows = found_rows(options, file, name, budget)[:most]
                if rows := [row for row in rows if row["support"] in known]:
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
    low = high = None
    if len(places) >= LEAST_SEEDS:
        low, high = interval(places, options.resamples, options.level, options.seed)
    taus = tuple(row["tau"] for row in rows if row.get("tau") is not None)
    passes = [row["passes"] for row in rows if "passes" in row]
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
    )


def interval(values: Sequence[float], resamples: int, level: float, seed: int) -> tuple[float, float]:
    """The expanded percentile interval of the mean of two values or more, over samples of them with replacement.

    Between the quantiles Phi(-q) and Phi(q), q = sqrt(n / (n - 1)) times that of Student's t with n - 1 degrees of
    freedom. With normal values it is t's interval; the one between the quantiles of the level itself is too narrow for
    few values, with 8 by a fifth (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015).
    """
    from scipy.stats import norm, t  # slow to import

    n = len(values)
    drawn = torch.randint(n, (resamples, n), generator=generator(seed, "searches")).numpy()
    tail = norm.sf(sqrt(n / (n - 1)) * t.ppf((1.0 + level) / 2, n - 1))
    low, high = np.quantile(np.array(values)[drawn].mean(axis=1), [tail, 1.0 - tail])
    return float(low), float(high)

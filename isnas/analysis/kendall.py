"""Whether the accuracy in the super-net ranks cells as training them does: Kendall's tau (ISTA-NAS, Table 2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from isnas.analysis.options.kendall import KendallOptions
from isnas.analysis.report import Report
from isnas.analysis.search_runs import Runs, SearchRun, grouped, paper_name, read_all, require
from isnas.analysis.summary import EvaluationSummary
from isnas.analysis.tables import Table
from isnas.base.errors import UserError
from isnas.base.random import generator

#: Table 2 of ISTA-NAS: 8 seeds of each method on CIFAR-10, one pair of accuracies each.
PAPER = {"DARTS (1st order)": -0.36, "PC-DARTS": -0.21, "Two-stage ISTA-NAS": 0.43, "One-stage ISTA-NAS": 0.57}
TITLE = (
    "Kendall's tau of the accuracy in the search and that of the found cell trained by itself. tau-a is the "
    "supplement's: the sum of sign(x_i - x_j) sign(y_i - y_j) over pairs, divided by their number n (n - 1) / 2; tau-b "
    "leaves ties out; the interval is of tau-b, of bootstrapped pairs. A one-stage search is paired by the test "
    "accuracy of its own network. The paper's are of 8 seeds on CIFAR-10."
)


@dataclass(frozen=True)
class Pair:
    """An architecture's accuracies (percent): in the search, and trained by itself (mean of ``trainings``)."""

    hash: str
    seed: int
    search_acc: float
    trained_acc: float
    trainings: int


@dataclass(frozen=True)
class Correlation:
    """The pairs of a search whose cells were trained in one way, and their taus; None where there is none."""

    search: str
    images: str
    pairs: tuple[Pair, ...]
    tau_a: float | None
    tau_b: float | None
    low: float | None
    high: float | None
    paper: float | None


def analyse(options: KendallOptions) -> Report:
    """Pair what the folders hold, and correlate it.

    Raises:
        UserError: when nothing can be paired.
    """
    runs = read_all(options.runs)
    require(runs.searches, "a search")
    found = [
        correlate(name, images, pairs, paper_name(searches[0].config), options)
        for name, searches in grouped(runs.searches).items()
        for images, pairs in paired(searches, runs, options.pairs).items()
    ]
    if not found:
        raise UserError(
            "no training is of an architecture that these searches found; train them by tools/evaluate.py --arch RUN"
        )
    header = ["search", "images", "n", "trainings", "tau-a", "tau-b", f"{100 * options.level:g} % interval", "paper"]
    rows = [
        [
            *(each.search, each.images, str(len(each.pairs)), str(sum(pair.trainings for pair in each.pairs))),
            *(_shown(each.tau_a), _shown(each.tau_b)),
            "" if each.low is None else f"{_shown(each.low)} to {_shown(each.high)}",
            _shown(each.paper),
        ]
        for each in found
    ]
    table = Table("kendall", TITLE, header, rows, 2)
    values = {"pairs": options.pairs, "level": options.level, "correlations": [asdict(each) for each in found]}
    return Report.of([table], values, partial(draw, found))


def paired(searches: Sequence[SearchRun], runs: Runs, which: str) -> dict[str, list[Pair]]:
    """The pairs of the seeds of a search, by what their cells were trained on; another way of training is a group.

    An architecture that occurs in several epochs of a seed is paired once, with its last accuracy.
    """
    groups: dict[str, list[Pair]] = {}
    for run in searches:
        moments = run.epochs if which == "epochs" else [run.found] if run.found else []
        accuracies = {each.hash: each.accuracy for each in moments}
        if run.method == "one_stage":  # what is paired is the network that the run itself ended with
            own = runs.trained.get(run.folder)
            accuracies = {own.hash: own.test_acc} if own else {}
        for name, accuracy in accuracies.items():
            if accuracy is None:
                continue
            ways: dict[str, list[EvaluationSummary]] = {}
            for row in runs.trainings_of(name):
                ways.setdefault(json.dumps(row.settings, sort_keys=True), []).append(row)
            for way, rows in ways.items():
                pair = Pair(name, run.seed, accuracy, mean(row.test_acc for row in rows), len(rows))
                groups.setdefault(way, []).append(pair)
    described: dict[str, list[Pair]] = {}
    for way, pairs in groups.items():
        settings = json.loads(way)
        words = f"{settings['dataset']}, {settings.get('epochs')} epochs"
        described[words if words not in described else f"{words} ({len(described) + 1})"] = pairs
    return described


def correlate(search: str, images: str, pairs: Sequence[Pair], method: str, options: KendallOptions) -> Correlation:
    """The taus of the pairs, with an interval."""
    x, y = (np.array([getattr(pair, name) for pair in pairs]) for name in ("search_acc", "trained_acc"))
    tau_a, tau_b = kendall(x, y)
    low, high = bootstrap(x, y, options.resamples, options.level, options.seed)
    return Correlation(search, images, tuple(pairs), tau_a, tau_b, low, high, PAPER.get(method))


def kendall(x: np.ndarray, y: np.ndarray) -> tuple[float | None, float | None]:
    """tau-a and tau-b of n pairs; None for fewer than two, and for tau-b where all x or all y are equal.

    With P the sum of sign(x_i - x_j) sign(y_i - y_j) over i < j, and N = n (n - 1) / 2: tau-a = P / N, and tau-b = P /
    sqrt(N_x N_y), where N_x and N_y count the pairs that x and y do not tie.
    """
    i, j = np.triu_indices(len(x), 1)
    if not len(i):
        return None, None
    sign_x, sign_y = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    total, untied = float(sign_x @ sign_y), float(np.abs(sign_x).sum() * np.abs(sign_y).sum())
    return total / len(i), total / untied**0.5 if untied else None


def bootstrap(
    x: np.ndarray, y: np.ndarray, resamples: int, level: float, seed: int
) -> tuple[float | None, float | None]:
    """The percentile interval of tau-b over samples of the pairs, drawn with replacement; None for fewer than 3.

    A pair drawn twice ties with itself, which tau-b leaves out; samples without a tau-b are left out.
    """
    if len(x) < 3:
        return None, None
    taus = resampled(x, y, resamples_of(len(x), resamples, seed))
    taus = taus[~np.isnan(taus)]
    if not len(taus):
        return None, None
    low, high = np.quantile(taus, [(1.0 - level) / 2, (1.0 + level) / 2])
    return float(low), float(high)


def resamples_of(count: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of ``count`` things is in each sample of as many, drawn with replacement: (resamples, count)."""
    drawn = torch.randint(count, (resamples, count), generator=generator(seed, "kendall")).numpy()
    return np.stack([np.bincount(rows, minlength=count) for rows in drawn])


def resampled(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """tau-b (R,) of R samples that have each of the n pairs as often as ``counts`` (R, n) says; NaN where none is.

    With w one of them and S_x the matrix of sign(x_i - x_j), P = w^T (S_x S_y) w / 2, N_x = w^T |S_x| w / 2: integers
    that float32 holds exactly, so that hundreds of pairs take matrix products alone.
    """
    sign_x, sign_y = (np.sign(each[:, None] - each).astype(np.float32) for each in (x, y))
    weights = counts.astype(np.float32)
    total, untied_x, untied_y = (
        np.einsum("ri,ri->r", weights @ matrix, weights, dtype=np.float64, casting="same_kind")
        for matrix in (sign_x * sign_y, np.abs(sign_x), np.abs(sign_y))
    )
    with np.errstate(invalid="ignore"):
        return total / np.sqrt(untied_x * untied_y)


def draw(found: Sequence[Correlation], folder: Path) -> list[Path]:
    """Write ``kendall.png`` and ``kendall.svg``: the pairs of every search."""
    from isnas.draw.lines import Line, LinePanel, draw_lines  # matplotlib is slow to import

    panels: dict[str, list[Line]] = {}
    for each in found:
        x, y = ([getattr(pair, name) for pair in each.pairs] for name in ("search_acc", "trained_acc"))
        panels.setdefault(each.images, []).append(Line(each.search, x, y, points=True))
    labels = "accuracy in the search (%)", "accuracy when trained (%)"
    return draw_lines([LinePanel(images, lines, *labels) for images, lines in panels.items()], folder, "kendall")


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

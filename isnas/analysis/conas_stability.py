"""Table 4 of CoNAS: what the LASSO's weight lambda does to the architecture that the same measurements lead to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from isnas.analysis.conas_runs import ConasRun, conas_among
from isnas.analysis.options.conas_stability import StabilityOptions
from isnas.analysis.paper_figures import CONAS_TABLE4
from isnas.analysis.paper_tables import hashes
from isnas.analysis.report import Report
from isnas.analysis.search_runs import Runs, read_all, require
from isnas.analysis.summary import EvaluationSummary
from isnas.analysis.tables import Table, with_spread
from isnas.base.bars import bar
from isnas.base.errors import UserError
from isnas.base.files import write_json
from isnas.nets.count import Counts, count_built
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.space import CellSpace
from isnas.sparse.boolean.parities import Bits

TITLE = (
    "Table 4 of CoNAS: the first stage recovered again from the measurements of a search, with other weights lambda of "
    "the LASSO ||y - A x||^2 + lambda ||x||_1. `on`, `off`: bits that are fixed so; `distance`: bits in which the "
    "architectures differ from that of lambda = 1, free bits counting as off. Sizes are of the network for CIFAR-10, "
    "of 20 cells and C = 36; multiply-adds of convolutions and linear layers, and with BN, ReLU and pooling, as the "
    "paper's seem to be. `random`: two random strings with as many bits on as lambda = 1 has, exactly (26.79 ± 2.27 "
    "for 15 of 140), and trainings of --arch random_wired:SEED:CONNECTIONS with as many. `test error`: mean ± standard "
    "deviation over the trainings of these cells among the runs."
)
#: The weight with which the others are compared.
REFERENCE = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a weight leads to; the sizes are of the network for CIFAR-10, in millions."""

    weight: float
    on: int
    off: int
    distance: int
    genotype: Genotype
    params_millions: float
    multiply_adds_millions: float
    all_multiply_adds_millions: float


@dataclass(frozen=True)
class Stability:
    """The outcomes of a search's measurements, and how far random strings are apart that have as many bits on."""

    search: str
    images: str
    seed: int
    bits: int
    outcomes: tuple[Outcome, ...]
    on: int
    random_mean: float
    random_deviation: float


def analyse(options: StabilityOptions) -> Report:
    """Recover the first stages of the searches anew.

    Raises:
        UserError: when no search of CoNAS has ended its first stage, or one has not used the LASSO.
    """
    runs = read_all(options.runs)
    found = [run for run in conas_among(runs.searches) if len(run.stages) > 1 or run.search.found]
    require(found, "a search of CoNAS that has ended its first stage")
    results = [stability(run, options.lambdas) for run in found]
    header = ["search", "images", "seed", "lambda", "distance", "on", "off", "params (M)", "multiply-adds (M)"]
    header += ["with BN, ReLU, pooling (M)", "test error (%)"]
    header += [f"paper: {name}" for name in ("distance", "test error (%)", "params (M)", "multiply-adds (M)")]
    rows = [row for place, each in enumerate(results) for row in _rows(each, runs, first=not place)]
    values = {"searches": [_values(each, runs) for each in results], "paper": CONAS_TABLE4}
    return Report.of([Table("conas_table4", TITLE, header, rows, 2)], values, partial(write_cells, results))


def stability(run: ConasRun, weights: Sequence[float]) -> Stability:
    """The outcomes of these weights and of the reference, ascending."""
    if run.options.recovery != "lasso":
        raise UserError(
            f"{run.search.folder} has recovered by {run.options.recovery}, which has no lambda; leave it out"
        )
    stage, free = run.stages[0], np.zeros(sum(run.space.sizes), dtype=np.int8)
    masks = {
        weight: run.after(stage, free, replace(run.options, lasso_lambda=weight, lasso_form="paper"))
        for weight in bar(sorted({*weights, REFERENCE}), run.name)
    }
    outcomes = [_outcome(run, weight, mask, masks[REFERENCE]) for weight, mask in masks.items()]
    on = int((masks[REFERENCE] == 1).sum())
    return Stability(
        run.name,
        str(run.search.config["dataset"]),
        run.search.seed,
        len(free),
        tuple(outcomes),
        on,
        *random_distance(len(free), on, on),
    )


def random_distance(bits: int, first: int, second: int) -> tuple[float, float]:
    """Mean and standard deviation of the Hamming distance of two random strings with so many of the bits on.

    With a and b of n on, a b / n are on in both on average, with the variance of the hypergeometric distribution,
    a b (n - a) (n - b) / (n^2 (n - 1)); the distance is a + b less twice that.
    """
    if bits < 2:
        return abs(first - second) * 1.0, 0.0
    variance = first * second * (bits - first) * (bits - second) / (bits**2 * (bits - 1))
    return first + second - 2 * first * second / bits, 2 * variance**0.5


def _outcome(run: ConasRun, weight: float, mask: Bits, reference: Bits) -> Outcome:
    genotype = run.genotype(mask)
    assert isinstance(genotype, Genotype)  # searches on text are refused
    size = cifar_size(run.space, genotype)
    return Outcome(
        weight=weight,
        on=int((mask == 1).sum()),
        off=int((mask == -1).sum()),
        distance=int(((mask == 1) != (reference == 1)).sum()),
        genotype=genotype,
        params_millions=size.params_millions,
        multiply_adds_millions=size.conv_linear_multiply_adds / 1e6,
        all_multiply_adds_millions=size.own_relus_multiply_adds / 1e6,
    )


@cache
def cifar_size(space: CellSpace, genotype: Genotype) -> Counts:
    """Size of the network in which papers compare cells on CIFAR-10."""
    sizes = space.derived_sizes | {"in_channels": 3, "num_classes": 10}
    return count_built(partial(space.target_network, genotype, **sizes), 3, 32)


def _rows(found: Stability, runs: Runs, first: bool) -> list[list[str]]:
    """A row per weight and one of random strings; the paper's figures stand beside the ``first`` search alone."""
    start, paper, rows = [found.search, found.images, str(found.seed)], CONAS_TABLE4 if first else {}, []
    for each in found.outcomes:
        cells = [f"{each.weight:g}", str(each.distance), str(each.on), str(each.off), f"{each.params_millions:.2f}"]
        cells += [f"{each.multiply_adds_millions:.0f}", f"{each.all_multiply_adds_millions:.0f}"]
        rows.append([*start, *cells, errors(_trainings(each, runs)), *paper.get(f"{each.weight:g}", [""] * 4)])
    distance = f"{found.random_mean:.2f} ± {found.random_deviation:.2f}"
    trained = errors(_random_trainings(found, runs))
    rows.append([*start, "random", distance, str(found.on), "", "", "", "", trained, *paper.get("random", [""] * 4)])
    return rows


def _trainings(outcome: Outcome, runs: Runs) -> list[EvaluationSummary]:
    names = set(hashes(outcome.genotype))
    return [row for row in runs.trained.values() if row.hash in names and not row.is_one_stage]


def _random_trainings(found: Stability, runs: Runs) -> list[EvaluationSummary]:
    """Those of random cells with as many connections, what nodes without any are given counted or not."""
    reference = next(each for each in found.outcomes if each.weight == REFERENCE)
    counts = {reference.on, sum(map(len, reference.genotype.normal + reference.genotype.reduce))}

    def has_as_many(arch: str) -> bool:
        kind, *numbers = arch.split(":")
        return kind == "random_wired" and len(numbers) == 2 and numbers[1] in map(str, counts)

    return [row for row in runs.trained.values() if has_as_many(row.arch)]


def errors(trainings: Sequence[EvaluationSummary]) -> str:
    """Their test errors, by ways of training: mean and deviation, how many there are, and how long they were."""
    ways: dict[str, list[EvaluationSummary]] = {}
    for row in trainings:
        ways.setdefault(json.dumps([row.settings, row.epochs], sort_keys=True), []).append(row)
    parts = [
        f"{with_spread([row.test_error for row in rows])} (n = {len(rows)}, {rows[0].epochs} epochs)"
        for rows in ways.values()
    ]
    return "; ".join(parts)


def _values(found: Stability, runs: Runs) -> dict[str, Any]:
    values = asdict(found)
    for entry, each in zip(values["outcomes"], found.outcomes):
        entry["genotype"] = each.genotype.to_json()
        entry["trainings"] = [asdict(row) for row in _trainings(each, runs)]
    return values


def write_cells(found: Sequence[Stability], folder: Path) -> list[Path]:
    """Write the cells of every outcome as a file that ``--arch`` takes, numbered by the searches in the table."""
    paths = []
    for number, each in enumerate(found):
        for outcome in each.outcomes:
            paths.append(folder / f"cells_{number}_lambda_{outcome.weight:g}.json")
            write_json(paths[-1], {"genotype": outcome.genotype.to_json(), "text": str(outcome.genotype)})
    return paths

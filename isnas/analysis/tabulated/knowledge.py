"""What b knows of each connection: what it says in the end, against what the connection does in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from isnas.analysis.options.knowledge import KnowledgeOptions
from isnas.analysis.report import Report
from isnas.analysis.tables import Table as Printed
from isnas.analysis.tables import with_spread
from isnas.analysis.tabulated.benchmarks import SPARSENESS
from isnas.analysis.tabulated.dense_scores import Choice, choices
from isnas.analysis.tabulated.queries import open_table
from isnas.analysis.tabulated.reached import interval
from isnas.analysis.tabulated.rows import RowFile, open_rows
from isnas.analysis.tabulated.statistics import effects
from isnas.analysis.tabulated.suite import SUITE
from isnas.analysis.tabulated.table import Table
from isnas.analysis.tabulated.training import images_of
from isnas.analysis.tabulated.watching import Watched, watched_row
from isnas.base.errors import UserError
from isnas.base.text import brief
from isnas.engine.progress import progress
from isnas.methods.sampled_recovery import split_half
from isnas.space.connections import bits_of
from isnas.sparse.lasso import Array

NAMES = (
    "two-stage, z every step",
    "two-stage, z every step, W warmed up",
    "sampled gradients",
    "sampled recovery",
)
SEARCHES = tuple({search.name: search for search in SUITE}[name] for name in NAMES)
#: Architectures of a table for each connection, at least, so that the effects can be told from noise.
ROWS_PER_CONNECTION = 3
#: Measurements, and candidates of a node: those of the paper's smallest and largest one.
MEASURED, CANDIDATES = 7, (14, 35)

MOVED, OWN, OTHERS, Z, SIZE, SCORE = (
    "a·(b - b0)",
    "of it, while it ran",
    "of it, while others ran",
    "z",
    "|z|",
    "score u",
)
#: What a search says of a node's candidates; None where it does not.
SAYINGS: dict[str, Callable[[Watched, int], Array | None]] = {
    MOVED: lambda known, j: known.own[j] + known.others[j],
    OWN: lambda known, j: known.own[j],
    OTHERS: lambda known, j: known.others[j],
    Z: lambda known, j: known.z[j],
    SIZE: lambda known, j: np.abs(known.z[j]),
    SCORE: lambda known, j: None if known.scores is None else known.scores[j].sum(0),
}


def analyse(options: KnowledgeOptions) -> Report:
    """Carry out the searches that are missing, and hold what b says against the table.

    Raises:
        UserError: when there is no table, one of too few architectures, no file of rows, or one of other images.
    """
    table = open_table(options.table, options.file)
    sizes = table.benchmark.space.sizes
    least = min(ROWS_PER_CONNECTION * sum(sizes), len(table.benchmark.supports))
    if len(table.cells) < least:
        raise UserError(
            f"the table has {len(table.cells)} architectures, too few to tell what {sum(sizes)} connections do; train "
            f"{least} or more first"
        )
    file = open_rows(options.path, table.facts, begin=options.search)
    known = {(each.search, each.budget, each.seed): each for each in (_read(row, sizes, file) for row in file.rows)}
    wanted = [(search, seed) for seed in options.seeds for search in SEARCHES]
    missing = [task for task in wanted if (task[0].name, options.trainings, task[1]) not in known]
    if options.search and missing:
        dataset = images_of(table.benchmark)
        for number in progress(0, len(missing), table.benchmark.name):
            search, seed = missing[number]
            file.append(watched_row(search, table.benchmark, dataset, options.trainings, seed))
            known[search.name, options.trainings, seed] = _read(file.rows[-1], sizes, file)
    there = [known[key] for search, seed in wanted if (key := (search.name, options.trainings, seed)) in known]
    if not there:
        raise UserError(f"{options.path} has no row of these searches; leave --no_search out, or ask for others")
    return report(options, table, there)


def _read(row: dict[str, Any], sizes: tuple[int, ...], file: RowFile) -> Watched:
    try:
        return Watched.of_row(row, sizes)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise UserError(f"{file.path} has a row that is none of a search: {brief(str(row))}; remove it") from None


def effects_of(table: Table) -> list[Array]:
    """By node, how much less the loss of the table is with each candidate: more is better."""
    sizes, supports = table.benchmark.space.sizes, table.benchmark.supports
    active = np.array([bits_of(supports[cell], sizes) for cell in table.cells], dtype=np.int8)
    found = effects(active, sizes, table.scores)
    return [np.array([-effect.fitted for effect in found if effect.node == node]) for node in range(len(sizes))]


def rank_correlation(x: Array, y: Array) -> float | None:
    """Spearman's; None of fewer than three, and 0 where all of y are equal, which tells none from another."""
    if len(x) < 3 or np.ptp(x) == 0.0:
        return None
    if np.ptp(y) == 0.0:
        return 0.0
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Array) -> Array:
    """From 0, those of equal values their mean."""
    signs = np.sign(values[:, None] - values)
    return np.asarray(signs.sum(1) / 2)


@dataclass(frozen=True)
class Agreement:
    """How what a search says goes with the main effects, over all candidates and over those that never ran.

    ``every`` and ``never`` have a value for each seed in which there is one: a rank correlation, mean over the nodes.
    """

    search: str
    says: str
    every: list[float]
    never: list[float]


def agreements(known: Sequence[Watched], truth: Sequence[Array]) -> list[Agreement]:
    """Of each search and each thing it says."""
    found = []
    for name in dict.fromkeys(each.search for each in known):
        for says, what in SAYINGS.items():
            every: list[float] = []
            never: list[float] = []
            for each in (each for each in known if each.search == name):
                said = [what(each, j) for j in range(len(truth))]
                if any(part is None for part in said):
                    continue
                for values, chosen in ((every, [part >= 0 for part in each.ran]), (never, [p == 0 for p in each.ran])):
                    nodes = [rank_correlation(x[of], y[of]) for x, y, of in zip(truth, said, chosen) if y is not None]
                    values += [mean(some)] if (some := [value for value in nodes if value is not None]) else []
            if every:
                found.append(Agreement(name, says, every, never))
    return found


def report(options: KnowledgeOptions, table: Table, known: Sequence[Watched]) -> Report:
    """The tables, the pictures and the numbers."""
    truth = effects_of(table)
    found = agreements(known, truth)
    dense = [choice for n in CANDIDATES for choice in choices(MEASURED, n, SPARSENESS, options.draws, options.seed)]
    values = {
        "table": options.table,
        "trainings": options.trainings,
        "effects": [part.tolist() for part in truth],
        "connections": table.benchmark.space.candidate_names,
        "searches": [_plain(each) for each in known],
        "correlations": [asdict(each) for each in found],
        "dense_scores": [asdict(choice) for choice in dense],
    }
    parts = [_summary(known, table, options), _correlations(found, options), _dense(dense, options)]
    return Report.of(parts, values, partial(draw, known, truth))


def _plain(each: Watched) -> dict[str, Any]:
    lists = {key: [part.tolist() for part in value] for key, value in vars(each).items() if isinstance(value, list)}
    return vars(each) | lists


def _summary(known: Sequence[Watched], table: Table, options: KnowledgeOptions) -> Printed:
    """What ran, and how b came to where it is."""
    rows = []
    for name in dict.fromkeys(each.search for each in known):
        own = [each for each in known if each.search == name]
        never = [100 * float(np.mean(np.concatenate(each.ran) == 0)) for each in own]
        others = [_share_of_others(each) for each in own]
        halves = [half for each in own if each.scores is not None and (half := split_half(each.scores)) is not None]
        row = [name, str(len(own)), f"{mean(each.steps for each in own):.0f}"]
        row += [with_spread([each.supports for each in own], 1), with_spread(never, 0), with_spread(others, 0)]
        rows.append([*row, with_spread(halves)])
    title = (
        f"Steps of b in searches with a budget of {options.trainings} trainings ({table.benchmark.shown}): how many "
        "different architectures ran in them, how many of the connections never did (%), how much of the movement of "
        "b along a connection's column, |a_k·Δb| summed over the connections, came from steps in which it did not run "
        "(%), and how the scores of even steps correlate with those of odd ones."
    )
    header = ["search", "seeds", "steps of b", "architectures", "never ran", "moved by others", "split-half"]
    return Printed("knowledge", title, header, rows)


def _share_of_others(each: Watched) -> float:
    own, others = (float(np.abs(np.concatenate(part)).sum()) for part in (each.own, each.others))
    return 100 * others / (own + others) if own + others else 0.0


def _correlations(found: Sequence[Agreement], options: KnowledgeOptions) -> Printed:
    """What b says against the table."""
    rows = []
    for each in found:
        row = [each.search, each.says]
        for values in (each.every, each.never):
            row += [with_spread(values), ""]
            if len(values) > 1:
                low, high = interval(values, options.resamples, options.level, options.seed)
                row[-1] = f"{low:.2f} to {high:.2f}"
        rows.append(row)
    level = f"{100 * options.level:g} % interval"
    title = (
        "Rank correlation (Spearman) of what a search says of a node's connections in the end and what they do to the "
        "loss in the table, mean over the nodes, then over the seeds: 1 is the table's order, 0 is chance; a node of "
        "whose connections it says the same counts as 0. a is a connection's column of A, b0 the b at the start. Nodes "
        "with less than three connections that never ran are left out of the last two columns."
    )
    header = ["search", "what it says", "all connections", level, "those that never ran", level]
    return Printed("knowledge_correlations", title, header, rows, 2)


def _dense(found: Sequence[Choice], options: KnowledgeOptions) -> Printed:
    """The recovery of scores that are not sparse."""
    rows = [[f"{each.n}", each.rule, f"{each.percentile:.1f}", f"{each.found:.1f}"] for each in found]
    title = (
        f"Recovery of dense scores u, drawn from N(0, 1), from b of {MEASURED} numbers ({options.draws:,} draws, unit "
        f"gaussian A): the place of the chosen {SPARSENESS} of n connections among all sets of {SPARSENESS} by the sum "
        f"of scores (100 is the best, 50 chance), and the share of the {SPARSENESS} best that are chosen (%). t is the "
        f"score after the {SPARSENESS} best."
    )
    return Printed("knowledge_scores", title, ["n", "chosen by", "percentile", "of the best"], rows, 2)


def draw(known: Sequence[Watched], truth: Sequence[Array], folder: Path) -> list[Path]:
    """Write ``knowledge``, a·(b - b0) over the main effects, and ``knowledge_z``, z over them, a panel per search."""
    from isnas.draw.lines import Line, LinePanel, draw_lines  # matplotlib is slow to import

    paths = []
    for picture, says in (("knowledge", MOVED), ("knowledge_z", Z)):
        panels = []
        for name in dict.fromkeys(each.search for each in known):
            points: dict[bool, tuple[list[float], list[float]]] = {True: ([], []), False: ([], [])}
            for each in (each for each in known if each.search == name):
                for j, effect in enumerate(truth):
                    y = SAYINGS[says](each, j)
                    assert y is not None
                    for ran, x, value in zip(each.ran[j] > 0, effect.tolist(), _standardised(y).tolist()):
                        points[bool(ran)][0].append(x)
                        points[bool(ran)][1].append(value)
            lines = [Line(_RAN[ran], x, y, points=True) for ran, (x, y) in points.items()]
            panels.append(LinePanel(name, lines, "less test loss with it, in the table", f"{says}, standardised"))
        paths += draw_lines(panels, folder, picture)
    return paths


_RAN = {True: "connections that ran in a step of b", False: "connections that never did"}


def _standardised(values: Array) -> Array:
    """Of a node: mean 0, deviation 1; equal values are 0."""
    return np.asarray((values - values.mean()) / (values.std() or 1.0))

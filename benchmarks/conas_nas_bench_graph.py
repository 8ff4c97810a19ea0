"""CoNAS on a table of real accuracies, NAS-Bench-Graph's cora, against the best of as many random architectures.

The table has 4 operations of 8 kinds and 8 lists of links (benchmarks/cube.py), 15 bits or 32,768 architectures,
isomorphic ones among them with one entry, and an answer for all. So every rank is exact, and so is the share of the
variance that polynomials of each degree explain. It comes with the package nas-bench-graph, which this benchmark alone
needs and which unpickles a file of its own; ``--quick`` makes a small table up instead.

CoNAS minimises the validation error in percent. A stage measures m random architectures that have the bits fixed so
far, and fixes those of the polynomial it recovers; bits that are free to the end are off. Architectures that it
measures twice count once, and what it finds counts as one more, so that random search gets at most the paper's m times
the stages, plus 1. When all bits are fixed, further stages do nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from common import make_parser, write_figures
from cube import Cube, planted_cube, read_table, variance_by_degree
from scipy.stats import spearmanr

from isnas.analysis.tables import with_spread
from isnas.base.errors import run_tool
from isnas.base.files import markdown_table
from isnas.base.random import generator
from isnas.draw.lines import Line, LinePanel, draw_lines
from isnas.sparse.boolean.recovery import RecoverySettings, recover

PAPER = RecoverySettings()


@dataclass(frozen=True)
class Way:
    """A search: how many it measures in a stage (None: all that are left), how it recovers, with which numbering."""

    name: str
    measurements: int | None
    settings: RecoverySettings
    recoded: bool = False


@dataclass(frozen=True)
class Sizes:
    """What is searched with, and how often."""

    measurements: Sequence[int] = (100, 200, 400)
    monomials: Sequence[int] = (5, 10)
    stages: int = 4
    seeds: int = 20


def main(argv: list[str]) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", default="cora", choices=["cora", "citeseer", "pubmed"], help="which table")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw rank against measurements there")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        cube, sizes, arguments.dataset = planted_cube(9, 12), Sizes((20,), (4,), 2, 2), "made up"
        print("A made-up table of 9 bits: its figures tell nothing.")
        facts = described_table(cube)
    else:
        cube, sizes = read_table(arguments.dataset), Sizes()
        facts = described_table(cube)
        left_out = [described_table(read_table(arguments.dataset, number)) for number in range(9)]
        facts["up_to_degree_2_by_links_left_out"] = [each["variance_up_to_degree_2"] for each in left_out]
    lines = [f"- {name.replace('_', ' ')}: {shown(value)}" for name, value in facts.items()]
    print("\n".join([*lines, ""]))
    main_ways, other_ways = ways(sizes)
    rows = [row for way in (*main_ways, *other_ways) for row in summaries(cube, way, sizes)]
    own = [row for row in rows if row["way"] == "CoNAS"]
    others = [row for row in rows if row["way"] != "CoNAS" and row["stage"] == sizes.stages]
    tables = [table([row for row in own if row["stage"] in (1, sizes.stages)]), table(others)]
    print("\n\n".join([*tables, conclusion(own, sizes.seeds)]))
    figures = {"dataset": arguments.dataset, "seeds": sizes.seeds, "table": facts}
    figures["searches"] = [averaged(row) for row in [*own, *others]]
    write_figures(arguments.output, figures)
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        print(*draw(cube, rows, sizes, arguments.pictures))


def described_table(cube: Cube) -> dict[str, Any]:
    """What the table is like: its variance by degree, where the architecture is that has all bits off, its ranks."""
    best = np.argsort(cube.error, kind="stable")[: len(cube.error) // 10]
    by_degree = variance_by_degree(cube.error)
    return {
        "variance_by_degree": by_degree.tolist(),
        "variance_up_to_degree_2": float(by_degree[:2].sum()),
        "all_bits_off_top_percent": cube.top(cube.error[0]),
        "rank_correlation_of_validation_and_test": float(spearmanr(cube.valid, cube.test).statistic),
        "rank_correlation_in_the_best_tenth": float(spearmanr(cube.valid[best], cube.test[best]).statistic),
    }


def shown(value: float | list[float]) -> str:
    """A number or several."""
    return " ".join(f"{each:.3f}" for each in (value if isinstance(value, list) else [value]))


def ways(sizes: Sizes) -> tuple[list[Way], list[Way]]:
    """The searches with the paper's recovery, and those with something else about it, of the middle m."""
    m = sizes.measurements[len(sizes.measurements) // 2]
    paper, others = [], []
    for s in sizes.monomials:
        settings = replace(PAPER, monomials=s)
        paper += [Way("CoNAS", each, settings) for each in sizes.measurements]
        others += [
            Way("degree 1", m, replace(settings, degree=1)),
            Way("constant as intercept", m, replace(settings, constant="intercept")),
            Way("iterative hard thresholding", m, replace(settings, method="iht")),
            Way("LASSO weight 100", m, replace(settings, weight=100.0)),
            Way("codes in random order", m, settings, recoded=True),
            Way("all measured", None, settings),
        ]
    return paper, others


def search(cube: Cube, way: Way, seed: int, stages: int) -> list[dict[str, float]]:
    """What one search has after every stage, beside the best of as many random architectures."""
    if way.recoded:
        cube = cube.recoded(seed)
    order = torch.randperm(len(cube.error), generator=generator(seed, "random")).numpy()
    fixed: dict[int, int] = {}
    measured: set[int] = set()
    outcomes: list[dict[str, float]] = []
    for stage in range(1, stages + 1):
        free = [bit for bit in range(cube.num_bits) if bit not in fixed]
        if not free:
            outcomes.append(outcomes[-1] | {"stage": stage})
            continue
        rows = sample(cube, fixed, way.measurements, generator(seed, "bits", stage))
        measured.update(rows.tolist())
        recovered = recover(cube.alpha[rows][:, free], cube.error[rows], way.settings)
        polynomial = recovered.polynomial.renumbered(free)
        if stage == 1:
            explained = 1.0 - (cube.error - polynomial(cube.alpha)).var() / cube.error.var()
        fixed |= polynomial.minimiser()
        found = int(cube.rows(np.array([fixed.get(bit, -1) for bit in range(cube.num_bits)])))
        seen = [*measured | {found}]
        taken = order[: len(seen)]
        outcome = {"stage": stage, "measured": len(seen), "free_bits": cube.num_bits - len(fixed)}
        outcome |= {"explained": explained, "mean_error": cube.error[rows].mean()}
        outcome |= described(cube, found, "found") | {"best_seen_top": cube.top(cube.error[seen].min())}
        outcomes.append(outcome | described(cube, int(taken[cube.error[taken].argmin()]), "random"))
    return outcomes


def sample(cube: Cube, fixed: dict[int, int], count: int | None, rng: torch.Generator) -> np.ndarray:
    """Rows of ``count`` random architectures that have the fixed bits, or of all that do."""
    if count is None:
        alpha = cube.alpha.copy()
    else:
        alpha = 2 * torch.randint(2, (count, cube.num_bits), generator=rng).numpy() - 1
    alpha[:, list(fixed)] = list(fixed.values())
    return cube.rows(alpha) if count else np.unique(cube.rows(alpha))


def described(cube: Cube, row: int, name: str) -> dict[str, float]:
    """One architecture: its place, test accuracy and distance in validation accuracy from the best, in percent."""
    values = {"top": cube.top(cube.error[row]), "test": cube.test[row], "regret": cube.error[row] - cube.error.min()}
    return {f"{name}_{key}": float(value) for key, value in values.items()}


def summaries(cube: Cube, way: Way, sizes: Sizes) -> list[dict[str, Any]]:
    """The figures of a way after each stage: the values of all seeds, by name; what measures all needs one seed."""
    runs = [search(cube, way, seed, sizes.stages) for seed in range(sizes.seeds if way.measurements else 1)]
    rows = []
    for stage, outcomes in enumerate(zip(*runs), 1):
        row = {"way": way.name, "m": way.measurements, "s": way.settings.monomials, "stage": stage}
        row |= {key: [float(outcome[key]) for outcome in outcomes] for key in outcomes[0] if key != "stage"}
        row["better"] = mean(outcome["found_top"] < outcome["random_top"] for outcome in outcomes)
        rows.append(row)
    return rows


def averaged(row: dict[str, Any]) -> dict[str, Any]:
    """The row with means, and standard deviations of what the search is about, in place of the values of all seeds."""
    short: dict[str, Any] = {}
    for key, value in row.items():
        short[key] = round(mean(value), 4) if isinstance(value, list) else value
        if key.endswith(("_top", "_test")):
            short[f"{key}_deviation"] = round(float(np.std(value, ddof=min(1, len(value) - 1))), 4)
    return short


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line per way and stage: means over the seeds, with their standard deviation for what is found."""
    header = ["search", "m", "s", "stages", "measured", "variance explained", "found: top (%)", "best seen: top (%)"]
    header += ["random: top (%)", "found is better", "regret (%)", "of random", "test accuracy (%)", "of random"]
    lines = []
    for row in rows:
        line = [row["way"], str(row["m"] or "all"), str(row["s"]), str(row["stage"]), f"{mean(row['measured']):,.0f}"]
        line += [f"{mean(row['explained']):.0%}", with_spread(row["found_top"], 1), f"{mean(row['best_seen_top']):.2f}"]
        line += [with_spread(row["random_top"]), f"{row['better']:.0%}"]
        line += [f"{mean(row[key]):.2f}" for key in ("found_regret", "random_regret")]
        lines.append([*line, with_spread(row["found_test"], 1), with_spread(row["random_test"], 1)])
    return markdown_table(header, lines)


def conclusion(rows: Sequence[dict[str, Any]], seeds: int) -> str:
    """What the searches with the paper's recovery show, in words."""
    last = [row for row in rows if row["stage"] == max(row["stage"] for row in rows)]
    keys = ("found_top", "random_top", "best_seen_top", "found_test", "random_test")
    found, random, seen, found_test, random_test = ([mean(row[key]) for row in last] for key in keys)
    wins = sum(round(seeds * row["better"]) for row in last)
    rather = "better" if 2 * wins > len(last) * seeds else "worse"
    return (
        f"After the last stage CoNAS's architecture is in the top {min(found):.1f} to {max(found):.1f} % on average, "
        f"the best of as many random ones in the top {min(random):.2f} to {max(random):.2f} %: CoNAS is {rather}, and "
        f"ahead in {wins} of {len(last) * seeds} searches. The best that it has seen, measured or found, is in the "
        f"top {min(seen):.2f} to {max(seen):.2f} %. On the test images CoNAS's reaches {min(found_test):.1f} to "
        f"{max(found_test):.1f} %, the best of random {min(random_test):.1f} to {max(random_test):.1f} %."
    )


def draw(cube: Cube, rows: Sequence[dict[str, Any]], sizes: Sizes, folder: Path) -> list[Path]:
    """The place of what is found against how many were measured, a panel per s; of random search quartiles, too."""
    most = max(mean(row["measured"]) for row in rows if row["m"])
    counts = [round(count) for count in np.geomspace(min(sizes.measurements) / 2, most, 30)]
    errors = [
        cube.error[torch.randperm(len(cube.error), generator=generator(seed, "random"))] for seed in range(sizes.seeds)
    ]
    tops = np.array([[cube.top(each[:count].min()) for each in errors] for count in counts])
    low, high = np.quantile(tops, (0.25, 0.75), axis=1)
    random = Line("best of random", counts, tops.mean(axis=1), low, high)
    panels = []
    for s in sizes.monomials:
        lines = []
        for m in sizes.measurements:
            own = [row for row in rows if (row["way"], row["s"], row["m"]) == ("CoNAS", s, m)]
            x, y = ([mean(row[key]) for row in own] for key in ("measured", "found_top"))
            lines.append(Line(f"CoNAS, m = {m}", x, y))
        panels.append(LinePanel(f"s = {s}", [*lines, random], "architectures measured", "top (%)", log="y"))
    return draw_lines(panels, folder, "conas_nas_bench_graph")


if __name__ == "__main__":
    run_tool(main)

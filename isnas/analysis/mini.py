"""What the table of a tabulated benchmark is like: spread, noise of seeds, and what single connections explain."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from isnas.analysis.kendall import resamples_of
from isnas.analysis.options.mini import MiniOptions
from isnas.analysis.report import Report
from isnas.analysis.tables import Table
from isnas.analysis.tabulated.benchmarks import BENCHMARKS, Benchmark
from isnas.analysis.tabulated.pictures import draw, source_name
from isnas.analysis.tabulated.queries import open_table
from isnas.analysis.tabulated.statistics import FOLDS, agreement, components, degree_share, effects
from isnas.analysis.tabulated.table import Table as Trained
from isnas.base.errors import UserError
from isnas.engine.progress import duration
from isnas.space.connections import Support, bits_of

#: What architectures are compared by: the name, what it is, its digits.
MEASURES = (("loss", "test loss", 4), ("acc", "accuracy (%)", 2))

Values = dict[str, Any]


def analyse(options: MiniOptions) -> Report:
    """Describe a table.

    Raises:
        UserError: when there is none, or one of too few architectures to say anything.
    """
    table = open_table(options.table, options.file)
    if len(table.cells) < 2 * FOLDS:
        raise UserError(f"the table has {len(table.cells)} architectures; train {2 * FOLDS} or more first")
    for name, of_seeds in (("test loss", table.losses), ("accuracy", table.accs)):
        if (of_seeds == of_seeds[0]).all(axis=0).any():
            raise UserError(f"all architectures of the table have the same {name} with one seed; mend the table")
    values = measure(table, options)
    return Report.of(parts_of(values), values, partial(draw, table))


def measure(table: Trained, options: MiniOptions) -> Values:
    """All figures, as plain values: facts of the table, then those of both measures by their names."""
    benchmark, sizes = table.benchmark, table.benchmark.space.sizes
    supports = [benchmark.supports[cell] for cell in table.cells]
    active = np.array([bits_of(support, sizes) for support in supports], dtype=np.int8)
    counts = resamples_of(len(supports), options.resamples, options.seed)
    values: Values = {
        "benchmark": benchmark.name,
        "facts": table.facts,
        "architectures": len(supports),
        "of": len(benchmark.supports),
        "seeds": benchmark.seeds,
        "seconds": float(table.seconds.sum()),
        "level": options.level,
        "extremes": extremes(table),
    }
    for name, _, _ in MEASURES:
        of_seeds = table.losses if name == "loss" else table.accs
        scores = of_seeds.mean(axis=1)
        quantiles = np.quantile(scores, [0.0, 0.25, 0.5, 0.75, 1.0])
        values[name] = {
            "quantiles": quantiles.tolist(),
            "mean": float(scores.mean()),
            "deviation": float(scores.std(ddof=1)),
            "components": asdict(components(of_seeds)),
            "agreement": [
                asdict(agreement(of_seeds, size, counts, options.level))
                for size in sorted({1, max(benchmark.seeds // 2, 1)})
            ],
            "operations": operation_means(benchmark, active, scores),
            "effects": [asdict(effect) for effect in effects(active, sizes, scores)],
            "degrees": [
                asdict(degree_share(2 * active - 1, of_seeds, degree, table.is_complete, options.seed))
                for degree in (1, 2)
            ],
        }
    return values


def extremes(table: Trained) -> list[Values]:
    """The best and the worst architecture by loss, and the most accurate one."""
    accs = table.accs.mean(axis=1)
    rows = {"least loss": table.scores.argmin(), "most accurate": accs.argmax(), "largest loss": table.scores.argmax()}
    found = []
    for what, row in rows.items():
        support = table.benchmark.supports[table.cells[row]]
        genotype = table.benchmark.space.genotype(support)
        place = {"what": what, "cell": table.cells[row], "hash": genotype.hash(), "support": support}
        found.append(
            place | {"loss": float(table.scores[row]), "acc": float(accs[row]), "genotype": genotype.to_json()}
        )
    return found


def operation_means(benchmark: Benchmark, active: np.ndarray, scores: np.ndarray) -> dict[str, list[Values]]:
    """For each operation, by how many connections have it: how many such architectures there are, their mean score."""
    operations = benchmark.space.operations
    of_bit = np.concatenate([np.arange(size) % len(operations) for size in benchmark.space.sizes])
    found = {}
    for number, operation in enumerate(operations):
        times = active[:, of_bit == number].sum(axis=1)
        found[operation] = [
            {"times": int(each), "count": int((times == each).sum()), "mean": float(scores[times == each].mean())}
            for each in np.unique(times)
        ]
    return found


def parts_of(values: Values) -> list[Table | str]:
    """The tables of the figures, and what they are of."""
    benchmark = BENCHMARKS[values["benchmark"]]
    all_of = (
        "all" if values["architectures"] == values["of"] else f"a uniform sample of {values['architectures']:,} of the"
    )
    intro = (
        f"{benchmark.name} ({benchmark.shown}): {all_of} {values['of']:,} architectures, {values['seeds']} seeds of "
        f"each, trained in {duration(values['seconds'])} hours of one thread. Figures are of the means over the seeds; "
        "architectures are compared by the test loss, of which less is better."
    )
    parts = [_spread(values), _noise(values), _agreement(values), _extremes(values, benchmark)]
    return [intro, *parts, _operations(values), _effects(values, benchmark), _degrees(values)]


def _spread(values: Values) -> Table:
    rows = [
        [name, *(f"{each:.{digits}f}" for each in [*of["quantiles"], of["mean"], of["deviation"]])]
        for of, name, digits in _measures(values)
    ]
    header = ["", "least", "quartile", "median", "quartile", "most", "mean", "deviation"]
    return Table("mini_spread", "The spread over architectures.", header, rows)


def _noise(values: Values) -> Table:
    rows = []
    for of, name, digits in _measures(values):
        found = of["components"]
        deviations = [found[key] ** 0.5 for key in ("architectures", "seeds", "rest", "within", "noise")]
        rows.append([name, *(f"{each:.{digits}f}" for each in deviations), f"{100 * found['reliability']:.1f}"])
    title = (
        "The noise of seeds, as standard deviations: of the architectures' own scores, of what a seed does to all of "
        "them alike, of the rest; of one architecture's seeds, all pooled; of the rest in a mean over its seeds. The "
        "last column is the part of the variance of these means that is not noise, and can be explained."
    )
    header = ["", "architectures", "seeds", "rest", "within", "rest in a mean", "explainable (%)"]
    return Table("mini_noise", title, header, rows)


def _agreement(values: Values) -> Table:
    rows = [
        [name, f"{each['size']}", f"{each['pairs']}", f"{each['tau']:.3f}", f"{each['low']:.3f} to {each['high']:.3f}"]
        for of, name, _ in _measures(values)
        for each in of["agreement"]
    ]
    title = (
        "How seeds agree: Kendall's tau-b over the architectures between means of so many seeds and means of as many "
        "others, a mean over all pairs of such; the interval is of architectures drawn with replacement."
    )
    header = ["", "seeds", "pairs", "tau", f"{100 * values['level']:g} % interval"]
    return Table("mini_agreement", title, header, rows)


def _extremes(values: Values, benchmark: Benchmark) -> Table:
    rows = [
        [
            *(row["what"], row["hash"], *_connections(row["support"], benchmark)),
            *(f"{row['loss']:.4f}", f"{row['acc']:.2f}"),
        ]
        for row in values["extremes"]
    ]
    names = [name.removeprefix("normal ") for name in benchmark.space.node_names]
    header = ["", "hash", *names, *(name for _, name, _ in MEASURES)]
    return Table("mini_extremes", "The best and the worst architecture.", header, rows, 2 + len(names))


def _connections(support: Support, benchmark: Benchmark) -> list[str]:
    space = benchmark.space
    named = [[space.connection(candidate) for candidate in node] for node in support]
    return [", ".join(f"{operation} from {source_name(place)}" for operation, place in node) for node in named]


def _operations(values: Values) -> Table:
    rows, most = [], 0
    for of, name, digits in _measures(values):
        for operation, found in of["operations"].items():
            means = {each["times"]: f"{each['mean']:.{digits}f}" for each in found}
            most = max(most, *means)
            rows.append((name, operation, means))
    header = ["", "operation", *map(str, range(most + 1))]
    cells = [[name, operation, *(means.get(times, "") for times in range(most + 1))] for name, operation, means in rows]
    title = "Mean over the architectures in which so many connections have an operation."
    return Table("mini_operations", title, header, cells, 2)


def _effects(values: Values, benchmark: Benchmark) -> Table:
    space, rows = benchmark.space, []
    for of_loss, of_acc in zip(values["loss"]["effects"], values["acc"]["effects"]):
        operation, predecessor = space.connection(of_loss["candidate"])
        node = space.node_names[of_loss["node"]].removeprefix("normal ")
        figures = [
            f"{each[key]:+.{digits}f}"
            for each, (_, _, digits) in zip((of_loss, of_acc), MEASURES)
            for key in ("with_it", "fitted")
        ]
        rows.append([node, operation, source_name(predecessor), f"{of_loss['count']}", *figures])
    title = (
        "What each connection does: the mean score of the architectures that have it, minus that of all; and its part "
        "in the sum of such parts that fits all scores best (least squares, with the sum 0 at every node)."
    )
    header = ["node", "operation", "from", "architectures"]
    header += [f"{name}, {kind}" for _, name, _ in MEASURES for kind in ("with it", "fitted")]
    return Table("mini_effects", title, header, rows, 3)


def _degrees(values: Values) -> Table:
    rows = []
    for of, name, _ in _measures(values):
        for each in of["degrees"]:
            held_out = f"{100 * each['held_out']:.1f} ± {100 * each['held_out_deviation']:.1f}"
            squares = [f"{100 * each['fitted']:.1f}", held_out]
            if 2 * each["terms"] > values["architectures"]:
                squares = ["", ""]
            others = [f"{100 * each[key]:.1f}" for key in ("lasso", "of_explainable")]
            rows.append([name, f"{each['degree']}", f"{each['terms']}", *squares, *others])
    how = (
        "fitted, with the seeds' noise taken off"
        if values["architectures"] == values["of"]
        else "held out, the larger one, of what is not noise"
    )
    title = (
        "The part of the variance (%) that polynomials of the connections explain: sums of connections' effects, then "
        "those of pairs of connections too. Fitted by least squares, the same on architectures held out "
        f"({FOLDS} parts), neither with more terms than half of the architectures; the LASSO on those held out; of the "
        f"explainable: {how}."
    )
    header = ["", "degree", "terms", "fitted", "held out", "LASSO, held out", "of the explainable"]
    return Table("mini_degrees", title, header, rows)


def _measures(values: Values) -> list[tuple[Values, str, int]]:
    return [(values[key], name, digits) for key, name, digits in MEASURES]

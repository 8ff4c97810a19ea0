"""Pictures of a table: accuracies in order, seeds against other seeds, what connections do, and the best cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isnas.analysis.tabulated.statistics import effects
from isnas.analysis.tabulated.table import Table
from isnas.space.connections import bits_of


def source_name(predecessor: int) -> str:
    """What pictures of cells call a node's predecessor, an input with its number."""
    return f"c_{{k-{2 - predecessor}}} ({predecessor})" if predecessor < 2 else f"node {predecessor}"


def draw(table: Table, folder: Path) -> list[Path]:
    """Write ``mini``, ``mini_effects`` and the cells of the least loss, each as PNG and SVG."""
    space, best = table.benchmark.space, table.benchmark.supports[table.cells[int(table.scores.argmin())]]
    return _draw_spread(table, folder) + _draw_effects(table, folder) + space.draw(space.genotype(best), folder)


def _draw_spread(table: Table, folder: Path) -> list[Path]:
    from isnas.draw.lines import Line, LinePanel, draw_lines  # matplotlib is slow to import

    seeds, half = table.benchmark.seeds, table.benchmark.seeds // 2
    accs = table.accs[table.accs.mean(axis=1).argsort()[::-1]]
    ranks, (mean, low, high) = list(range(1, len(accs) + 1)), (each.tolist() for each in _mean_low_high(accs))
    in_order = Line(f"mean of {seeds} seeds, and from the least to the most", ranks, mean, low, high)
    halves = [losses.mean(axis=1).tolist() for losses in (table.losses[:, :half], table.losses[:, -half:])]
    against = Line("an architecture", halves[0], halves[1], points=True)
    labels = [f"mean test loss of the {which} {half}" if half > 1 else f"test loss of the {which}" for which in _ENDS]
    panels = [
        LinePanel("from the most accurate to the least", [in_order], "rank", "accuracy (%)"),
        LinePanel("seeds against other seeds", [against], labels[0], labels[1]),
    ]
    return draw_lines(panels, folder, "mini")


_ENDS = ("first", "last")


def _mean_low_high(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return values.mean(axis=1), values.min(axis=1), values.max(axis=1)


def _draw_effects(table: Table, folder: Path) -> list[Path]:
    from isnas.draw.curves import Panel, Series, draw_panels

    space, supports, rows = table.benchmark.space, table.benchmark.supports, []
    active = np.array([bits_of(supports[cell], space.sizes) for cell in table.cells], dtype=np.int8)
    names, count = space.operations, len(space.operations)
    for label, values in (("effect on the test loss", table.losses), ("effect on the accuracy (%)", table.accs)):
        found, row = effects(active, space.sizes, values.mean(axis=1)), []
        for node, size in enumerate(space.sizes):
            fitted = [effect.fitted for effect in found if effect.node == node]
            series = [Series(name, fitted[place::count]) for place, name in enumerate(names)]
            sources = [source_name(predecessor) for predecessor in range(size // count)]
            sources = [f"${source}$".replace(" ", r"\ ") if "_" in source else source for source in sources]
            row.append(Panel(space.node_names[node].removeprefix("normal "), sources, series, ylabel=label))
        rows.append(row)
    return draw_panels(rows, folder, "mini_effects")

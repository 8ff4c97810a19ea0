"""The kinds of measurement matrix: how coherent they are, what they recover, and how far c is from z.

The quantities are those of docs/measurement.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isnas.analysis.options.matrices import MeasurementOptions
from isnas.analysis.report import Report
from isnas.base.files import markdown_table
from isnas.base.options import to_dict
from isnas.base.random import generator
from isnas.engine.progress import progress
from isnas.space.cells.space import CellSpace
from isnas.sparse.lasso import Array
from isnas.sparse.measurement import (
    coherence,
    column_norms,
    compare_coefficients,
    draw_measurement,
    recover_planted,
    restricted_isometry,
    supports,
    welch_bound,
)
from isnas.sparse.settings import MEASUREMENTS

MOST_SUPPORTS = 60_000  # the sets of 4 of 35 columns are 52,360
B_SCALES = (1e-3, 1.0)  # where a search starts, and where b may get to
PANELS_PER_ROW = 4

Row = dict[str, Any]
Values = dict[str, Any]


def analyse(options: MeasurementOptions) -> Report:
    """Measure, and warn of solutions that are not certified."""
    values = measure(options)
    rows = [*values["recovered"], *(part for row in values["matrices"] for part in row["c_and_z"].values())]
    unconverged = sum(row["num_unconverged"] for row in rows)
    warnings = (f"{unconverged} solutions are not certified (converged = False)",) if unconverged else ()
    return Report(tables(values), values, partial(draw, values), warnings)


def measure(options: MeasurementOptions) -> Values:
    """All figures: ``matrices`` at m = ``proj_dims`` and ``recovered`` over m, a row per kind of A and size of node."""
    sizes = CellSpace(num_nodes=options.num_nodes).sizes[: options.num_nodes]
    dims = sorted({*range(2, options.max_dims + 1), options.proj_dims})
    points = [(kind, n, m) for kind in MEASUREMENTS for n in sizes for m in dims]
    matrices, recovered = [], []
    for index in progress(0, len(points), "measuring"):
        kind, n, m = points[index]
        random = generator(options.seed, "measurement", kind, n, m)
        A = np.stack([draw_measurement(kind, m, n, random) for _ in range(options.draws)])
        recovered.append({"kind": kind, "n": n, "m": m, **planted_figures(A, options)})
        if m == options.proj_dims:
            matrices.append({"kind": kind, "n": n, **matrix_figures(A, options)})
    settings = {key: value for key, value in to_dict(options).items() if key != "output"}
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    return {"options": settings, "versions": versions, "matrices": matrices, "recovered": recovered}


def planted_figures(A: Array, options: MeasurementOptions) -> Row:
    """Share of planted vectors that matrices A (draws, m, n) give back, and half its 95 % confidence interval."""
    random = generator(options.seed, "planted", *A.shape[1:])  # the same vectors for every kind of A
    planted = recover_planted(A, options.sparseness, options.lasso_lambda, options.trials, random)
    shares = planted.found.mean(1)  # the matrices are independent, the vectors of one matrix are not
    half = float(1.96 * shares.std(ddof=1) / np.sqrt(len(shares)))
    return {"share": float(shares.mean()), "confidence": half, "num_unconverged": planted.num_unconverged}


def matrix_figures(A: Array, options: MeasurementOptions) -> Row:
    """Figures of matrices A (draws, m, n), medians over the draws, and of c against z."""
    m, n = A.shape[1:]
    norms = column_norms(A)
    sets = supports(n, 2 * options.sparseness, MOST_SUPPORTS, generator(options.seed, "supports", n))
    isometries = [restricted_isometry(matrix, sets) for matrix in A]
    agreements = {
        f"{scale:g}": compare_coefficients(
            A, options.sparseness, options.lasso_lambda, scale, options.trials, generator(options.seed, "b", m, n)
        )
        for scale in B_SCALES
    }
    return {
        "column_norms": [float(np.median(of(norms, axis=1))) for of in (np.min, np.mean, np.max)],
        "coherence": float(np.median(coherence(A))),
        "welch_bound": welch_bound(m, n),
        "delta": float(np.median([isometry.delta for isometry in isometries])),
        "delta_rescaled": float(np.median([isometry.rescaled for isometry in isometries])),
        "num_supports": len(sets.indices),
        "all_supports": sets.exact,
        "c_and_z": {scale: asdict(agreement) for scale, agreement in agreements.items()},
    }


def tables(values: Values) -> str:
    """The figures as Markdown."""
    options, matrices = values["options"], values["matrices"]
    m, delta = options["proj_dims"], f"delta_{2 * options['sparseness']}"
    count = f"{options['draws'] * options['trials']:,}"

    header = ["A", "n", "column norms", "coherence", "Welch bound", delta, f"{delta} rescaled", "supports"]
    rows = [
        [
            *(row["kind"], f"{row['n']}", " ".join(f"{norm:.2f}" for norm in row["column_norms"])),
            *(f"{row['coherence']:.3f}", f"{row['welch_bound']:.3f}"),
            *(f"{row['delta']:.2f}", f"{row['delta_rescaled']:.4f}"),
            f"{row['num_supports']:,} {'(all)' if row['all_supports'] else '(random)'}",
        ]
        for row in matrices
    ]
    parts = [f"The matrices at m = {m}: medians over {options['draws']} of each.", markdown_table(header, rows)]

    header = [
        "A",
        "n",
        *(f"{what}, b of {b}" for b in matrices[0]["c_and_z"] for what in ("signs differ", "difference", "net sum")),
    ]
    rows = [[row["kind"], f"{row['n']}"] for row in matrices]
    for cells, row in zip(rows, matrices):
        for part in row["c_and_z"].values():
            cells.append(f"{100 * (1 - part['same_sign']):.1f} %")
            cells += [f"{part['difference']:.2f}", f"{part['net_sum']:.2f}"]
    parts += [f"c against z at m = {m}: {count} random b per row.", markdown_table(header, rows)]

    dims = sorted({point["m"] for point in values["recovered"]})
    shares = {(point["kind"], point["n"], point["m"]): point["share"] for point in values["recovered"]}
    cells = [(kind, n) for kind in MEASUREMENTS for n in sorted({row["n"] for row in matrices})]
    rows = [[kind, f"{n}", *(f"{100 * shares[kind, n, m]:.1f}" for m in dims)] for kind, n in cells]
    widest = 100 * max(point["confidence"] for point in values["recovered"])
    title = f"Planted vectors recovered, in % of {count}, by m (95 % confidence: within {widest:.1f} points)."
    return "\n\n".join([*parts, title, markdown_table(["A", "n", *map(str, dims)], rows)]) + "\n"


def draw(values: Values, folder: Path) -> list[Path]:
    """The recovered share over m for every size of node, and the figures at m = ``proj_dims`` as bars."""
    from isnas.draw.curves import Panel, Series, draw_panels  # matplotlib is only needed here, and slow to import

    m, k = values["options"]["proj_dims"], 2 * values["options"]["sparseness"]
    of_kind = {kind: [row for row in values["matrices"] if row["kind"] == kind] for kind in MEASUREMENTS}
    sizes = [row["n"] for row in of_kind[MEASUREMENTS[0]]]

    curves: list[Panel] = []
    for n in sizes:
        points = {kind: [p for p in values["recovered"] if (p["kind"], p["n"]) == (kind, n)] for kind in MEASUREMENTS}
        series = [Series(kind, [p["share"] for p in of], [p["confidence"] for p in of]) for kind, of in points.items()]
        dims = [p["m"] for p in points[MEASUREMENTS[0]]]
        curves.append(Panel(f"share recovered, n = {n}", dims, series, "m", ylim=(0.0, 1.05)))

    def bars(title: str, value: Callable[[Row], float], **more: Any) -> Panel:
        series = [Series(kind, [value(row) for row in rows]) for kind, rows in of_kind.items()]
        return Panel(title, [f"{n}" for n in sizes], series, f"n, at m = {m}", **more)

    bound = Series("Welch bound", [row["welch_bound"] for row in of_kind[MEASUREMENTS[0]]])
    start = f"{B_SCALES[0]:g}"
    below = [
        bars("coherence", lambda row: row["coherence"], ylim=(0.0, 1.05), reference=bound),
        bars(f"$\\delta_{{{k}}}$ of A as it is", lambda row: row["delta"]),
        bars("share of c with another sign than z", lambda row: 1 - row["c_and_z"][start]["same_sign"]),
        bars("median |c - z| / |z|", lambda row: row["c_and_z"][start]["difference"]),
    ]
    above = [curves[i : i + PANELS_PER_ROW] for i in range(0, len(curves), PANELS_PER_ROW)]
    return draw_panels([*above, below], folder, "measurement")

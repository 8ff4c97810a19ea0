"""The solvers of the recovery compared, as tables and pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from isnas.analysis.report import Report
from isnas.analysis.solver_study import B_SCALES, ITERATIVE, SIDES, SOLVERS, SolverOptions, Values, measure
from isnas.base.files import markdown_table


def analyse(options: SolverOptions) -> Report:
    """Measure, and put it into tables and pictures."""
    values = measure(options)
    return Report(tables(values), values, partial(draw, values))


def tables(values: Values) -> str:
    """The figures as Markdown."""
    options, cells = values["options"], values["cells"]
    of_all = [figures for cell in cells for figures in cell["figures"].values()]
    count, limit = of_all[0]["num_problems"], options["solver_max_iter"]
    texts: dict[str, Callable[[dict[str, float]], str]] = {
        f"Certified, in % of {count} problems; ista and fista after at most {limit:,} steps.": (
            lambda figures: f"{100 * figures['certified']:.0f}"
        ),
        "Same two largest entries as the exact solution, in %.": lambda figures: f"{100 * figures['same']:.0f}",
        "Relative gap of what is returned, median.": lambda figures: f"{figures['relative_gap']:.0e}",
        "Iterations (homotopy: segments of the path), median.": lambda figures: f"{figures['iterations']:,.0f}",
        f"Milliseconds of CPU time for the {2 * options['num_nodes']} problems of a recovery, median.": (
            lambda figures: f"{figures['milliseconds']:,.1f}"
        ),
    }
    parts = []
    for title, text in texts.items():
        rows = [
            [cell["kind"], f"{cell['scale']:g}", *(text(cell["figures"][side]) for side in SIDES)] for cell in cells
        ]
        parts += [title, markdown_table(["A", "b", *SIDES], rows)]
    lost, claimed = (sum(figures[name] for figures in of_all) for name in ("lost", "claimed"))
    parts.append(f"Certified, but with another two largest entries: {lost} of {claimed} solutions.")
    return "\n\n".join(parts) + "\n"


def draw(values: Values, folder: Path) -> list[Path]:
    """Relative gap over iterations and over time: a row per kind of A, a column per scale of b."""
    from isnas.draw.solver_curves import Curve, CurvePanel, draw_convergence  # slow to import, for matplotlib

    def curve(name: str, cell: Values, x: str) -> Curve:
        course, figures = cell["courses"][name], cell["figures"][name]
        finish = None
        if name in ITERATIVE and figures["certified"] > 0.5:
            place = float(np.interp(figures["iterations"], course["iterations"], course[x]))
            finish = (place, figures["relative_gap"])
        solved_by = next((stop for stop, gap in enumerate(course["high"], 1) if gap <= cell["goal"]), None)
        shown = [i for i, count in enumerate(course["iterations"][:solved_by]) if count >= 1]  # 0 has no logarithm
        of_shown = {key: [course[key][i] for i in shown] for key in (x, "low", "median", "high")}
        return Curve(name, of_shown[x], of_shown["low"], of_shown["median"], of_shown["high"], finish)

    paths = []
    for picture, x, xlabel in (
        ("solvers", "iterations", "iterations"),
        ("solvers_time", "milliseconds", "milliseconds per recovery"),
    ):
        panels = [
            CurvePanel(
                f"{cell['kind']}, b of {cell['scale']:g}", [curve(name, cell, x) for name in SOLVERS], cell["goal"]
            )
            for cell in values["cells"]
        ]
        paths += draw_convergence(
            [panels[start : start + len(B_SCALES)] for start in range(0, len(panels), len(B_SCALES))],
            folder,
            picture,
            xlabel=xlabel,
            ylabel="relative duality gap",
            ylim=(1e-13, 2.0),
            goal_label="certified below",
            finish_label="finished by the active set",
        )
    return paths

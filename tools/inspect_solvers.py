"""Compare the solvers of the recovery: how they converge over the scales of b, what they certify, how long they take.

Writes table.md, solvers.json and the pictures solvers.png and solvers_time.png, each also as .svg; see docs/solvers.md.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported: the figures are of one thread
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from isnas.base.errors import run_tool
from isnas.base.files import markdown_table, output_folder, write_json, write_text
from isnas.base.options import option, parse, to_dict
from isnas.base.random import generator
from isnas.engine.progress import progress
from isnas.space.cells.candidates import num_candidates
from isnas.sparse import lasso
from isnas.sparse.active_set import stack_vectors
from isnas.sparse.homotopy import Homotopy
from isnas.sparse.ista import MAX_ITER, Ista, Iterates
from isnas.sparse.lasso import Array, Solution
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.recovery import Solver, make_solver, top_support

KINDS = ("uniform", "gaussian")
B_SCALES = (1e-3, 1.0, 10.0, 30.0)
ITERATIVE = ("ista", "fista")
SOLVERS = ("homotopy", "clarabel", "fista", "ista")
UNFINISHED = {name: f"{name}, not finished" for name in ITERATIVE}
SIDES = ("homotopy", "clarabel", "fista", UNFINISHED["fista"], "ista", UNFINISHED["ista"])
STOPS_PER_DECADE = 20
PATH_STOPS = 24  # values of lambda at which the homotopy is stopped on its way
CLARABEL_STOPS = 12  # it needs about 10 iterations
LEAST_MARGIN = 1e-6  # below, which entry is the second largest is a matter of rounding

Report = dict[str, Any]


@dataclass(frozen=True)
class InspectOptions:
    """What is compared."""

    steps: int = option(4, "intermediate nodes of a cell", minimum=1, maximum=32)
    proj_dims: int = option(7, "dimension m of the compressed space", minimum=1, maximum=100)
    lasso_lambda: float = option(1e-5, "weight of the l1 norm", above=0.0)
    solver_max_iter: int = option(MAX_ITER, "most steps of ista and fista", minimum=1, maximum=10**7)
    draws: int = option(3, "recoveries, of the nodes of two cells, per scale of b and kind of A", minimum=1)
    seed: int = option(0, "decides everything that is random", minimum=0)
    output: str = option("runs/solvers", "folder for table, numbers and pictures; files there are replaced")


@dataclass(frozen=True)
class Course:
    """One solver on the problems of one recovery, stopped again and again: iterations, milliseconds, relative gaps.

    ``iterations`` is (stops,) or, where the problems differ, (stops, J); ``milliseconds`` (stops,), ``gaps``
    (stops, J).
    """

    iterations: Array
    milliseconds: Array
    gaps: Array


@dataclass(frozen=True)
class Outcome:
    """Solutions of one recovery, their relative gaps (J,) and the milliseconds they took."""

    solutions: list[Solution]
    gaps: Array
    milliseconds: float


class Problems:
    """The LASSO problems of one recovery and their exact solutions."""

    def __init__(self, options: InspectOptions, kind: str, scale: float, draw: int) -> None:
        random = generator(options.seed, "solvers", kind, f"{scale:g}", draw)
        m = options.proj_dims
        sizes = [num_candidates(node) for node in range(options.steps)] * 2
        self.lam = options.lasso_lambda
        self.matrices = [draw_measurement(kind, m, n, random) for n in sizes]
        b = scale * torch.randn(len(sizes), m, generator=random, dtype=torch.float64)
        self.b: list[Array] = list(b.numpy())
        self.exact = Homotopy(self.matrices, self.lam).solve(self.b)

    def relative_gaps(self, z: Sequence[Array]) -> Array:
        """Duality gap over objective of every problem's z, 0 where z is exact."""
        gaps = [float(lasso.duality_gap(A, b, self.lam, part)) for A, b, part in zip(self.matrices, self.b, z)]
        values = [float(lasso.value(A, b, self.lam, part)) for A, b, part in zip(self.matrices, self.b, z)]
        return np.maximum(gaps, 0.0) / np.maximum(values, 1e-300)

    def goals(self) -> list[float]:
        """Largest relative gap that counts as solved, of every problem, at its exact solution."""
        solved = [(A, b, self.lam, solution.z) for A, b, solution in zip(self.matrices, self.b, self.exact)]
        return [float(lasso.gap_tolerance(*point) / lasso.value(*point)) for point in solved]

    def solves(self, z: Sequence[Array]) -> np.ndarray:
        """Whether every problem's z is certified."""
        return np.array([lasso.certify(A, b, self.lam, p, 0).converged for A, b, p in zip(self.matrices, self.b, z)])


def main(argv: list[str]) -> None:
    """Compare from the options in ``argv``."""
    options = parse(InspectOptions, argv, "Compare the solvers of the recovery.")
    folder = output_folder(options.output)
    torch.set_num_threads(1)
    report = measure(options)
    text = tables(report)
    draw(report, folder)
    write_json(folder / "solvers.json", report)
    write_text(folder / "table.md", text)
    print(text)
    print(f"written to {folder}: table.md solvers.json solvers.png solvers.svg solvers_time.png solvers_time.svg")


def measure(options: InspectOptions) -> Report:
    """Figures and courses of every solver, an entry per kind of A and scale of b."""
    cells = [(kind, scale) for kind in KINDS for scale in B_SCALES]
    warm_up = Problems(options, "uniform", 1.0, -1)
    make_solver("clarabel", warm_up.matrices, warm_up.lam).solve(warm_up.b)
    courses: dict[tuple[str, float], list[dict[str, Course]]] = {cell: [] for cell in cells}
    outcomes: dict[tuple[str, float], list[dict[str, Outcome]]] = {cell: [] for cell in cells}
    exact: dict[tuple[str, float], list[Solution]] = {cell: [] for cell in cells}
    goals: dict[tuple[str, float], list[float]] = {cell: [] for cell in cells}
    for index in progress(0, len(cells) * options.draws, "solving"):
        cell = cells[index // options.draws]
        problems = Problems(options, *cell, index % options.draws)
        exact[cell] += problems.exact
        goals[cell] += problems.goals()
        course, outcome = {}, {}
        course["homotopy"], course["clarabel"] = path_course(problems), clarabel_course(problems)
        for name in ("homotopy", "clarabel"):
            solver = make_solver(name, problems.matrices, problems.lam)
            solver.solve(problems.b)  # CLARABEL's first call is CVXPY's preparation
            outcome[name] = solved(problems, solver)
        for name in ITERATIVE:
            limit = options.solver_max_iter
            outcome[name] = solved(problems, make_solver(name, problems.matrices, problems.lam, limit))
            course[name], outcome[UNFINISHED[name]] = bare_course(problems, name == "fista", limit)
        courses[cell].append(course)
        outcomes[cell].append(outcome)
    return {
        "options": {key: value for key, value in to_dict(options).items() if key != "output"},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "cells": [
            {
                "kind": kind,
                "scale": scale,
                "goal": float(np.median(goals[kind, scale])),
                "figures": {s: figures([o[s] for o in outcomes[kind, scale]], exact[kind, scale]) for s in SIDES},
                "courses": {name: joined([c[name] for c in courses[kind, scale]]) for name in SOLVERS},
            }
            for kind, scale in cells
        ],
    }


def solved(problems: Problems, solver: Solver) -> Outcome:
    """One call and the CPU time that it took; on one thread, that of an idle machine whatever else runs."""
    start = time.process_time()
    solutions = solver.solve(problems.b)
    milliseconds = 1e3 * (time.process_time() - start)
    return Outcome(solutions, problems.relative_gaps([solution.z for solution in solutions]), milliseconds)


def bare_course(problems: Problems, accelerated: bool, limit: int) -> tuple[Course, Outcome]:
    """ISTA or FISTA alone: the gap of the iterate itself, until it is certified, and then that gap."""
    A = Ista(problems.matrices, problems.lam, accelerated=accelerated).A
    _, m, n = A.shape
    start = time.process_time()
    steps = Iterates(A, stack_vectors(problems.b, m), problems.lam, np.zeros((len(A), n)), accelerated)
    seconds = time.process_time() - start
    z = [np.zeros(matrix.shape[1]) for matrix in problems.matrices]
    live, counts = np.arange(len(z)), np.full(len(z), limit)
    stops, milliseconds, gaps = [], [], []
    for stop in stops_until(limit):
        if len(live):
            start = time.process_time()
            steps.advance(stop - steps.count)
            seconds += time.process_time() - start
            for j, row in zip(live, steps.z):
                z[j] = row[: len(z[j])]
            certified = problems.solves(z)
            counts[live[certified[live]]] = stop
            steps.keep(~certified[live])
            live = live[~certified[live]]
        stops.append(stop)
        milliseconds.append(1e3 * seconds)
        gaps.append(problems.relative_gaps(z))
    solutions = [
        lasso.certify(A, b, problems.lam, part, int(count))
        for A, b, part, count in zip(problems.matrices, problems.b, z, counts)
    ]
    outcome = Outcome(solutions, gaps[-1], 1e3 * seconds)
    return Course(np.array(stops), np.array(milliseconds), np.array(gaps)), outcome


def stops_until(limit: int) -> list[int]:
    """1, 2, 3, ... and then so many per decade, up to ``limit``."""
    count = int(np.ceil(STOPS_PER_DECADE * np.log10(limit)))
    return sorted({min(limit, round(10 ** (k / STOPS_PER_DECADE))) for k in range(count + 1)} | {limit})


def path_course(problems: Problems) -> Course:
    """The homotopy stopped at values of lambda on its way from the largest lambda_max to lambda."""
    highest = max(float(lasso.lambda_max(A, b)) for A, b in zip(problems.matrices, problems.b))
    levels = np.geomspace(max(highest, problems.lam), problems.lam, PATH_STOPS)
    outcomes = []
    for level in levels:
        solver = Homotopy(problems.matrices, float(level))
        outcomes.append(min((solved(problems, solver) for _ in range(3)), key=lambda one: one.milliseconds))
    return course_of(outcomes)


def clarabel_course(problems: Problems) -> Course:
    """CLARABEL stopped after 1, 2, ... iterations."""
    outcomes = []
    for limit in range(1, CLARABEL_STOPS + 1):
        solver = make_solver("clarabel", problems.matrices, problems.lam, limit)
        solver.solve(problems.b)  # the first call of a new problem is CVXPY's preparation
        outcomes.append(solved(problems, solver))
    return course_of(outcomes)


def course_of(outcomes: list[Outcome]) -> Course:
    """A course from separate runs, each with a later stop."""
    return Course(
        np.array([[solution.iterations for solution in outcome.solutions] for outcome in outcomes]),
        np.array([outcome.milliseconds for outcome in outcomes]),
        np.array([outcome.gaps for outcome in outcomes]),
    )


def joined(courses: list[Course]) -> dict[str, list[float]]:
    """Medians of iterations and time, quartiles of the relative gaps over all problems of all draws, by stop."""
    iterations = np.concatenate([course.iterations.reshape(len(course.gaps), -1) for course in courses], axis=1)
    gaps = np.quantile(np.concatenate([course.gaps for course in courses], axis=1), (0.25, 0.5, 0.75), axis=1)
    course = {
        "iterations": np.median(iterations, axis=1),
        "milliseconds": np.median([course.milliseconds for course in courses], axis=0),
        **dict(zip(("low", "median", "high"), gaps)),
    }
    return {name: [float(f"{value:.4g}") for value in values] for name, values in course.items()}


def figures(outcomes: list[Outcome], exact: list[Solution]) -> dict[str, float]:
    """Shares over all problems, and medians: of iterations over problems, of milliseconds over recoveries.

    Of the problems whose second entry stands out from the third, ``same`` is the share with the exact solution's two
    largest entries, ``claimed`` how many are certified, and ``lost`` how many of these have others nevertheless.
    """
    solutions = [solution for outcome in outcomes for solution in outcome.solutions]
    clear = [(s, top_support(s.z, 2) == top_support(e.z, 2)) for s, e in zip(solutions, exact) if stands_out(e.z)]
    return {
        "num_problems": len(solutions),
        "certified": float(np.mean([solution.converged for solution in solutions])),
        "iterations": float(np.median([solution.iterations for solution in solutions])),
        "milliseconds": float(np.median([outcome.milliseconds for outcome in outcomes])),
        "relative_gap": float(np.median([outcome.gaps for outcome in outcomes])),
        "same": sum(same for _, same in clear) / max(len(clear), 1),
        "claimed": sum(solution.converged for solution, _ in clear),
        "lost": sum(solution.converged and not same for solution, same in clear),
    }


def stands_out(z: Array) -> bool:
    """Whether the second largest entry of z is told apart from the third."""
    second, third = np.sort(np.abs(z))[::-1][1:3]
    return bool(second - third > LEAST_MARGIN * second)


def tables(report: Report) -> str:
    """The figures as Markdown."""
    options, cells = report["options"], report["cells"]
    of_all = [values for cell in cells for values in cell["figures"].values()]
    count, limit = of_all[0]["num_problems"], options["solver_max_iter"]
    texts: dict[str, Callable[[dict[str, float]], str]] = {
        f"Certified, in % of {count} problems; ista and fista after at most {limit:,} steps.": (
            lambda values: f"{100 * values['certified']:.0f}"
        ),
        "Same two largest entries as the exact solution, in %.": lambda values: f"{100 * values['same']:.0f}",
        "Relative gap of what is returned, median.": lambda values: f"{values['relative_gap']:.0e}",
        "Iterations (homotopy: segments of the path), median.": lambda values: f"{values['iterations']:,.0f}",
        f"Milliseconds of CPU time for the {2 * options['steps']} problems of a recovery, median.": (
            lambda values: f"{values['milliseconds']:,.1f}"
        ),
    }
    parts = []
    for title, text in texts.items():
        rows = [
            [cell["kind"], f"{cell['scale']:g}", *(text(cell["figures"][side]) for side in SIDES)] for cell in cells
        ]
        parts += [title, markdown_table(["A", "b", *SIDES], rows)]
    lost, claimed = (sum(values[name] for values in of_all) for name in ("lost", "claimed"))
    parts.append(f"Certified, but with another two largest entries: {lost} of {claimed} solutions.")
    return "\n\n".join(parts) + "\n"


def draw(report: Report, folder: Path) -> None:
    """Relative gap over iterations and over time: a row per kind of A, a column per scale of b."""
    from isnas.draw.solver_curves import Curve, CurvePanel, draw_convergence  # slow to import, for matplotlib

    def curve(name: str, cell: Report, x: str) -> Curve:
        course, values = cell["courses"][name], cell["figures"][name]
        finish = None
        if name in ITERATIVE and values["certified"] > 0.5:
            place = float(np.interp(values["iterations"], course["iterations"], course[x]))
            finish = (place, values["relative_gap"])
        solved_by = next((stop for stop, gap in enumerate(course["high"], 1) if gap <= cell["goal"]), None)
        shown = [i for i, count in enumerate(course["iterations"][:solved_by]) if count >= 1]  # 0 has no logarithm
        values_shown = {key: [course[key][i] for i in shown] for key in (x, "low", "median", "high")}
        return Curve(name, values_shown[x], values_shown["low"], values_shown["median"], values_shown["high"], finish)

    for picture, x, xlabel in (
        ("solvers", "iterations", "iterations"),
        ("solvers_time", "milliseconds", "milliseconds per recovery"),
    ):
        panels = [
            CurvePanel(
                f"{cell['kind']}, b of {cell['scale']:g}", [curve(name, cell, x) for name in SOLVERS], cell["goal"]
            )
            for cell in report["cells"]
        ]
        draw_convergence(
            [panels[start : start + len(B_SCALES)] for start in range(0, len(panels), len(B_SCALES))],
            folder,
            picture,
            xlabel=xlabel,
            ylabel="relative duality gap",
            ylim=(1e-13, 2.0),
            goal_label="certified below",
            finish_label="finished by the active set",
        )


if __name__ == "__main__":
    run_tool(main)

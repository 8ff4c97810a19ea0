"""Measure the solvers of the recovery: how they converge over the scales of b, what they certify, how long they take.

All figures are of one thread; see docs/solvers.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from isnas.analysis.options.solvers import SolverOptions
from isnas.base.extras import require
from isnas.base.options import to_dict
from isnas.base.random import generator
from isnas.engine.progress import progress
from isnas.space.cells.space import CellSpace
from isnas.sparse import lasso
from isnas.sparse.active_set import stack_vectors
from isnas.sparse.homotopy import Homotopy
from isnas.sparse.ista import Ista, Iterates
from isnas.sparse.lasso import Array, Solution
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.recovery import top_support
from isnas.sparse.solvers import Solver, make_solver

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

Values = dict[str, Any]


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

    def __init__(self, options: SolverOptions, kind: str, scale: float, draw: int) -> None:
        random = generator(options.seed, "solvers", kind, f"{scale:g}", draw)
        m = options.proj_dims
        sizes = CellSpace(num_nodes=options.num_nodes).sizes
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Let all libraries that the solvers use compute on one thread, and as before afterwards."""
    require("analyse solvers", "cvxpy", "clarabel")
    import isnas.sparse.convex  # noqa: F401  only what is loaded can be limited, and CVXPY brings libraries of its own

    threads = torch.get_num_threads()
    try:
        with threadpool_limits(1):
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def measure(options: SolverOptions) -> Values:
    """Figures and courses of every solver on one thread, an entry per kind of A and scale of b."""
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

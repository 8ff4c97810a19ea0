"""Milliseconds per recovery: the homotopy against CVXPY with CLARABEL and scikit-learn's LARS.

A recovery is the 8 LASSO problems of the 4 nodes of 2 cells: uniform A, m = 7, n = 14, 21, 28, 35, lambda 1e-5. All
sides solve the same problems on one thread and are timed in turns; the figures are medians over the turns, which go
round several draws of A and b. They are the process's own CPU time, which on one thread is the time of an idle machine
whatever else runs (the JSON has the elapsed time as well). CVXPY has CLARABEL's own tolerances, which are loose. Ends
with exit code 1 and one line when a bound of the project is missed.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import statistics
import sys
import time
from collections.abc import Callable

import cvxpy as cp
import numpy as np
import torch
from common import make_parser, write_figures
from sklearn.linear_model import lars_path

from isnas.sparse import lasso
from isnas.sparse.convex import Convex
from isnas.sparse.homotopy import Homotopy
from isnas.sparse.measurement import draw_measurement

M, SIZES, LAM = 7, (14, 21, 28, 35) * 2, 1e-5
SCALES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
SMALL_MOVE = 1e-6  # relative: the active set holds
ADAM_STEP = 6e-4  # absolute, every entry: the learning rate of b

COLD, WARM, ADAM = "homotopy, cold", "homotopy, warm", "homotopy, warm after an Adam step"
FRESH, CACHED, LARS = "CVXPY + CLARABEL, built afresh", "isnas Convex (CLARABEL), built once", "scikit-learn lars_path"

MOST_COLD_MS, MOST_WARM_MS, LEAST_RATIO = 3.0, 0.6, 15.0


def fresh_clarabel(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    z = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ z - b) + LAM * cp.norm1(z)))
    problem.solve(solver=cp.CLARABEL)
    return z.value


def lars(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    return lars_path(A, b, alpha_min=LAM / M, method="lasso")[2][:, -1]


class Draw:
    """The problems of one recovery and what every side has ready before it is timed."""

    def __init__(self, scale: float, generator: torch.Generator) -> None:
        self.matrices = [draw_measurement("uniform", M, n, generator) for n in SIZES]
        b = scale * torch.randn(len(SIZES), M, generator=generator, dtype=torch.float64)
        signs = torch.randint(2, b.shape, generator=generator) * 2 - 1
        self.b, self.near = list(b.numpy()), list((b * (1 + SMALL_MOVE)).numpy())
        self.stepped = list((b + ADAM_STEP * signs).numpy())
        self.homotopy = Homotopy(self.matrices, LAM)
        self.convex = Convex(self.matrices, LAM, "clarabel")
        self.warm = [solution.z for solution in self.homotopy.solve(self.b)]
        self.sides: dict[str, Callable[[], list]] = {
            COLD: lambda: self.homotopy.solve(self.b),
            WARM: lambda: self.homotopy.solve(self.near, self.warm),
            ADAM: lambda: self.homotopy.solve(self.stepped, self.warm),
            FRESH: lambda: [fresh_clarabel(A, target) for A, target in zip(self.matrices, self.b)],
            CACHED: lambda: self.convex.solve(self.b),
            LARS: lambda: [lars(A, target) for A, target in zip(self.matrices, self.b)],
        }

    def certified(self, side: str) -> int:
        """How many of the 8 solutions of a side are certified: plain CVXPY and LARS stop where they like."""
        b = {WARM: self.near, ADAM: self.stepped}.get(side, self.b)
        z = [getattr(result, "z", result) for result in self.sides[side]()]
        return sum(lasso.certify(A, target, LAM, part, 0).converged for A, target, part in zip(self.matrices, b, z))

    def unmoved(self, side: str) -> int:
        """How many of the 8 active sets a warm start takes over as they are."""
        return sum(solution.iterations == 0 for solution in self.sides[side]())


def measure_scale(scale: float, num_draws: int, repeats: int) -> dict[str, dict[str, float]]:
    generator = torch.Generator().manual_seed(0)
    draws = [Draw(scale, generator) for _ in range(num_draws)]
    cpu: dict[str, list[float]] = {side: [] for side in draws[0].sides}
    elapsed: dict[str, list[float]] = {side: [] for side in cpu}
    certified = {side: sum(draw.certified(side) for draw in draws) for side in cpu}  # warms up, too
    for turn in range(repeats):
        for side in cpu:
            run = draws[turn % num_draws].sides[side]
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            cpu[side].append(1e3 * (time.process_time() - cpu_start))
            elapsed[side].append(1e3 * (time.perf_counter() - start))
    count = num_draws * len(SIZES)
    figures: dict[str, dict[str, float]] = {
        side: {
            "milliseconds": statistics.median(cpu[side]),
            "fastest": min(cpu[side]),
            "slowest": max(cpu[side]),
            "elapsed": statistics.median(elapsed[side]),
            "elapsed_fastest": min(elapsed[side]),
            "certified_share": certified[side] / count,
        }
        for side in cpu
    }
    for side in (WARM, ADAM):
        figures[side]["active_set_held_share"] = sum(draw.unmoved(side) for draw in draws) / count
    return figures


def ratio(figures: dict[str, dict[str, float]]) -> float:
    return figures[FRESH]["milliseconds"] / figures[COLD]["milliseconds"]


def table(results: dict[float, dict[str, dict[str, float]]]) -> str:
    rule = "|---|" + "---:|" * len(results)
    lines = ["| Milliseconds per recovery, by the size of b | " + " | ".join(f"{s:g}" for s in results) + " |", rule]
    for side in (COLD, WARM, ADAM, FRESH, CACHED, LARS):
        lines.append(f"| {side} | " + " | ".join(f"{f[side]['milliseconds']:.2f}" for f in results.values()) + " |")
    lines.append(f"| ratio: {FRESH} / {COLD} | " + " | ".join(f"{ratio(f):.1f}" for f in results.values()) + " |")
    for side in (FRESH, LARS):
        shares = " | ".join(f"{f[side]['certified_share']:.1%}" for f in results.values())
        lines.append(f"| certified: {side} | {shares} |")
    held = " | ".join(f"{f[ADAM]['active_set_held_share']:.0%}" for f in results.values())
    return "\n".join([*lines, f"| active sets that an Adam step leaves | {held} |"])


def missed_bounds(results: dict[float, dict[str, dict[str, float]]]) -> list[str]:
    missed = []
    for scale, figures in results.items():
        cold, warm = figures[COLD]["milliseconds"], figures[WARM]["milliseconds"]
        if cold > MOST_COLD_MS:
            missed.append(f"cold {cold:.2f} ms > {MOST_COLD_MS} ms at b {scale:g}")
        if warm > MOST_WARM_MS:
            missed.append(f"warm {warm:.2f} ms > {MOST_WARM_MS} ms at b {scale:g}")
        if ratio(figures) < LEAST_RATIO:
            missed.append(f"ratio {ratio(figures):.1f} < {LEAST_RATIO} at b {scale:g}")
    return missed


def not_certified(results: dict[float, dict[str, dict[str, float]]]) -> list[str]:
    return [
        f"not every solution of the homotopy is certified at b {scale:g}"
        for scale, figures in results.items()
        if min(figures[side]["certified_share"] for side in (COLD, WARM, ADAM)) < 1.0
    ]


def main() -> None:
    arguments = make_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    num_draws, repeats = (1, 1) if arguments.quick else (10, 100)
    results = {scale: measure_scale(scale, num_draws, repeats) for scale in SCALES}
    missed = not_certified(results) + ([] if arguments.quick else missed_bounds(results))
    print(table(results))
    by_scale = {f"{scale:g}": figures | {"ratio": ratio(figures)} for scale, figures in results.items()}
    facts = {"draws": num_draws, "repeats": repeats, "by_scale_of_b": by_scale, "missed_bounds": missed}
    write_figures(arguments.output, facts)
    if missed:
        sys.exit("bounds missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()

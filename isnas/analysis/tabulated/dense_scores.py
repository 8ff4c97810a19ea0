"""What the recovery finds of scores that are not sparse: the s best of n candidates from m measurements of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from isnas.base.random import generator
from isnas.sparse.homotopy import Homotopy
from isnas.sparse.lasso import Array
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.recovery import above_the_next, top_support

#: The penalty's weight in the searches, and a large one beside scores of deviation 1.
LASSO_LAMBDA, LARGE_LAMBDA = 1e-5, 0.5
#: Ways to choose, by what is said of them.
RULES = (
    "largest |z|, b = A u",
    "largest z, b = A u",
    f"largest z, b = A u, lambda = {LARGE_LAMBDA:g}",
    "largest z, b = A (u - t)_+",
)


@dataclass(frozen=True)
class Choice:
    """How good the choices by a rule are, as means over the draws.

    ``percentile``: the share (percent) of the other sets of s candidates whose sum of scores is less than that of the
    set that is chosen. 100 is the best set, 50 chance. ``found``: the share (percent) of the s best that are chosen.
    """

    n: int
    rule: str
    percentile: float
    found: float


def draw_scores(m: int, n: int, draws: int, seed: int) -> tuple[Array, Array]:
    """Unit gaussian matrices A (draws, m, n), and scores u (draws, n) that are N(0, 1)."""
    rng = generator(seed, "dense_scores", n)
    matrices = np.stack([draw_measurement("unit_gaussian", m, n, rng) for _ in range(draws)])
    return matrices, torch.randn(draws, n, generator=rng, dtype=torch.float64).numpy()


def choices(m: int, n: int, sparseness: int, draws: int, seed: int) -> list[Choice]:
    """All rules on the same draws."""
    A, u = draw_scores(m, n, draws, seed)
    shifted = np.stack([above_the_next(part, sparseness) for part in u])
    z = _recovered(A, u, LASSO_LAMBDA)
    values = (np.abs(z), z, _recovered(A, u, LARGE_LAMBDA), _recovered(A, shifted, LASSO_LAMBDA))
    sets = np.array(list(combinations(range(n), sparseness)))
    sums, best = u[:, sets].sum(2), _top(u, sparseness)
    found = []
    for rule, each in zip(RULES, values):
        chosen = _top(each, sparseness)
        less = sums < np.take_along_axis(u, chosen, 1).sum(1)[:, None]
        right = (chosen[:, :, None] == best[:, None, :]).any(2)
        percentile = 100.0 * less.sum(1).mean() / max(len(sets) - 1, 1)
        found.append(Choice(n, rule, float(percentile), 100.0 * float(right.mean())))
    return found


def _recovered(A: Array, u: Array, lam: float) -> Array:
    """z (draws, n) of what is measured of u; where u is 0, so is z."""
    b = (A @ u[..., None])[..., 0]
    return np.stack([solution.z for solution in Homotopy(list(A), lam).solve(list(b))])


def _top(values: Array, sparseness: int) -> np.ndarray:
    return np.array([top_support(part, sparseness, signed=True) for part in values])

"""The LASSO over parities, with its own certificate: coordinate descent on a working set, along a path of weights.

    minimise over x    1/2 ||y - A x||_2^2 + mu ||x||_1        (the half form of CoNAS, Eq. 3.2)

At n = 140, m = 1000 and the paper's weight about as many of the 9871 coefficients as there are samples are not zero.
One and a half times as many columns fit the cache, where scikit-learn's descent is fast; the path keeps them so few
where the weight is small beside the losses, as one loss of a thousand makes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isnas.sparse.boolean.parities import Array, Parities

#: The forms of the objective, and what the weight of ||x||_1 in each, with m samples, is in the half form.
FORMS: dict[str, Callable[[float, int], float]] = {
    "paper": lambda weight, m: weight / 2,  # ||y - A x||^2 + weight ||x||_1
    "half": lambda weight, m: weight,  # 1/2 ||y - A x||^2 + weight ||x||_1
    "mean": lambda weight, m: weight * m,  # 1 / (2 m) ||y - A x||^2 + weight ||x||_1, scikit-learn's
}

#: From one weight of the path to the next, and the relative gap that is enough before the last.
_STEP, _ON_THE_WAY = 10.0, 0.1

#: Rounds at a weight, and passes of each, after which it is given up, as the gap then says; 10 and 100 are usual.
_MOST_ROUNDS, _MOST_PASSES = 40, 1000


@dataclass(frozen=True)
class LassoSolution:
    """Coefficients x (p,), the unpenalised constant (0 without), and what certifies them.

    ``gap`` is primal minus dual value, an upper bound on how far the objective is from its least value, and
    ``relative_gap`` its share of the primal value; ``rounds`` counts working sets.
    """

    x: Array
    intercept: float
    gap: float
    relative_gap: float
    rounds: int

    @property
    def nonzeros(self) -> int:
        """How many coefficients are not zero."""
        return int(np.count_nonzero(self.x))


def half_weight(weight: float, form: str, num_samples: int) -> float:
    """The weight mu of the half form that is ``weight`` in ``form``."""
    return FORMS[form](weight, num_samples)


def largest_weight(parities: Parities, y: Array) -> float:
    """The least mu whose solution is zero: max_S |a_S^T y|."""
    return float(np.abs(parities.correlate(y)).max())


def duality_gap(parities: Parities, y: Array, mu: float, x: Array, intercept: bool = False) -> tuple[float, float]:
    """Primal minus dual value at x, and its share of the primal value; both of the half form.

    The dual point is the residual r = y - A x shrunk into |a_S^T theta| <= mu, and its value is
    theta^T y - 1/2 ||theta||^2. With ``intercept`` the best constant is taken off first, and its parity is free.
    """
    residual = y - parities.times(x)
    if intercept:
        residual = residual - residual.mean()
    primal, dual = _values(residual, _correlations(parities, residual, intercept), y, mu, x)
    gap = max(primal - dual, 0.0)
    return gap, gap / primal if primal > 0.0 else 0.0


def solve(parities: Parities, y: Array, mu: float, intercept: bool = False, tolerance: float = 1e-4) -> LassoSolution:
    """The x whose duality gap is at most ``tolerance`` times its objective; with ``intercept`` beside a free constant.

    It begins at the least weight that leaves nothing, and goes on from each weight's solution to a tenth of the weight.
    A constant is projected out of y and of the columns.
    """
    target = y - y.mean() if intercept else y
    x, rounds = np.zeros(parities.shape[1]), 0
    weight = float(np.abs(_correlations(parities, target, intercept)).max())
    while weight > mu:
        weight = max(weight / _STEP, mu)
        within = tolerance if weight == mu else _ON_THE_WAY
        x, more = _descend(parities, target, weight, intercept, within, x)
        rounds += more
    gap, relative = duality_gap(parities, y, mu, x, intercept)
    constant = float((y - parities.times(x)).mean()) if intercept else 0.0
    return LassoSolution(x, constant, gap, relative, rounds)


def _descend(parities: Parities, y: Array, mu: float, intercept: bool, tolerance: float, x: Array) -> tuple[Array, int]:
    """Go on from x to a gap of at most ``tolerance`` times the objective; the new x, and how many rounds that took.

    Every round takes the coefficients that are not zero and the columns most correlated with the residual into the
    working set, and solves there to a fraction of the gap that is left.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lasso_path  # slow to import

    m, p = parities.shape
    residual, best_dual, size = y - parities.times(x), -np.inf, min(max(m // 2, 1), p)
    if intercept:
        residual = residual - residual.mean()
    for done in range(_MOST_ROUNDS):
        correlations = _correlations(parities, residual, intercept)
        primal, dual = _values(residual, correlations, y, mu, x)
        best_dual = max(best_dual, dual)
        gap = primal - best_dual
        if gap <= tolerance * primal:
            return x, done
        active = np.flatnonzero(x)
        size = min(max(size, len(active) + len(active) // 5), p)
        score = np.abs(correlations)
        score[active] = np.inf
        chosen = np.sort(np.argpartition(-score, size - 1)[:size])
        columns = parities.columns(chosen)
        if intercept:
            columns -= columns.mean(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the gap above says it
            found = lasso_path(
                columns,
                y,
                alphas=[mu / m],
                coef_init=x[chosen],
                tol=max(0.3 * gap, 0.5 * tolerance * primal) / float(y @ y),
                max_iter=_MOST_PASSES,
                check_input=False,
                precompute=False,
            )[1][:, 0]
        x = np.zeros(p)
        x[chosen] = found
        residual = y - columns @ found
    return x, _MOST_ROUNDS


def _correlations(parities: Parities, residual: Array, intercept: bool) -> Array:
    correlations = parities.correlate(residual)
    if intercept:
        correlations[0] = 0.0  # the constant is no column of the problem
    return correlations


def _values(residual: Array, correlations: Array, y: Array, mu: float, x: Array) -> tuple[float, float]:
    """Primal and dual value at x with this residual and its correlations with all columns."""
    squared = float(residual @ residual)
    shrink = min(1.0, mu / largest) if (largest := float(np.abs(correlations).max())) > 0.0 else 1.0
    primal = 0.5 * squared + mu * float(np.abs(x).sum())
    return primal, shrink * float(residual @ y) - 0.5 * shrink**2 * squared

"""The one objective of the project and what certifies a solution of it.

    minimise over z   1/2 ||A z - b||_2^2 + lambda ||z||_1          (ISTA-NAS, Eq. 9)

Shapes: A (..., m, n), b (..., m), z (..., n), all float64; leading dimensions are a batch. scikit-learn's ``alpha``
is lambda / m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TINY = float(np.finfo(np.float64).tiny)

#: Solvers go on beyond float64's range, where the certificate then says no, and they do it without a warning.
BEYOND_RANGE = np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore")


@dataclass(frozen=True)
class Solution:
    """What a solver returns for one problem.

    ``gap`` is the duality gap of ``z`` (n,), ``iterations`` the solver's own count, and ``converged`` says whether
    the gap meets :func:`gap_tolerance`, as :func:`certified` judges it.
    """

    z: Array
    gap: float
    iterations: int
    converged: bool


def value(A: Array, b: Array, lam: float, z: Array) -> Array:
    """Objective value 1/2 ||A z - b||^2 + lambda ||z||_1, shape (...)."""
    residual = _apply(A, z) - b
    return 0.5 * (residual * residual).sum(-1) + lam * np.abs(z).sum(-1)


def lambda_max(A: Array, b: Array) -> Array:
    """Smallest lambda whose solution is zero: ||A^T b||_inf, shape (...)."""
    return np.abs(_correlate(A, b)).max(-1)


def kkt_violation(A: Array, b: Array, lam: float, z: Array) -> Array:
    """Largest violation of the optimality conditions, shape (...), in the unit of lambda.

    With r = b - A z: ``A_i^T r = lambda sign(z_i)`` where z_i is not zero, ``|A_i^T r| <= lambda`` elsewhere.
    """
    correlation = _correlate(A, b - _apply(A, z))
    active = np.abs(correlation - lam * np.sign(z))
    inactive = np.maximum(np.abs(correlation) - lam, 0.0)
    return np.where(z != 0.0, active, inactive).max(-1)


def duality_gap(A: Array, b: Array, lam: float, z: Array) -> Array:
    """Primal minus dual value at ``z``, shape (...); an upper bound on the distance to the optimum.

    The dual point is the residual r = b - A z shrunk into ||A^T theta||_inf <= lambda, and the dual value is
    ``theta^T b - 1/2 ||theta||^2``. Never negative but for rounding.
    """
    wide = A.astype(np.longdouble)  # in float64, rounding hides a gap where A z cancels or r is large beside lambda
    fit = (wide * z[..., None, :]).sum(-1)
    residual = b - fit
    largest = np.abs((residual[..., None] * wide).sum(-2)).max(-1)
    shrink = lam / np.maximum(largest, lam)
    squared = (residual * residual).sum(-1)
    # theta = shrink r and b = A z + r, so every term is of the size of the gap's own parts.
    penalty = lam * np.abs(z).sum(-1) - shrink * (residual * fit).sum(-1)
    return (0.5 * (1.0 - shrink) ** 2 * squared + penalty).astype(np.float64)


def gap_tolerance(A: Array, b: Array, lam: float, z: Array) -> Array:
    """Largest gap that counts as solved: 1e-9 of the objective plus float64's own floor, 1e-13 ||b||^2 / 2."""
    return _share(A, b, lam, z) + _floor(b)


def certified(A: Array, b: Array, lam: float, z: Array, gap: Array) -> NDArray[np.bool_]:
    """Whether ``gap`` meets the tolerance, shape (...); never where float64 cannot say so.

    That is where a number is not finite, and where the tolerance's floor is less than float64's smallest normal number
    (``||b||`` below 7e-148), since what counts as no gap may then be one that has underflowed. b = z = 0 is exact.
    """
    floor = _floor(b)
    tolerance = _share(A, b, lam, z) + floor
    held = floor >= _TINY
    if np.count_nonzero(held) < held.size:
        held |= ~(b.any(-1) | z.any(-1))
    return (gap <= tolerance) & (tolerance < np.inf) & held


def _share(A: Array, b: Array, lam: float, z: Array) -> Array:
    return 1e-9 * value(A, b, lam, z)


def _floor(b: Array) -> Array:
    return 0.5e-13 * (b * b).sum(-1)


@BEYOND_RANGE
def certify(A: Array, b: Array, lam: float, z: Array, iterations: int) -> Solution:
    """The solution record of one problem with the gap it really has."""
    gap = duality_gap(A, b, lam, z)
    return Solution(z, float(gap), iterations, bool(certified(A, b, lam, z, gap)))


def _apply(A: Array, z: Array) -> Array:
    return (A @ z[..., None])[..., 0]


def _correlate(A: Array, residual: Array) -> Array:
    return (residual[..., None, :] @ A)[..., 0, :]

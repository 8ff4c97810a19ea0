"""Iterative hard thresholding, which CoNAS names as an alternative to the LASSO.

    x <- H_s(x + w A^T (y - A x))        H_s keeps the s entries of largest size

The step w is that of the normalised iteration (Blumensath and Davies, IEEE J. Sel. Topics Signal Process. 2010): the
exact line search on the present support, halved while the support changes and the residual might grow. With a fixed
step 1 / m it would diverge, as ||A||^2 is about (sqrt(m) + sqrt(p))^2, not m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isnas.sparse.boolean.parities import Array, Parities


def solve_iht(
    parities: Parities,
    y: Array,
    sparsity: int,
    intercept: bool = False,
    max_iterations: int = 500,
    tolerance: float = 1e-10,
) -> Array:
    """x (p,) with at most ``sparsity`` entries; with ``intercept`` beside a free constant, which is none of them.

    It ends when an iteration lowers the squared residual by less than ``tolerance`` of it, or moves nothing.
    """
    x = np.zeros(parities.shape[1])
    target = y - y.mean() if intercept else y

    def gradient(residual: Array) -> Array:
        correlations = parities.correlate(residual)
        if intercept:
            correlations[0] = 0.0
        return correlations

    def fitted(places: NDArray[np.intp], values: Array) -> Array:
        columns = parities.columns(places)
        return (columns - columns.mean(0) if intercept else columns) @ values

    residual = target
    support = _largest(gradient(residual), sparsity)
    for _ in range(max_iterations):
        ascent = gradient(residual)
        squared = float(ascent[support] @ ascent[support])
        moved = fitted(support, ascent[support])
        if squared == 0.0 or not moved.any():
            break
        step = squared / float(moved @ moved)
        while True:
            proposal = x + step * ascent
            places = _largest(proposal, sparsity)
            new = np.zeros_like(x)
            new[places] = proposal[places]
            if np.array_equal(places, support):
                break
            change = new - x
            changed = np.flatnonzero(change)
            image = fitted(changed, change[changed])
            allowed = 0.99 * float(change @ change) / max(float(image @ image), np.finfo(float).tiny)
            if step <= allowed:
                break
            step /= 2.0
        before = float(residual @ residual)
        x, support = new, places
        residual = target - fitted(support, x[support])
        if before - float(residual @ residual) <= tolerance * before:
            break
    return x


def _largest(values: Array, count: int) -> NDArray[np.intp]:
    """The places of the ``count`` entries of largest size, ascending; of equal ones the first."""
    return np.sort(np.argsort(-np.abs(values), kind="stable")[:count])

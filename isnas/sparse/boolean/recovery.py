"""From measurements of a function of bits to a sparse polynomial of it (CoNAS, Algorithm 1, lines 10 to 12)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isnas.sparse.boolean.iht import solve_iht
from isnas.sparse.boolean.lasso import half_weight, solve
from isnas.sparse.boolean.parities import Array, Bits, Parities
from isnas.sparse.boolean.polynomial import Polynomial, Term

METHODS = ("lasso", "iht")
CONSTANTS = ("penalised", "intercept")


@dataclass(frozen=True)
class RecoverySettings:
    """How a polynomial is recovered; the defaults are CoNAS's (d = 2, s = 10, lambda = 1).

    ``monomials`` s of degree ``degree`` at most; ``weight`` of ||x||_1 in the objective's ``form`` (of the LASSO). The
    constant is one of the s monomials and penalised like them, or an ``intercept`` beside them. ``debias`` fits the
    chosen monomials again by least squares.
    """

    monomials: int = 10
    degree: int = 2
    weight: float = 1.0
    form: str = "paper"
    method: str = "lasso"
    constant: str = "penalised"
    debias: bool = False
    tolerance: float = 1e-4


@dataclass(frozen=True)
class Recovered:
    """The ``polynomial`` of the largest coefficients of x (p,); p and x go by ``parities.monomials``.

    ``intercept`` is the constant beside them, 0 where it is one of them. ``relative_gap`` certifies the LASSO's x as
    :class:`isnas.sparse.boolean.lasso.LassoSolution` says; iterative hard thresholding has no certificate, NaN.
    """

    polynomial: Polynomial
    parities: Parities
    x: Array
    intercept: float
    gap: float
    relative_gap: float

    @property
    def nonzeros(self) -> int:
        """How many coefficients of x are not zero."""
        return int(np.count_nonzero(self.x))


def recover(alpha: Bits, y: Array, settings: RecoverySettings) -> Recovered:
    """The sparse polynomial of ``settings`` for values y (m,), all finite, at points alpha (m, n), -1 or +1."""
    assert len(alpha) == len(y) and bool(np.isfinite(y).all())
    parities = Parities(alpha, settings.degree)
    free_constant = settings.constant == "intercept"
    if settings.method == "lasso":
        mu = half_weight(settings.weight, settings.form, len(y))
        solution = solve(parities, y, mu, free_constant, settings.tolerance)
        x, gap, relative_gap = solution.x, solution.gap, solution.relative_gap
    else:
        x, gap, relative_gap = solve_iht(parities, y, settings.monomials, free_constant), np.nan, np.nan
    order = np.argsort(-np.abs(x), kind="stable")[: settings.monomials]
    order = order[x[order] != 0.0]
    columns = parities.columns(order)
    values = x[order]
    if settings.debias and len(order):
        centred = (columns - columns.mean(0), y - y.mean()) if free_constant else (columns, y)
        values = np.linalg.lstsq(*centred)[0]
    intercept = float((y - columns @ values).mean()) if free_constant else 0.0
    terms = tuple(Term(parities.monomials[place], float(value)) for place, value in zip(order, values))
    return Recovered(Polynomial(terms), parities, x, intercept, gap, relative_gap)

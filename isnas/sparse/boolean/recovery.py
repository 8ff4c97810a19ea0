"""From measurements of a function of bits to a sparse polynomial of it (CoNAS, Algorithm 1, lines 10 to 12)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isnas.sparse.boolean.iht import solve_iht
from isnas.sparse.boolean.lasso import half_weight, largest_weight, solve
from isnas.sparse.boolean.parities import Array, Bits, Monomial, Parities
from isnas.sparse.boolean.polynomial import Polynomial, Term

METHODS = ("lasso", "iht")
CONSTANTS = ("penalised", "intercept")


@dataclass(frozen=True)
class RecoverySettings:
    """How a polynomial is recovered; the defaults are CoNAS's (d = 2, s = 10, lambda = 1).

    ``monomials`` s of degree ``degree`` at most; ``weight`` of ||x||_1 in the objective's ``form`` (of the LASSO). The
    constant is one of the s monomials and penalised like them, or an ``intercept`` beside them. ``debias`` fits the
    chosen monomials again by least squares. ``probability`` is that of a bit to be +1, which decides the basis.
    """

    monomials: int = 10
    degree: int = 2
    weight: float = 1.0
    form: str = "paper"
    method: str = "lasso"
    constant: str = "penalised"
    debias: bool = False
    probability: float = 0.5
    tolerance: float = 1e-4


@dataclass(frozen=True)
class Recovered:
    """The ``polynomial`` of the largest coefficients of x (p,); p and x go by ``parities.monomials``.

    ``chosen`` are the monomials of those coefficients, whose terms the polynomial has in plain parities.

    ``intercept`` is the constant beside them, 0 where it is one of them. ``relative_gap`` certifies the LASSO's x as
    :class:`isnas.sparse.boolean.lasso.LassoSolution` says; iterative hard thresholding has no certificate, NaN.
    """

    polynomial: Polynomial
    chosen: tuple[Monomial, ...]
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
    parities = Parities(alpha, settings.degree, settings.probability)
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
    chosen = tuple(parities.monomials[place] for place in order)
    coefficients: dict[Monomial, float] = {}
    for monomial, value in zip(chosen, values):
        for bits, factor in parities.expanded(monomial):
            coefficients[bits] = coefficients.get(bits, 0.0) + factor * float(value)
    terms = sorted((Term(*each) for each in coefficients.items()), key=lambda term: -abs(term.coefficient))
    return Recovered(Polynomial(tuple(terms)), chosen, parities, x, intercept, gap, relative_gap)


def weight_share(recovered: Recovered, y: Array, settings: RecoverySettings) -> float | None:
    """The weight as a share of the least one that leaves no coefficient; None without a LASSO, or with y = 0."""
    if settings.method != "lasso":
        return None
    target = y - y.mean() if settings.constant == "intercept" else y
    largest = largest_weight(recovered.parities, target)
    return half_weight(settings.weight, settings.form, len(y)) / largest if largest else None

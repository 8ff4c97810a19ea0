"""At the ends of float64's range nothing is certified that exact arithmetic refuses, and nothing is raised."""

import warnings
from fractions import Fraction

import numpy as np
import pytest

from isnas.sparse import lasso
from isnas.sparse.solvers import make_solver

RNG = np.random.default_rng(7)
A = RNG.random((7, 14))
B = RNG.standard_normal(7)
LAM = 2.0**-16
SOLVERS = ("homotopy", "ista", "fista", "clarabel")
EXPONENTS = (-1060, -1030, -700, -520, -495, -400, -100, 0, 100, 400, 505, 515, 700, 1000)


def solve(name, matrices, b, lam, warm=None):
    limit = {"homotopy": None, "ista": 200, "fista": 20_000, "clarabel": 100}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return make_solver(name, matrices, lam, limit).solve(b, warm)


def exactly_solved(b, lam, z) -> bool:
    """Whether the duality gap meets 1e-9 of the objective and 0.5e-13 ||b||^2, in rational numbers."""
    wide, b, lam, z = (np.vectorize(Fraction, otypes=[object])(part) for part in (A, b, np.float64(lam), z))
    residual, lam = b - wide @ z, lam.item()
    penalty = lam * sum(abs(part) for part in z)
    largest = max(abs(part) for part in residual @ wide)
    theta = residual * (lam / max(largest, lam))
    primal = residual @ residual / 2 + penalty
    gap = primal - (theta @ b - theta @ theta / 2)
    return gap <= Fraction(1.0001e-9) * primal + Fraction(0.50005e-13) * (b @ b)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("lam_too", [False, True])
@pytest.mark.parametrize("name", SOLVERS)
def test_no_certificate_where_numbers_leave_the_range(name, lam_too, exponent):
    b, lam = np.ldexp(B, exponent), float(np.ldexp(LAM, exponent)) if lam_too and exponent > -1050 else LAM
    far, near = solve(name, [A, A], [b, B], lam)
    assert far.z.shape == (14,)
    if far.converged:
        assert exactly_solved(b, lam, far.z)
    if not -490 < exponent < 510:  # ||b||^2 has no 13 digits below it any more, or no room
        assert not far.converged
    elif name == "homotopy" and exponent > -450:
        assert far.converged
    assert name == "ista" or near.converged or lam != LAM


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_a_wrong_solution_is_never_certified(exponent):
    scale = float(np.ldexp(1.0, exponent))
    z = solve("homotopy", [A], [B], LAM)[0].z
    for factor in (1.0 + 1e-3, 2.0, 0.0):
        with np.errstate(all="ignore"):
            wrong = factor * z * scale
        lam = max(LAM * scale, 5e-324)
        if np.isfinite(wrong).all():
            assert not exactly_solved(B * scale, lam, wrong)
        assert not lasso.certify(A, B * scale, lam, wrong, 0).converged


def test_nothing_to_solve_is_solved_exactly():
    for solution in (make_solver(name, [A], LAM, None).solve([np.zeros(7)])[0] for name in SOLVERS):
        assert solution.converged and not solution.z.any() and solution.gap == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("place", ["A", "b", "both"])
@pytest.mark.parametrize("name", SOLVERS)
def test_what_is_not_a_number_is_never_solved_and_spoils_no_other(name, place, value):
    odd, target = A.copy(), B.copy()
    if place != "b":
        odd[2, 3] = value
    if place != "A":
        target[2] = value
    spoilt, other = solve(name, [odd, A], [target, B], LAM)
    assert not spoilt.converged
    alone = solve(name, [A], [B], LAM)[0]
    assert (other.converged, other.gap) == (alone.converged, pytest.approx(alone.gap, rel=1e-6, abs=1e-13))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["homotopy", "fista"])
def test_a_start_that_is_not_a_number_is_passed_over(name, value):
    assert solve(name, [A], [B], LAM, [np.full(14, value)])[0].converged

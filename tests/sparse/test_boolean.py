"""Parities, the LASSO over them and sparse polynomials, against brute force, scikit-learn and CVXPY."""

from itertools import product

import cvxpy
import numpy as np
import pytest
from sklearn.linear_model import Lasso

from isnas.base.errors import UserError
from isnas.sparse.boolean.iht import solve_iht
from isnas.sparse.boolean.lasso import FORMS, duality_gap, half_weight, largest_weight, solve
from isnas.sparse.boolean.parities import Parities, monomials, num_monomials
from isnas.sparse.boolean.polynomial import TIES, Polynomial, Term
from isnas.sparse.boolean.recovery import CONSTANTS, METHODS, RecoverySettings, recover


def draw(rng, m, n):
    return rng.choice([-1, 1], (m, n)).astype(np.int8)


def planted(rng, n, terms, constant=0.0):
    """Distinct monomials of one or two bits, with coefficients of sizes in [0.5, 1]."""
    names = [monomials(n, 2)[k] for k in 1 + rng.choice(num_monomials(n, 2) - 1, terms, replace=False)]
    drawn = [Term(bits, rng.choice([-1, 1]) * rng.uniform(0.5, 1)) for bits in names]
    return Polynomial((Term((), constant), *drawn))


def by_definition(alpha, degree):
    """A by Eq. 3.1."""
    sets = monomials(alpha.shape[1], degree)
    return np.array([[np.prod([float(row[i]) for i in S]) for S in sets] for row in alpha])


def test_numbers_of_monomials():
    assert [num_monomials(n, 2) for n in (140, 144, 196)] == [9871, 10441, 19307]
    assert len(monomials(140, 2)) == len(set(monomials(140, 2))) == 9871
    assert monomials(3, 2) == ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_products_are_those_of_the_matrix(degree):
    rng = np.random.default_rng(degree)
    alpha = draw(rng, 40, 8)
    parities, A = Parities(alpha, degree), by_definition(alpha, degree)
    x, r = rng.normal(size=A.shape[1]), rng.normal(size=40)
    np.testing.assert_array_equal(parities.dense(), A)
    np.testing.assert_array_equal(parities.matrix, A.T)
    assert parities.matrix.dtype == np.int8
    np.testing.assert_allclose(parities.times(x), A @ x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parities.correlate(r), A.T @ r, rtol=1e-12, atol=1e-12)


def test_parities_are_orthonormal_on_the_cube():
    cube = np.array(list(product([1, -1], repeat=8)), dtype=np.int8)
    A = Parities(cube).dense()
    np.testing.assert_array_equal(A.T @ A, 256 * np.eye(37))


def problem(m=60, n=12, noise=0.15):
    rng = np.random.default_rng(0)
    alpha = draw(rng, m, n)
    return alpha, 1.5 + planted(rng, n, 5)(alpha) * 0.3 + noise * rng.normal(size=m)


def test_the_three_forms_are_one_problem_and_optimal():
    alpha, y = problem()
    m, parities, A = len(y), Parities(alpha), by_definition(alpha, 2)
    weights = {"paper": 1.0, "half": 0.5, "mean": 0.5 / m}
    assert {form: half_weight(weight, form, m) for form, weight in weights.items()} == dict.fromkeys(FORMS, 0.5)
    found = solve(parities, y, 0.5, tolerance=1e-9)
    x = found.x
    gradient = 2 * A.T @ (y - A @ x)  # of the paper's form, at most lambda = 1 and that where x is not zero
    assert abs(gradient).max() <= 1.0 + 1e-3
    np.testing.assert_allclose(gradient[x != 0], np.sign(x[x != 0]), atol=1e-3)
    z = cvxpy.Variable(A.shape[1])
    least = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(y - A @ z) + cvxpy.norm1(z))).solve(solver="CLARABEL")
    ours = float(((y - A @ x) ** 2).sum() + abs(x).sum())
    assert ours == pytest.approx(least, rel=1e-6)
    theirs = Lasso(alpha=weights["mean"], fit_intercept=False, tol=1e-12, max_iter=10**6).fit(A, y).coef_
    np.testing.assert_allclose(x, theirs, atol=1e-5)
    residual = y - A @ x
    dual = residual * min(1, 0.5 / abs(A.T @ residual).max())
    gap = 0.5 * residual @ residual + 0.5 * abs(x).sum() - (dual @ y - 0.5 * dual @ dual)
    assert found.gap == pytest.approx(gap, abs=1e-12) and found.relative_gap <= 1e-9
    assert duality_gap(parities, y, 0.5, 0 * x)[0] > 1.0


def test_an_intercept_is_scikit_learns():
    alpha, y = problem()
    A = by_definition(alpha, 2)[:, 1:]
    found = solve(Parities(alpha), y, 2.0, intercept=True, tolerance=1e-9)
    theirs = Lasso(alpha=2.0 / len(y), tol=1e-12, max_iter=10**6).fit(A, y)
    assert found.x[0] == 0.0
    np.testing.assert_allclose(found.x[1:], theirs.coef_, atol=1e-6)
    assert found.intercept == pytest.approx(theirs.intercept_, abs=1e-6)


def test_weights_beyond_the_largest_leave_nothing():
    alpha, y = problem()
    parities = Parities(alpha)
    most = largest_weight(parities, y)
    nonzeros = [solve(parities, y, share * most, tolerance=1e-9).nonzeros for share in (1.0, 0.99)]
    assert nonzeros[0] == 0 < nonzeros[1]
    assert solve(parities, 0 * y, 1.0).nonzeros == 0
    assert recover(alpha, 0 * y, RecoverySettings()).polynomial.terms == ()
    assert recover(alpha, 0 * y, RecoverySettings(method="iht")).polynomial.terms == ()


@pytest.mark.parametrize("constant", CONSTANTS)
@pytest.mark.parametrize("method", METHODS)
def test_a_planted_polynomial_is_found(method, constant):
    """CoNAS's sizes: s = 10, d = 2, n = 140, m = 1000; without noise, and with 10 % of it."""
    rng = np.random.default_rng(3)
    alpha = draw(rng, 1000, 140)
    f = planted(rng, 140, 10)
    settings = RecoverySettings(method=method, constant=constant)
    for noise in (0.0, 0.1):
        y = f(alpha)
        y = y + noise * y.std() * rng.normal(size=1000)
        g = recover(alpha, y, settings).polynomial
        assert {term.bits for term in g.terms} == {term.bits for term in f.terms}
        assert g.minimiser() == f.minimiser()


def test_hard_thresholding_of_few_samples_and_with_a_mean():
    """Without noise it finds the coefficients themselves; the mean is one of the s, or beside them."""
    rng = np.random.default_rng(5)
    alpha = draw(rng, 300, 30)
    f = planted(rng, 30, 4, constant=2.0)
    A = by_definition(alpha, 2)
    x = solve_iht(Parities(alpha), f(alpha), 5)
    np.testing.assert_allclose(A @ x, f(alpha), atol=1e-4)
    beside = solve_iht(Parities(alpha), f(alpha), 4, intercept=True)
    assert beside[0] == 0.0
    np.testing.assert_allclose(beside[1:], x[1:], atol=1e-4)


def test_debiased_coefficients_are_least_squares():
    alpha, y = problem()
    g = recover(alpha, y, RecoverySettings(monomials=6, weight=10.0, debias=True)).polynomial
    columns = np.stack([alpha[:, list(bits)].prod(1).astype(float) for bits, _ in g.terms], axis=1)
    assert len(g.terms) == 6
    np.testing.assert_allclose(columns.T @ (y - g(alpha)), 0, atol=1e-9)


def everywhere(polynomial, n):
    """All points of the cube in the order of the rule of ties, and the values there."""
    cube = np.array(list(product([1, -1], repeat=n)), dtype=np.int8)[:, ::-1]  # the first bit changes fastest
    return cube, polynomial(cube)


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("seed", range(8))
def test_the_minimum_is_that_of_all_points(seed, tie):
    rng = np.random.default_rng(seed)
    n = 11
    g = planted(rng, n, 7)
    if seed % 2:  # coefficients that are equal have more ties
        g = Polynomial(tuple(Term(bits, float(np.sign(value))) for bits, value in g.terms))
    cube, values = everywhere(g, n)
    place = g.minimiser(tie)
    mine = np.array([place.get(bit, 1) for bit in range(n)], dtype=np.int8)
    assert g(mine) == pytest.approx(values.min(), abs=1e-12)
    others = [bit for bit in range(n) if bit not in place]
    equal = cube[(values <= values.min() + 1e-9) & (cube[:, others] == 1).all(1)]  # what does not occur is held
    assert g.num_minima() == len(equal)
    expected = equal[0] if tie == "first" else equal[np.argmin((equal == 1).sum(1))]
    np.testing.assert_array_equal(mine, expected)


def test_ties_and_components():
    g = Polynomial((Term((0,), -0.1), Term((1, 2), 0.05), Term((2, 3), -0.02), Term((7,), 0.0)))
    assert g.variables == (0, 1, 2, 3) and g.components() == ((0,), (1, 2, 3)) and g.num_minima() == 2
    assert g.minimiser() == {0: 1, 1: -1, 2: 1, 3: 1}
    assert g.minimiser("fewest_active") == {0: 1, 1: 1, 2: -1, 3: -1}
    pairs = Polynomial(tuple(Term((2 * k, 2 * k + 1), 1.0) for k in range(10)))
    assert pairs.num_minima() == 1024 and set(pairs.minimiser().items()) == {
        (k, -1 if k % 2 == 0 else 1) for k in range(20)
    }


def test_bits_that_are_too_many():
    star = [Term((0, k), 1.0 + k) for k in range(1, 25)]
    assert Polynomial(tuple(star[:-1])).minimiser()[0] == -1
    with pytest.raises(UserError, match=r"connects 25 bits .* among 24 at most; take fewer monomials"):
        Polynomial(tuple(star)).minimiser()


def test_restriction():
    """On the cube that is left it is the same function, whose matrix has no column twice."""
    rng = np.random.default_rng(0)
    f = planted(rng, 30, 12)
    fixed = {3: 1, 11: -1, 20: -1}
    free = [bit for bit in range(30) if bit not in fixed]
    alpha = draw(rng, 500, 30)
    for bit, value in fixed.items():
        alpha[:, bit] = value
    np.testing.assert_allclose(f.restricted(fixed)(alpha), f(alpha), atol=1e-12)
    assert set(f.restricted(fixed).variables) <= set(free)
    assert len({row.tobytes() for row in Parities(alpha[:, free]).matrix}) == 1 + 27 + 27 * 26 // 2
    both = {row.tobytes() for row in Parities(alpha).matrix} | {(-row).tobytes() for row in Parities(alpha).matrix}
    assert len(both) == 2 * 379  # of 466 columns, were the fixed bits kept
    local = Polynomial((Term((0, 26), 1.0),))
    assert local.renumbered(free).terms[0].bits == (0, 29)


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.8])
def test_bits_that_are_on_with_another_probability(probability):
    """In their own basis parities are orthonormal, and what is recovered is the same function of plain parities."""
    rng = np.random.default_rng(7)
    alpha = np.where(rng.random((1500, 12)) < probability, 1, -1).astype(np.int8)
    parities = Parities(alpha, 2, probability)
    cube = np.array(list(product([1, -1], repeat=6)), dtype=np.int8)
    weights = np.where(cube == 1, probability, 1 - probability).prod(1)
    A = Parities(cube, 3, probability).dense()
    np.testing.assert_allclose(A.T @ (weights[:, None] * A), np.eye(A.shape[1]), atol=1e-12)
    for place in (0, 3, 40):
        plain = sum(
            value * alpha[:, list(bits)].prod(1) for bits, value in parities.expanded(parities.monomials[place])
        )
        np.testing.assert_allclose(parities.columns(np.array([place]))[:, 0], plain, atol=1e-12)
    f = Polynomial(tuple(Term((bit,), 0.05 * (-1) ** bit) for bit in range(8)))
    y = 1.5 + f(alpha) + 0.15 * rng.normal(size=1500)
    found = recover(alpha, y, RecoverySettings(monomials=9, probability=probability))
    assert {bits for bits in found.chosen if bits} == {(bit,) for bit in range(8)}
    assert found.polynomial.minimiser() == f.minimiser()

import cvxpy as cp
import numpy as np
import pytest
from sklearn.linear_model import Lasso

from isnas.sparse import lasso
from isnas.sparse.homotopy import Homotopy


def literal_value(A, b, lam, z) -> float:
    m, n = A.shape
    total = 0.0
    for i in range(m):
        total += 0.5 * (sum(A[i, j] * z[j] for j in range(n)) - b[i]) ** 2
    for j in range(n):
        total += lam * abs(z[j])
    return total


def literal_correlations(A, b, z) -> list[float]:
    m, n = A.shape
    residual = [b[i] - sum(A[i, j] * z[j] for j in range(n)) for i in range(m)]
    return [sum(A[i, j] * residual[i] for i in range(m)) for j in range(n)]


def literal_kkt_violation(A, b, lam, z) -> float:
    worst = 0.0
    for correlation, entry in zip(literal_correlations(A, b, z), z):
        if entry > 0:
            violation = abs(correlation - lam)
        elif entry < 0:
            violation = abs(correlation + lam)
        else:
            violation = max(abs(correlation) - lam, 0.0)
        worst = max(worst, violation)
    return worst


def literal_gap(A, b, lam, z) -> float:
    """Primal minus dual value at theta = t (b - A z) with the largest t <= 1 for which |A_j^T theta| <= lam."""
    m, n = A.shape
    largest = max(abs(c) for c in literal_correlations(A, b, z))
    t = 1.0 if largest <= lam else lam / largest
    theta = [t * (b[i] - sum(A[i, j] * z[j] for j in range(n))) for i in range(m)]
    dual = sum(theta[i] * b[i] - 0.5 * theta[i] ** 2 for i in range(m))
    return literal_value(A, b, lam, z) - dual


def optimum(A, b, lam) -> float:
    z = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ z - b) + lam * cp.norm1(z)))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return float(problem.value)


def sparse_points(rng, shape) -> np.ndarray:
    return rng.standard_normal(shape) * (rng.random(shape) < 0.5)


@pytest.mark.parametrize("lam", [1e-5, 0.1, 3.0])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_every_function_is_its_definition_for_every_problem_of_a_batch(batch, lam):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((*batch, 4, 6)), rng.standard_normal((*batch, 4))
    z = sparse_points(rng, (*batch, 6))
    definitions = {
        "value": literal_value,
        "kkt_violation": literal_kkt_violation,
        "duality_gap": literal_gap,
        "gap_tolerance": lambda *problem: (
            1e-9 * literal_value(*problem) + 1e-13 * 0.5 * sum(entry * entry for entry in problem[1])
        ),
    }
    for name, definition in definitions.items():
        result = np.asarray(getattr(lasso, name)(A, b, lam, z))
        assert result.shape == batch, name
        for index in np.ndindex(*batch):
            expected = definition(A[index], b[index], lam, z[index])
            assert result[index] == pytest.approx(expected, rel=1e-12, abs=1e-13), name
    largest = np.asarray(lasso.lambda_max(A, b))
    assert largest.shape == batch
    for index in np.ndindex(*batch):
        zero = literal_correlations(A[index], b[index], np.zeros(6))
        assert largest[index] == pytest.approx(max(map(abs, zero)), rel=1e-14)


@pytest.mark.parametrize("lam", [1e-5, 1e-2, 0.5])
@pytest.mark.parametrize("shape", [(7, 14), (7, 35), (9, 4)])
def test_the_gap_bounds_the_distance_to_the_optimum_and_closes_there(shape, lam):
    rng = np.random.default_rng(shape[1])
    A, b = rng.standard_normal(shape), rng.standard_normal(shape[0])
    best = optimum(A, b, lam)
    solved = Homotopy([A], lam).solve([b])[0].z
    points = [np.zeros(shape[1]), solved]
    points += [scale * sparse_points(rng, shape[1]) for scale in (1e-3, 0.1, 1.0, 10.0) for _ in range(5)]
    points += [solved + scale * sparse_points(rng, shape[1]) for scale in (1e-6, 1e-3, 0.1) for _ in range(5)]
    for z in points:
        excess = literal_value(A, b, lam, z) - best
        assert excess >= -1e-10 * best  # the reference really is the smallest
        assert float(lasso.duality_gap(A, b, lam, z)) >= excess - 1e-10 * best
    assert float(lasso.duality_gap(A, b, lam, solved)) <= 1e-9 * best + 1e-13 * float(b @ b)


def test_the_objective_is_scikit_learns_with_alpha_lambda_over_m():
    rng = np.random.default_rng(2)
    A, b, lam = rng.standard_normal((7, 14)), rng.standard_normal(7), 0.3
    model = Lasso(alpha=lam / 7, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(A, b)
    solution = lasso.certify(A, b, lam, model.coef_, 5)
    assert solution.converged and solution.iterations == 5 and np.array_equal(solution.z, model.coef_)
    assert float(lasso.kkt_violation(A, b, lam, model.coef_)) < 1e-6 * lam
    assert not lasso.certify(A, b, 1.01 * lam, model.coef_, 5).converged


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_zero_is_the_solution_from_lambda_max_on_and_not_below(scale):
    rng = np.random.default_rng(1)
    A, b = rng.random((7, 14)), scale * rng.standard_normal(7)
    largest, zero = float(lasso.lambda_max(A, b)), np.zeros(14)
    for lam in (largest, 2 * largest):
        assert float(lasso.kkt_violation(A, b, lam, zero)) == 0.0
        assert float(lasso.duality_gap(A, b, lam, zero)) <= 1e-15 * float(b @ b)
        assert lasso.certify(A, b, lam, zero, 0).converged
        assert not Homotopy([A], lam).solve([b])[0].z.any()
    below = (1 - 1e-6) * largest
    assert float(lasso.kkt_violation(A, b, below, zero)) == pytest.approx(1e-6 * largest, rel=1e-6)
    assert np.count_nonzero(Homotopy([A], below).solve([b])[0].z) == 1


def test_the_certificate_reports_the_gap_of_the_point_it_was_given():
    A, b, lam = np.eye(2), np.array([3.0, -2.0]), 1.0
    right = lasso.certify(A, b, lam, np.array([2.0, -1.0]), 7)
    assert right.converged and right.gap <= 1e-14 and right.iterations == 7
    wrong = lasso.certify(A, b, lam, np.array([2.0, -1.0001]), 7)
    assert not wrong.converged
    assert wrong.gap == pytest.approx(literal_gap(A, b, lam, np.array([2.0, -1.0001])), rel=1e-9)
    assert not lasso.certify(A, b, lam, np.array([np.nan, -1.0]), 0).converged

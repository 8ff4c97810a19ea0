"""ISTA and FISTA against loops that write the formulae out, the other solvers, exact arithmetic and scikit-learn."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, LassoLars

from isnas.sparse import ista
from isnas.sparse.convex import Convex
from isnas.sparse.homotopy import Homotopy
from isnas.sparse.ista import Ista, Iterates
from isnas.sparse.lasso import Solution
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.settings import MAX_ITER, MEASUREMENTS

pytestmark = pytest.mark.slow

LAM, M, SIZES = 1e-5, 7, (14, 21, 28, 35)
SCALES = (1e-3, 1.0, 10.0)
PER_SCALE = 100
BOTH = pytest.mark.parametrize("accelerated", [False, True], ids=["ista", "fista"])


def draw_problems(scale: float, count: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Kinds of A and sizes of nodes in turn."""
    generator = torch.Generator().manual_seed(seed)
    matrices = [draw_measurement(MEASUREMENTS[i % 3], M, SIZES[i // 3 % 4], generator) for i in range(count)]
    return matrices, [scale * torch.randn(M, generator=generator, dtype=torch.float64).numpy() for _ in matrices]


def objective(A, b, lam, z) -> float:
    return 0.5 * float(np.sum((A @ z - b) ** 2)) + lam * float(np.sum(np.abs(z)))


def exact_gap_and_tolerance(A, b, lam, z) -> tuple[Fraction, Fraction]:
    """Of the very numbers in ``z``, without rounding."""
    exact = np.vectorize(Fraction, otypes=[object])
    A, b, z, lam = exact(A), exact(b), exact(z), Fraction(lam)
    residual = b - A @ z
    theta = min(Fraction(1), lam / max(abs(residual @ A).max(), lam)) * residual
    primal = residual @ residual / 2 + lam * abs(z).sum()
    return primal - (theta @ b - theta @ theta / 2), primal / 10**9 + b @ b / (2 * 10**13)


def top_two(z) -> set[int]:
    return set(np.argsort(-np.abs(z))[:2].tolist())


def margin(z) -> float:
    second, third = np.sort(np.abs(z))[::-1][1:3]
    return (second - third) / second


def literal_ista(A, b, lam, steps: int) -> list[np.ndarray]:
    """Eq. 7, entry by entry."""
    L = np.linalg.norm(A, 2) ** 2
    z, path = np.zeros(A.shape[1]), []
    for _ in range(steps):
        residual = [sum(A[i, j] * z[j] for j in range(A.shape[1])) - b[i] for i in range(A.shape[0])]
        new = np.zeros_like(z)
        for j in range(A.shape[1]):
            u = z[j] - sum(A[i, j] * residual[i] for i in range(A.shape[0])) / L
            new[j] = np.sign(u) * max(abs(u) - lam / L, 0.0)
        z = new
        path.append(z)
    return path


def literal_fista(A, b, lam, steps: int) -> tuple[list[np.ndarray], int]:
    """Beck and Teboulle's, restarted by O'Donoghue and Candès's gradient scheme; the iterates, how often restarted."""
    L = np.linalg.norm(A, 2) ** 2
    z = y = np.zeros(A.shape[1])
    t, path, restarts = 1.0, [], 0
    for _ in range(steps):
        u = y - A.T @ (A @ y - b) / L
        new = np.sign(u) * np.maximum(np.abs(u) - lam / L, 0.0)
        if (y - new) @ (new - z) > 0.0:
            t, restarts = 1.0, restarts + 1
        after = (1.0 + np.sqrt(1.0 + 4.0 * t**2)) / 2.0
        y = new + (t - 1.0) / after * (new - z)
        z, t = new, after
        path.append(z)
    return path, restarts


def iterates(matrices, b, lam, accelerated: bool, steps: int) -> list[np.ndarray]:
    """z (J, n) after every step, from zero."""
    stacked = Ista(matrices, lam, accelerated=accelerated).A
    course = Iterates(stacked, np.stack(b), lam, np.zeros((len(b), stacked.shape[2])), accelerated)
    path = []
    for count in range(1, steps + 1):
        course.advance(1)
        assert course.count == count
        path.append(course.z)
    return path


@pytest.mark.parametrize("scale", SCALES)
def test_every_step_of_ista_is_eq_7_and_lowers_the_objective(scale):
    matrices, b = draw_problems(scale, 6)
    path = iterates(matrices, b, LAM, False, 100)
    for j, (A, target) in enumerate(zip(matrices, b)):
        n, before = A.shape[1], objective(A, target, LAM, np.zeros(A.shape[1]))
        for z, expected in zip(path, literal_ista(A, target, LAM, 100)):
            assert np.allclose(z[j, :n], expected, rtol=1e-9, atol=1e-12 * scale) and not z[j, n:].any()
            now = objective(A, target, LAM, z[j, :n])
            assert now < before
            before = now


@pytest.mark.parametrize("scale", SCALES)
def test_every_step_of_fista_is_the_one_of_its_sources(scale):
    matrices, b = draw_problems(scale, 12)
    path = iterates(matrices, b, LAM, True, 400)
    total = 0
    for j, (A, target) in enumerate(zip(matrices, b)):
        expected, restarts = literal_fista(A, target, LAM, 400)
        total += restarts
        largest = np.abs(expected[-1]).max()
        for z, literal in zip(path, expected):
            assert np.allclose(z[j, : A.shape[1]], literal, rtol=0.0, atol=1e-9 * largest)
    assert total > 12  # restarts are among what was compared


@pytest.fixture(scope="module", params=SCALES)
def problems(request):
    """100 problems of one scale of b, and the homotopy's solutions."""
    matrices, b = draw_problems(request.param, PER_SCALE)
    return request.param, matrices, b, Homotopy(matrices, LAM).solve(b)


LIMITS = {"ista": {1e-3: 20_000, 1.0: 5_000, 10.0: 2_000}, "fista": {1e-3: 20_000, 1.0: 80_000, 10.0: 80_000}}


@pytest.mark.parametrize("name", ["ista", "fista", "clarabel"])
def test_the_top_two_are_the_exact_ones_or_the_solution_says_that_it_is_none(problems, name):
    scale, matrices, b, exact = problems
    if name == "clarabel":
        solutions = Convex(matrices, LAM, name).solve(b)
    else:
        limit = LIMITS[name][scale]
        solutions = Ista(matrices, LAM, accelerated=name == "fista", max_iter=limit).solve(b)
        assert all(solution.iterations == limit for solution in solutions if not solution.converged)
    compared = 0
    for A, target, expected, solution in zip(matrices, b, exact, solutions):
        assert expected.converged and solution.z.shape == (A.shape[1],)
        gap, tolerance = exact_gap_and_tolerance(A, target, LAM, solution.z)
        assert solution.converged == (gap <= tolerance)
        assert solution.gap == pytest.approx(float(gap), rel=1e-3, abs=0.01 * float(tolerance))
        if solution.converged and margin(expected.z) > 1e-6:
            compared += 1
            assert top_two(solution.z) == top_two(expected.z)
            if name != "clarabel":
                assert np.abs(solution.z - expected.z).max() <= 1e-9 * np.abs(expected.z).max()
    shares = {"clarabel": (0.98, 0.98, 0.98), "fista": (0.98, 0.9, 0.5), "ista": (0.5, 0.0, 0.0)}
    assert compared >= shares[name][SCALES.index(scale)] * PER_SCALE


def test_scikit_learn_agrees_where_it_converges():
    """LassoLars on small b (in units it stops well in) and coordinate descent on large lambda."""
    matrices, b = draw_problems(1e-3, 24, seed=1)
    for A, target, solution in zip(matrices, b, Ista(matrices, LAM, accelerated=True).solve(b)):
        model = LassoLars(alpha=LAM / 1e-3 / M, fit_intercept=False).fit(A, target / 1e-3)
        assert solution.converged
        assert np.abs(solution.z - 1e-3 * model.coef_).max() <= 1e-6 * np.abs(solution.z).max()
    for lam in (0.03, 0.3):
        matrices, b = draw_problems(1.0, 12, seed=2)
        for accelerated in (False, True):
            solutions = Ista(matrices, lam, accelerated=accelerated).solve(b)
            for A, target, solution in zip(matrices, b, solutions):
                model = Lasso(alpha=lam / M, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(A, target)
                assert solution.converged and np.abs(solution.z - model.coef_).max() < 1e-6


# The finish


@BOTH
def test_the_finish_saves_steps_and_ends_where_the_iteration_goes(accelerated):
    matrices, b = draw_problems(1e-3, 12, seed=3)
    limit = MAX_ITER if accelerated else 100_000
    bare = Ista(matrices, LAM, accelerated=accelerated, max_iter=limit, finish=False).solve(b)
    finished = Ista(matrices, LAM, accelerated=accelerated, max_iter=limit).solve(b)
    pairs = [pair for pair in zip(finished, bare) if pair[1].converged]
    assert len(pairs) >= 8
    for ours, theirs in pairs:
        assert ours.converged and ours.iterations <= theirs.iterations
        assert np.abs(ours.z - theirs.z).max() <= 1e-3 * np.abs(ours.z).max()
    assert np.median([ours.gap / theirs.gap for ours, theirs in pairs]) < 1e-3
    assert sum(ours.iterations for ours, _ in pairs) < 0.7 * sum(theirs.iterations for _, theirs in pairs)


@BOTH
def test_an_active_set_that_is_none_changes_nothing(accelerated, monkeypatch):
    matrices, b = draw_problems(1e-3, 8, seed=4)
    expected = Ista(matrices, LAM, accelerated=accelerated, max_iter=3000, finish=False).solve(b)
    calls = []

    def useless(A, b, lam, signs):
        calls.append(np.count_nonzero(signs))
        return -signs

    monkeypatch.setattr(ista, "solve_on_signs", useless)
    for before, after in zip(expected, Ista(matrices, LAM, accelerated=accelerated, max_iter=3000).solve(b)):
        assert np.array_equal(before.z, after.z)
        assert (before.gap, before.iterations, before.converged) == (after.gap, after.iterations, after.converged)
    assert calls and max(calls) <= M


# Limits and warm starts


@BOTH
@pytest.mark.parametrize("limit", [1, 10, 64, 65, 1000])
def test_at_the_limit_it_says_that_it_has_not_converged(accelerated, limit):
    matrices, b = draw_problems(1.0, 8)
    for A, target, solution in zip(matrices, b, Ista(matrices, LAM, accelerated=accelerated, max_iter=limit).solve(b)):
        assert not solution.converged and solution.iterations == limit
        gap, tolerance = exact_gap_and_tolerance(A, target, LAM, solution.z)
        assert gap > tolerance and solution.gap == pytest.approx(float(gap), rel=1e-9)


@BOTH
def test_more_steps_never_give_a_larger_gap(accelerated):
    matrices, b = draw_problems(1.0, 8)
    gaps = [
        [s.gap for s in Ista(matrices, LAM, accelerated=accelerated, max_iter=limit).solve(b)]
        for limit in (64, 128, 192, 256, 320)
    ]
    assert np.all(np.diff(gaps, axis=0) <= 0.0) and np.any(np.diff(gaps, axis=0) < 0.0)


@BOTH
def test_a_warm_start_takes_the_right_signs_and_survives_the_wrong_ones(accelerated):
    matrices, b = draw_problems(1.0, 12)
    solver = Ista(matrices, 0.01, accelerated=accelerated)
    cold = solver.solve(b)
    exact = [solution.z for solution in Homotopy(matrices, 0.01).solve(b)]
    assert all(solution.converged and solution.iterations > 0 for solution in cold)
    for warm, at_once in (
        (exact, True),
        ([0.9 * z for z in exact], True),
        ([-z for z in exact], False),
        ([np.ones_like(z) for z in exact], False),
    ):
        copies = [z.copy() for z in warm]
        for expected, solution in zip(cold, solver.solve(b, warm)):
            assert solution.converged and (solution.iterations == 0) == at_once
            assert np.abs(solution.z - expected.z).max() <= 1e-9 * np.abs(expected.z).max()
            assert not any(np.shares_memory(solution.z, z) for z in warm)
        assert all(np.array_equal(z, copy) for z, copy in zip(warm, copies))


def test_a_warm_start_goes_on_where_ista_stopped():
    matrices, b = draw_problems(1.0, 4)
    half = Ista(matrices, LAM, accelerated=False, max_iter=64, finish=False)
    first = half.solve(b)
    second = half.solve(b, [solution.z for solution in first])
    whole = Ista(matrices, LAM, accelerated=False, max_iter=128, finish=False).solve(b)
    for expected, solution in zip(whole, second):
        assert np.array_equal(solution.z, expected.z)


# Degenerate problems, and other problems beside them


def check_solved(A, b, lam, solution: Solution) -> None:
    assert solution.converged and solution.z.shape == (A.shape[1],)
    gap, tolerance = exact_gap_and_tolerance(A, b, lam, solution.z)
    assert gap <= tolerance


@BOTH
def test_zero_is_found_without_a_step(accelerated):
    A, b = np.random.default_rng(0).random((M, 14)), np.random.default_rng(1).standard_normal(M)
    largest = float(np.abs(A.T @ b).max())
    for matrix, target, lam in ((A, 0 * b, LAM), (A, b, 2 * largest), (np.zeros((M, 5)), b, LAM)):
        solution = Ista([matrix], lam, accelerated=accelerated).solve([target])[0]
        check_solved(matrix, target, lam, solution)
        assert not solution.z.any() and solution.iterations == 0


@BOTH
def test_singular_active_sets_are_survived(accelerated):
    """Equal columns share what one would have; no equation on both of them has a unique solution."""
    rng = np.random.default_rng(2)
    for _ in range(5):
        A, b = rng.standard_normal((M, 8)), rng.standard_normal(M)
        low_rank = rng.standard_normal((M, 2)) @ rng.standard_normal((2, 12))
        matrices, lam = [np.hstack([A, A]), np.hstack([A, -A]), low_rank, A], 0.05
        for matrix, solution in zip(matrices, Ista(matrices, lam, accelerated=accelerated).solve([b] * 4)):
            check_solved(matrix, b, lam, solution)


@BOTH
def test_shapes_may_differ_and_the_order_of_the_problems_does_not_matter(accelerated):
    rng = np.random.default_rng(3)
    matrices = [rng.standard_normal(shape) for shape in [(7, 14), (3, 60), (20, 5), (1, 4), (9, 9), (2, 1)]]
    b = [rng.standard_normal(len(A)) for A in matrices]
    solutions = Ista(matrices, 0.1, accelerated=accelerated).solve(b)
    for A, target, solution in zip(matrices, b, solutions):
        check_solved(A, target, 0.1, solution)
    turned = Ista(matrices[::-1], 0.1, accelerated=accelerated).solve(b[::-1])[::-1]
    for solution, other in zip(solutions, turned):
        assert np.array_equal(solution.z, other.z) and solution.iterations == other.iterations


@BOTH
def test_a_broken_b_is_reported_and_leaves_the_other_problems_alone(accelerated):
    matrices, b = draw_problems(1e-3, 6)
    solver = Ista(matrices, LAM, accelerated=accelerated, max_iter=5000)
    expected = solver.solve(b)
    for broken in (np.nan, np.inf, 1e200):
        targets = [*b[:3], np.array([broken, *b[3][1:]]), *b[4:]]
        with np.errstate(all="ignore"):
            results = solver.solve(targets)
        assert not results[3].converged and np.isfinite(results[3].z).all()
        for j in (0, 1, 2, 4, 5):
            assert np.array_equal(results[j].z, expected[j].z) and results[j].converged == expected[j].converged


@BOTH
def test_convergence_is_never_claimed_falsely(accelerated):
    rng = np.random.default_rng(4)
    matrices = [rng.standard_normal((M, 14)) * 10.0 ** rng.uniform(-2, 2, 14) for _ in range(40)]
    matrices += [
        rng.standard_normal((M, 1)) + 10.0 ** rng.uniform(-6, 0) * rng.standard_normal((M, 14)) for _ in "." * 40
    ]
    b = [rng.standard_normal(M) for _ in matrices]
    solutions = Ista(matrices, 0.01, accelerated=accelerated, max_iter=5000).solve(b)
    for A, target, solution in zip(matrices, b, solutions):
        gap, tolerance = exact_gap_and_tolerance(A, target, 0.01, solution.z)
        assert solution.converged == (gap <= tolerance)
    assert 0 < sum(solution.converged for solution in solutions) < len(matrices)

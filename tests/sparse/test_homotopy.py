"""The path solver against exact arithmetic, CLARABEL and scikit-learn's LARS, and where the problem is degenerate."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, lars_path

from isnas.sparse.convex import Convex
from isnas.sparse.homotopy import Homotopy
from isnas.sparse.lasso import Solution
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.settings import MEASUREMENTS

LAM = 1e-5
M = 7
SIZES = (14, 21, 28, 35)
SCALES = (1e-3, 1.0, 10.0)
NUM_PROBLEMS = 1000


def exact_gap_and_tolerance(A, b, lam, z) -> tuple[Fraction, Fraction]:
    """Duality gap and the largest one that counts as solved, of the very numbers in ``z``, without rounding."""
    exact = np.vectorize(Fraction, otypes=[object])
    A, b, z, lam = exact(A), exact(b), exact(z), Fraction(lam)
    residual = b - A @ z
    theta = min(Fraction(1), lam / max(abs(residual @ A).max(), lam)) * residual
    primal = residual @ residual / 2 + lam * abs(z).sum()
    return primal - (theta @ b - theta @ theta / 2), primal / 10**9 + b @ b / (2 * 10**13)


def assert_solved(A, b, lam, solution: Solution) -> None:
    assert solution.converged
    gap, tolerance = exact_gap_and_tolerance(A, b, lam, solution.z)
    assert gap <= tolerance, f"claimed {solution.gap:.1e}, true {float(gap):.1e}, allowed {float(tolerance):.1e}"


def solve_one(A, b, lam=LAM) -> Solution:
    """The certified solution of a single problem."""
    A, b = np.asarray(A, dtype=np.float64), np.asarray(b, dtype=np.float64)
    solution = Homotopy([A], lam).solve([b])[0]
    assert_solved(A, b, lam, solution)
    return solution


def support(z) -> list[int]:
    return np.flatnonzero(z).tolist()


def top_two(z) -> set[int]:
    return set(np.argsort(-np.abs(z))[:2].tolist())


def margin(z) -> float:
    second, third = np.sort(np.abs(z))[::-1][1:3]
    return (second - third) / second if second > 0 else 0.0


def lars(A, b, lam) -> tuple[np.ndarray, int]:
    """scikit-learn's solution and its number of segments.

    LARS stops within an absolute 1.2e-7 (float32's epsilon) of the alpha it was asked for. That is up to 8 % of
    lambda / m here, and of 1,000 problems as they are it ends beside the optimum of 7, all with b of 1e-3. So it is
    given the equivalent problem in units a thousand times smaller.
    """
    unit = 1e-3
    alphas, _, path = lars_path(A, b / unit, alpha_min=lam / unit / len(b), method="lasso")
    return unit * path[:, -1], len(alphas) - 1


def recovery(scale: float, kind: str, generator: torch.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A and b of the eight nodes of two cells."""
    matrices = [draw_measurement(kind, M, n, generator) for n in SIZES * 2]
    return matrices, [scale * torch.randn(M, generator=generator, dtype=torch.float64).numpy() for _ in matrices]


@pytest.fixture(scope="module")
def problems() -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = torch.Generator().manual_seed(0)
    matrices, targets = [], []
    for index in range(NUM_PROBLEMS):
        kind, scale, n = MEASUREMENTS[index % 3], SCALES[index // 3 % 3], SIZES[index // 9 % 4]
        matrices.append(draw_measurement(kind, M, n, generator))
        targets.append(scale * torch.randn(M, generator=generator, dtype=torch.float64).numpy())
    return matrices, targets


@pytest.fixture(scope="module")
def solutions(problems) -> list[Solution]:
    matrices, targets = problems
    return Homotopy(matrices, LAM).solve(targets)


def test_the_certificate_holds_on_a_thousand_problems(problems, solutions):
    for A, b, solution in zip(*problems, solutions):
        assert solution.z.shape == (A.shape[1],)
        assert_solved(A, b, LAM, solution)


def test_at_most_m_entries_are_nonzero_and_every_one_has_the_sign_of_its_correlation(problems, solutions):
    for A, b, solution in zip(*problems, solutions):
        active = support(solution.z)
        assert 1 <= len(active) <= M
        assert np.linalg.matrix_rank(A[:, active]) == len(active)
        correlation = A.T @ (b - A @ solution.z) / LAM
        assert np.abs(correlation[active] - np.sign(solution.z[active])).max() < 1e-6
        assert np.abs(correlation).max() < 1.0 + 1e-6


def test_lars_takes_the_same_path_to_the_same_point(problems, solutions):
    excluded = compared = 0
    for A, b, solution in zip(*problems, solutions):
        z, segments = lars(A, b, LAM)
        gap, tolerance = exact_gap_and_tolerance(A, b, LAM, z)
        if gap > tolerance:
            excluded += 1
            continue
        assert solution.iterations == segments
        assert np.abs(solution.z - z).max() <= 1e-6 * np.abs(z).max()
        if margin(solution.z) > 1e-6:
            compared += 1
            assert top_two(solution.z) == top_two(z)
    assert excluded <= 5  # of its own making; none with scikit-learn 1.9
    assert compared >= NUM_PROBLEMS - 15


def test_clarabel_chooses_the_same_two(problems, solutions):
    compared = 0
    for A, b, ours, theirs in zip(*problems, solutions, Convex(problems[0], LAM, "clarabel").solve(problems[1])):
        assert theirs.converged
        primal = 0.5 * np.sum((A @ theirs.z - b) ** 2) + LAM * np.abs(theirs.z).sum()
        assert abs(0.5 * np.sum((A @ ours.z - b) ** 2) + LAM * np.abs(ours.z).sum() - primal) <= 1e-8 * primal
        if margin(ours.z) > 1e-6:
            compared += 1
            assert top_two(ours.z) == top_two(theirs.z)
    assert compared >= NUM_PROBLEMS - 10


def test_coordinate_descent_agrees_where_it_is_fast():
    rng = np.random.default_rng(0)
    for lam in (0.03, 0.3):
        for _ in range(10):
            A, b = rng.standard_normal((M, 20)), rng.standard_normal(M)
            model = Lasso(alpha=lam / M, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(A, b)
            assert np.abs(solve_one(A, b, lam).z - model.coef_).max() < 1e-6


def test_many_paths_drop_a_column_on_the_way(problems, solutions):
    """Every drop costs two segments more than there are nonzeros; without drops LARS would do for a solver."""
    extra = np.array([solution.iterations - len(support(solution.z)) for solution in solutions])
    assert extra.min() == 0 and not np.any(extra % 2)
    assert np.count_nonzero(extra) > 500 and extra.max() >= 8
    A, b = problems[0][int(extra.argmax())], problems[1][int(extra.argmax())]
    _, _, path = lars_path(A, b / 1e-3, alpha_min=LAM / 1e-3 / M, method="lasso")
    assert np.sum((path[:, :-1] != 0.0) & (path[:, 1:] == 0.0)) == extra.max() / 2


# Degenerate problems


def test_zero_b_and_large_lambda_give_zero_without_a_step():
    A, b = np.random.default_rng(0).random((M, 14)), np.random.default_rng(1).standard_normal(M)
    largest = float(np.abs(A.T @ b).max())
    for target, lam in ((np.zeros(M), LAM), (b, largest), (b, 3 * largest), (1e-9 * b, 1e-7)):
        solution = solve_one(A, target, lam)
        assert not solution.z.any() and solution.iterations == 0
    assert support(solve_one(A, b, (1 - 1e-6) * largest).z) == [int(np.abs(A.T @ b).argmax())]


def test_zero_columns_stay_zero_and_change_nothing():
    rng = np.random.default_rng(2)
    A, b = rng.standard_normal((M, 14)), rng.standard_normal(M)
    expected = solve_one(A, b).z
    padded = solve_one(np.hstack([np.zeros((M, 3)), A, np.zeros((M, 2))]), b).z
    assert not padded[:3].any() and not padded[17:].any()
    assert np.allclose(padded[3:17], expected, rtol=1e-12, atol=1e-14)
    assert not solve_one(np.zeros((M, 5)), b).z.any()


@pytest.mark.parametrize("seed", range(10))
def test_of_equal_columns_the_lower_index_wins_in_every_arrangement(seed):
    rng = np.random.default_rng(seed)
    A, b = rng.standard_normal((M, 14)), rng.standard_normal(M)
    if seed % 2:
        A = rng.random((M, 14))
    expected = solve_one(A, b).z
    order = rng.permutation(14)
    signs = rng.choice([-1.0, 1.0], 14)
    for copies in (
        np.hstack([A, A]),
        np.hstack([A] * 4),
        np.hstack([A, -A]),
        np.hstack([A, A[:, order]]),
        np.hstack([A, signs * A, A]),
    ):
        z = solve_one(copies, b).z
        assert not z[14:].any()
        assert np.allclose(z[:14], expected, rtol=1e-9, atol=1e-12)
    beside = solve_one(np.repeat(A, 2, axis=1) * np.tile([1.0, -1.0], 14), b).z
    assert not beside[1::2].any() and np.allclose(beside[::2], expected, rtol=1e-9, atol=1e-12)
    negative = solve_one(np.hstack([-A, A]), b).z
    assert not negative[14:].any() and np.allclose(negative[:14], -expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("factor", [2.0, -2.0, 1.25, 3.0])
def test_of_scaled_copies_the_longer_column_wins(factor):
    rng = np.random.default_rng(3)
    A, b = rng.standard_normal((M, 14)), rng.standard_normal(M)
    longer_last, longer_first = solve_one(np.hstack([A, factor * A]), b).z, solve_one(np.hstack([factor * A, A]), b).z
    assert not longer_last[:14].any() and longer_last[14:].any()
    assert not longer_first[14:].any()
    expected = solve_one(factor * A, b).z
    assert np.allclose(longer_last[14:], expected, rtol=1e-9, atol=1e-12)
    assert np.allclose(longer_first[:14], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [1, 3, 7, 40])
def test_ties_of_the_identity(n):
    assert np.array_equal(solve_one(np.eye(n), np.ones(n), 0.25).z, np.full(n, 0.75))
    assert np.array_equal(solve_one(np.eye(n), -np.ones(n), 0.25).z, np.full(n, -0.75))
    assert not solve_one(np.eye(n), np.ones(n), 1.0).z.any()


def test_soft_thresholding_of_an_orthogonal_matrix():
    rng = np.random.default_rng(4)
    Q, _ = np.linalg.qr(rng.standard_normal((9, 9)))
    b = rng.standard_normal(9)
    correlation = Q.T @ b
    expected = np.sign(correlation) * np.maximum(np.abs(correlation) - 0.5, 0.0)
    assert np.allclose(solve_one(Q, b, 0.5).z, expected, rtol=0.0, atol=1e-14)


def test_integer_matrices_full_of_ties():
    rng = np.random.default_rng(5)
    for _ in range(300):
        m, n = rng.integers(1, 9), rng.integers(1, 25)
        A, b = rng.integers(-1, 2, (m, n)).astype(float), rng.integers(-3, 4, m).astype(float)
        assert len(support(solve_one(A, b, float(rng.choice([0.25, 0.5, 1.0, 2.0]))).z)) <= min(m, n)


@pytest.mark.parametrize("lam", [LAM, 0.1])
@pytest.mark.parametrize("shape", [(20, 5), (40, 14), (3, 60), (2, 9), (7, 7), (7, 1)])
def test_tall_square_and_wide_matrices(shape, lam):
    rng = np.random.default_rng(shape[0])
    for draw in (rng.standard_normal, rng.random):
        for _ in range(5):
            A, b = draw(shape), rng.standard_normal(shape[0])
            solution = solve_one(A, b, lam)
            z, segments = lars(A, b, lam)
            assert np.allclose(solution.z, z, rtol=1e-6, atol=1e-9)
            assert solution.iterations == segments


def test_one_row_has_a_closed_form():
    rng = np.random.default_rng(6)
    for lam in (LAM, 0.1):
        a, b = rng.standard_normal(12), float(rng.standard_normal())
        best = int(np.abs(a).argmax())
        expected = np.zeros(12)
        expected[best] = np.sign(a[best] * b) * max(abs(a[best] * b) - lam, 0.0) / a[best] ** 2
        assert np.allclose(solve_one(a[None], [b], lam).z, expected, rtol=1e-13, atol=0.0)


def test_rank_deficient_matrices():
    rng = np.random.default_rng(7)
    for rank in (1, 2, 3):
        for _ in range(20):
            A, b = rng.standard_normal((M, rank)) @ rng.standard_normal((rank, 14)), rng.standard_normal(M)
            assert len(support(solve_one(A, b).z)) <= rank
            A, b = rng.integers(-2, 3, (M, rank)) @ rng.integers(-2, 3, (rank, 14)), rng.integers(-3, 4, M)
            assert len(support(solve_one(A, b, 0.5).z)) <= rank


# Lock-step, warm starts


def test_problems_of_different_shapes_in_one_call_are_solved_as_alone():
    rng = np.random.default_rng(8)
    shapes = [(7, 14), (3, 60), (20, 5), (1, 4), (7, 35), (9, 9), (2, 1)]
    matrices = [rng.standard_normal(shape) for shape in shapes] + [np.zeros((4, 6))]
    b = [rng.standard_normal(len(A)) for A in matrices]
    for A, target, together in zip(matrices, b, Homotopy(matrices, LAM).solve(b)):
        alone = solve_one(A, target)
        assert together.converged and together.z.shape == alone.z.shape
        assert support(together.z) == support(alone.z) and together.iterations == alone.iterations
        assert np.allclose(together.z, alone.z, rtol=1e-12, atol=0.0)


def test_one_solver_keeps_nothing_of_the_last_call():
    matrices, b = recovery(1.0, "uniform", torch.Generator().manual_seed(1))
    solver = Homotopy(matrices, LAM)
    first = solver.solve(b)
    solver.solve([-2.0 * target for target in b], [solution.z for solution in first])
    for before, after in zip(first, solver.solve(b)):
        assert np.array_equal(before.z, after.z)
        before.z[:] = 7.0
    assert all(solution.converged for solution in solver.solve(b))


def test_the_right_signs_are_taken_without_a_step_of_the_path():
    generator = torch.Generator().manual_seed(2)
    for kind in MEASUREMENTS:
        for scale in SCALES:
            matrices, b = recovery(scale, kind, generator)
            solver = Homotopy(matrices, LAM)
            cold = solver.solve(b)
            moved = [(1.0 + 1e-6) * target for target in b]
            for target in (b, moved):
                for A, part, solution in zip(matrices, target, solver.solve(target, [s.z for s in cold])):
                    assert solution.iterations == 0
                    assert_solved(A, part, LAM, solution)


def warm_starts(cold: list[Solution], rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """What may be left from an earlier recovery, and what may not."""
    z = [solution.z for solution in cold]
    starts = {
        "own": z,
        "none": [np.zeros_like(part) for part in z],
        "opposite": [-part for part in z],
        "shuffled": [rng.permutation(part) for part in z],
        "everything": [np.ones_like(part) for part in z],
        "one less": [part * (np.arange(len(part)) != np.abs(part).argmax()) for part in z],
        "one more": [part + (np.arange(len(part)) == np.abs(part).argmin()) for part in z],
        "half stale": [-part if j % 2 else part for j, part in enumerate(z)],
        "half everything": [np.ones_like(part) if j % 2 else part for j, part in enumerate(z)],
    }
    starts |= {f"only {j} right": [part if j == k else -part for k, part in enumerate(z)] for j in range(len(z))}
    return starts


def test_a_warm_start_gives_the_bits_of_a_cold_one():
    generator, rng = torch.Generator().manual_seed(3), np.random.default_rng(9)
    for trial in range(36):
        matrices, b = recovery(SCALES[trial % 3], MEASUREMENTS[trial // 3 % 3], generator)
        if trial % 2:  # active sets of very different sizes in one call
            matrices, b = [*matrices, rng.standard_normal((20, 19))], [*b, rng.standard_normal(20)]
        solver = Homotopy(matrices, LAM)
        cold = solver.solve(b)
        for name, warm in warm_starts(cold, rng).items():
            for expected, solution in zip(cold, solver.solve(b, warm)):
                assert np.array_equal(solution.z, expected.z), name
                assert solution.converged and solution.gap == expected.gap


@pytest.mark.parametrize("step", [1e-9, 1e-6, 6e-4, 0.1])
def test_following_b_warm_gives_the_bits_of_solving_it_cold(step):
    generator, rng = torch.Generator().manual_seed(4), np.random.default_rng(10)
    for trial in range(18):
        matrices, b = recovery(SCALES[trial % 3], MEASUREMENTS[trial // 3 % 3], generator)
        solver = Homotopy(matrices, LAM)
        warm = [solution.z for solution in solver.solve(b)]
        for _ in range(3):
            b = [target + step * rng.choice([-1.0, 1.0], M) for target in b]
            cold, followed = solver.solve(b), solver.solve(b, warm)
            for expected, solution in zip(cold, followed):
                assert np.array_equal(solution.z, expected.z)
            warm = [solution.z for solution in followed]


@pytest.mark.parametrize("excess", [5e-8, 1e-8, 1e-10])
def test_signs_that_are_almost_right_do_not_end_in_a_solution_without_certificate(excess):
    """Beyond lambda by ``excess``, the second entry joins; without it the gap is more than what counts as solved."""
    A, b = np.eye(2), np.array([3.0, 1.0 + excess])
    solver = Homotopy([A], 1.0)
    cold, warm = solver.solve([b])[0], solver.solve([b], [np.array([2.0, 0.0])])[0]
    assert_solved(A, b, 1.0, cold)
    assert_solved(A, b, 1.0, warm)


def test_a_warm_start_with_a_singular_gram_matrix_is_survived():
    rng = np.random.default_rng(11)
    matrices, b = (
        [rng.random((2, 14)), np.array([[1.0, 1.0], [2.0, 2.0]])],
        [rng.standard_normal(2), np.array([1.0, 2.0])],
    )
    solver = Homotopy(matrices, LAM)
    cold = solver.solve(b)
    for expected, solution in zip(cold, solver.solve(b, [cold[0].z, np.ones(2)])):
        assert solution.converged and np.array_equal(solution.z, expected.z)


def test_warm_arrays_are_neither_changed_nor_handed_out():
    matrices, b = recovery(1.0, "uniform", torch.Generator().manual_seed(5))
    solver = Homotopy(matrices, LAM)
    warm = [solution.z for solution in solver.solve(b)]
    warm[1] = -warm[1]  # so that both ways are taken
    copies, b_copies, A_copies = ([part.copy() for part in parts] for parts in (warm, b, matrices))
    results = solver.solve(b, warm)
    for before, after in zip(copies + b_copies + A_copies, warm + b + matrices):
        assert np.array_equal(before, after)
    for solution in results:
        for array in (*warm, *b, *matrices, solver.A, solver.gram, *(s.z for s in results if s is not solution)):
            assert not np.shares_memory(solution.z, array)


# Beyond float64. What float64 cannot tell apart is judged in extended precision, which some platforms do not have.

EXTENDED = pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="numpy's long double is a double here")


@EXTENDED
@pytest.mark.parametrize("n", [10, 14, 28])
def test_convergence_is_never_claimed_falsely_for_columns_over_twelve_orders_of_magnitude(n):
    rng = np.random.default_rng(0)
    claimed, false = 0, []
    for trial in range(200):
        A, b = rng.standard_normal((M, n)) * 10.0 ** rng.uniform(-6, 6, n), rng.standard_normal(M)
        solution = Homotopy([A], LAM).solve([b])[0]
        claimed += solution.converged
        gap, tolerance = exact_gap_and_tolerance(A, b, LAM, solution.z)
        if solution.converged and gap > tolerance:
            false.append(f"trial {trial}: {float(gap / tolerance):.3g} times the tolerance")
    assert not false
    assert 0 < claimed < 200  # some can be solved, and what cannot is reported


@EXTENDED
@pytest.mark.parametrize("spread", [1e-10, 1e-8, 1e-6, 1e-4])
def test_convergence_is_never_claimed_falsely_for_almost_parallel_columns(spread):
    rng = np.random.default_rng(1)
    claimed = 0
    for _ in range(100):
        A = rng.standard_normal((M, 1)) + spread * rng.standard_normal((M, 14))
        b, lam = rng.standard_normal(M), 10.0 ** rng.integers(-6, 0)
        solution = Homotopy([A], lam).solve([b])[0]
        claimed += solution.converged
        if solution.converged:
            assert_solved(A, b, lam, solution)
    assert claimed > 0


def test_a_broken_b_is_reported_and_leaves_the_other_problems_alone():
    matrices, b = recovery(1.0, "uniform", torch.Generator().manual_seed(6))
    expected = Homotopy(matrices, LAM).solve(b)
    for broken in (np.nan, np.inf):
        b[3] = np.array([broken, *b[3][1:]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            results = Homotopy(matrices, LAM).solve(b)
        assert not results[3].converged
        for j in (0, 1, 2, 4, 5, 6, 7):
            assert np.array_equal(results[j].z, expected[j].z) and results[j].converged

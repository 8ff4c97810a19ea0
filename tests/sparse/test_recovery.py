import numpy as np
import pytest
import torch

from isnas.base.errors import UserError
from isnas.methods.recovery_figures import RecoveryTally
from isnas.methods.registry import make_options
from isnas.methods.sparse_architecture import SparseArchitecture
from isnas.space.cells.space import CellSpace
from isnas.sparse.homotopy import Homotopy
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.recovery import coefficients, top_support
from isnas.sparse.settings import MEASUREMENTS
from isnas.sparse.solvers import SOLVERS, make_solver


@pytest.mark.parametrize(
    ("z", "sparseness", "expected"),
    [
        ([0.1, -3.0, 0.2, 2.0], 2, (1, 3)),  # magnitude counts, the order is that of the indices
        ([2.0, 0.0, -3.0], 2, (0, 2)),
        ([1.0, -2.0, 2.0, 1.0, -1.0], 3, (0, 1, 2)),  # three share the last place
        ([1.0, -1.0, 1.0, -1.0], 2, (0, 1)),
        ([0.0, 0.0, 0.0, -5.0], 2, (0, 3)),  # one nonzero: the lowest index fills up
        ([0.0, 5.0, 0.0, 0.0], 3, (0, 1, 2)),
        ([0.0, 0.0, 0.0], 2, (0, 1)),
        ([-0.0, 0.0, 1e-300], 1, (2,)),
        ([3.0, 1.0], 2, (0, 1)),
    ],
)
def test_the_largest_are_kept_and_of_equal_ones_the_lower_index(z, sparseness, expected):
    support = top_support(np.array(z), sparseness)
    assert support == expected
    assert all(type(index) is int for index in support)


@pytest.mark.parametrize(
    ("z", "sparseness", "groups", "expected"),
    [
        ([3.0, -2.0, 1.0, 0.5], 2, [0, 0, 1, 1], (0, 2)),  # the second of group 0 does not count
        ([1.0, -2.0, 0.0, 0.5], 2, [0, 0, 1, 1], (1, 3)),
        ([1.0, -1.0, 0.5, -0.5], 2, [0, 0, 1, 1], (0, 2)),  # ties inside a group
        ([1.0, 1.0, 1.0], 2, [2, 1, 0], (0, 1)),  # ties between groups, by index and not by label
        ([0.0, 0.0, 0.0, 7.0], 2, [0, 0, 1, 1], (0, 3)),  # filled up from another group
        ([0.0, 0.0, 7.0, 0.0], 2, [1, 1, 1, 0], (2, 3)),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 3, [0, 0, 0, 1, 2], (0, 3, 4)),
    ],
)
def test_with_groups_every_group_gives_one_at_most(z, sparseness, groups, expected):
    assert top_support(np.array(z), sparseness, groups) == expected


def test_groups_that_are_all_different_change_nothing():
    rng = np.random.default_rng(0)
    for _ in range(50):
        z = rng.integers(-3, 4, size=10).astype(float)
        assert top_support(z, 3, list(range(10))) == top_support(z, 3)
        assert top_support(z, 3) == tuple(sorted(sorted(range(10), key=lambda j: (-abs(z[j]), j))[:3]))


def random_problem(seed: int, kind: str = "uniform", scale: float = 1.0, m: int = 7, n: int = 28):
    generator = torch.Generator().manual_seed(seed)
    A = draw_measurement(kind, m, n, generator)
    return A, scale * torch.randn(m, generator=generator, dtype=torch.float64).numpy()


def code_coefficients(A_S, b, z_S) -> np.ndarray:
    return coefficients(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (A_S, b, z_S))).numpy()


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_coefficients_are_eq_11_written_out(kind):
    rng = np.random.default_rng(1)
    for seed in range(20):
        A, b = random_problem(seed, kind)
        S, z = sorted(rng.choice(28, 2, replace=False)), rng.standard_normal(28)
        E = A.T @ A - np.eye(28)
        expected = A[:, S].T @ b - E[np.ix_(S, S)] @ z[S]
        result = code_coefficients(A[:, S], b, z[S])
        assert np.abs(result - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max())


def test_coefficients_of_a_batch_are_those_of_its_problems():
    rng = np.random.default_rng(2)
    A_S, b, z_S = rng.random((8, 7, 2)), rng.standard_normal((8, 7)), rng.standard_normal((8, 2))
    together = code_coefficients(A_S, b, z_S)
    assert together.shape == (8, 2)
    for j in range(8):
        assert np.abs(together[j] - code_coefficients(A_S[j], b[j], z_S[j])).max() <= 1e-14 * np.abs(A_S).sum()


@pytest.mark.parametrize("kind", MEASUREMENTS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_discarded_nonzeros_come_back_through_the_optimality_conditions(kind, scale):
    """With R the discarded nonzeros, ``c_S = z_S + lambda sign(z_S) + A_S^T A_R z_R`` at a solution of the LASSO."""
    lam, discarded = 1e-5, 0
    for seed in range(30):
        A, b = random_problem(seed, kind, scale, n=(14, 21, 28, 35)[seed % 4])
        z = Homotopy([A], lam).solve([b])[0].z
        S = list(top_support(z, 2))
        R = [j for j in np.flatnonzero(z) if j not in S]
        discarded += len(R)
        parts = [z[S], lam * np.sign(z[S])] + [A[:, S].T @ A[:, j] * z[j] for j in R]
        difference = code_coefficients(A[:, S], b, z[S]) - np.sum(parts, axis=0)
        assert np.abs(difference).max() <= 1e-9 * np.abs(parts).sum()
    assert discarded > 100


def test_the_gradient_reaches_b_by_the_active_columns():
    for seed in range(5):
        A, target = random_problem(seed)
        z = Homotopy([A], 1e-5).solve([target])[0].z
        S = list(top_support(z, 2))
        A_S, z_S, b = torch.from_numpy(A[:, S]), torch.from_numpy(z[S]), torch.from_numpy(target)
        jacobian = torch.autograd.functional.jacobian(lambda b, A_S=A_S, z_S=z_S: coefficients(A_S, b, z_S), b)
        assert torch.allclose(jacobian, A_S.T, rtol=1e-14, atol=0.0)
        for i in range(7):
            step = torch.zeros(7, dtype=torch.float64)
            step[i] = 1e-3
            difference = coefficients(A_S, b + step, z_S) - coefficients(A_S, b - step, z_S)
            assert torch.allclose(difference / 2e-3, A_S[i], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_a_planted_sparse_z_is_its_own_coefficients(kind):
    rng = np.random.default_rng(4)
    for seed in range(20):
        A, _ = random_problem(seed, kind)
        S = sorted(rng.choice(28, 2, replace=False))
        z = np.zeros(28)
        z[S] = rng.standard_normal(2)
        assert np.abs(code_coefficients(A[:, S], A @ z, z[S]) - z[S]).max() <= 1e-14 * max(1.0, np.abs(z).max())


def test_a_planted_z_of_two_entries_is_found_and_so_are_its_coefficients():
    lam, found = 1e-5, 0
    for seed in range(40):
        A, _ = random_problem(seed, "unit_gaussian", n=14)
        planted = np.zeros(14)
        planted[[seed % 14, (seed + 5) % 14]] = 1.0, -2.0
        b = A @ planted
        z = Homotopy([A], lam).solve([b])[0].z
        S = list(top_support(z, 2))
        if set(S) == set(np.flatnonzero(planted)) and np.count_nonzero(z) == 2:
            found += 1
            assert np.abs(z - planted).max() < 1e-3  # shrunken by lambda alone
            assert np.abs(code_coefficients(A[:, S], b, z[S]) - z[S] - lam * np.sign(z[S])).max() < 1e-13
    assert found >= 25


def test_every_solver_that_needs_no_licence_finds_the_same_support():
    assert tuple(SOLVERS) == ("homotopy", "ista", "fista", "clarabel", "mosek")
    problems = [random_problem(seed, "gaussian", 1e-3, n=14 + 7 * (seed % 3)) for seed in range(6)]
    matrices, b = [A for A, _ in problems], [b for _, b in problems]
    expected = [top_support(solution.z, 2) for solution in make_solver("homotopy", matrices, 1e-5).solve(b)]
    for name in ("ista", "fista", "clarabel"):
        solutions = make_solver(name, matrices, 1e-5).solve(b)
        assert all(solution.converged for solution in solutions)
        assert [top_support(solution.z, 2) for solution in solutions] == expected
    with pytest.raises(KeyError):
        make_solver("scs", matrices, 1e-5)


@pytest.mark.parametrize("name", ["ista", "fista", "clarabel"])
def test_a_limit_on_the_iterations_is_kept_and_what_it_cuts_off_is_not_certified(name, recwarn):
    problems = [random_problem(seed, n=14 + 7 * (seed % 3)) for seed in range(6)]
    matrices, b = [A for A, _ in problems], [b for _, b in problems]
    for solution in make_solver(name, matrices, 1e-5, 4).solve(b):
        assert solution.iterations == 4 and not solution.converged and solution.gap > 0.0
    assert not recwarn.list


def test_a_limit_reaches_mosek_and_is_refused_by_the_homotopy():
    A = np.eye(2)
    settings = make_solver("mosek", [A], 1e-5, 7).settings["mosek_params"]
    assert settings["MSK_IPAR_INTPNT_MAX_ITERATIONS"] == 7 and len(settings) == 4
    assert "MSK_IPAR_INTPNT_MAX_ITERATIONS" not in make_solver("mosek", [A], 1e-5).settings["mosek_params"]
    with pytest.raises(AssertionError):
        make_solver("homotopy", [A], 1e-5, 7)


def test_the_option_for_the_limit_is_an_error_where_it_would_do_nothing():
    assert make_options("two_stage", solver="ista", solver_max_iter="5").solver_max_iter == 5
    assert make_options("two_stage", solver="fista").solver_max_iter is None
    with pytest.raises(UserError, match=r"solver_max_iter has no effect .* homotopy.* leave it out, or choose"):
        make_options("two_stage", solver_max_iter=5)
    with pytest.raises(UserError, match="solver_max_iter must be at least 1"):
        make_options("two_stage", solver="ista", solver_max_iter=0)


def test_an_architecture_hands_its_limit_to_the_solver_and_the_log_says_what_was_not_solved():
    options = make_options("two_stage", solver="ista", solver_max_iter=10, arch_init_scale=1.0)
    recovery = SparseArchitecture(options, CellSpace(), torch.Generator().manual_seed(0)).recover()
    assert [solution.iterations for solution in recovery.solutions] == [10] * 8
    tally = RecoveryTally()
    tally.add(recovery)
    assert "WARNING: 8 solutions are not certified (converged = False)" in tally.lines()

"""One connection per node: what recovery finds, its coefficient, and where a search may start, against brute force."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from isnas.sparse.homotopy import Homotopy
from isnas.sparse.measurement import draw_measurement, draw_planted, draw_start, recover_planted
from isnas.sparse.recovery import coefficients, top_support

LAMBDA = 1e-5


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(kind: str, m: int, n: int, seed: int) -> np.ndarray:
    return draw_measurement(kind, m, n, random(seed))


def gate(A, b, z, index):
    c = coefficients(torch.from_numpy(A[:, [index]]), torch.from_numpy(b), torch.from_numpy(z[[index]]))
    return float(c)


def brute_force(A: np.ndarray, b: np.ndarray, lam: float) -> np.ndarray:
    """The LASSO's solution by trying every pattern of signs: of the stationary points with these signs the best."""
    best, z_best = 0.5 * b @ b, np.zeros(A.shape[1])
    for signs in product((-1.0, 0.0, 1.0), repeat=A.shape[1]):
        S = [k for k, sign in enumerate(signs) if sign]
        if not S or len(S) > A.shape[0]:
            continue
        z = np.zeros(A.shape[1])
        z[S] = np.linalg.solve(A[:, S].T @ A[:, S], A[:, S].T @ b - lam * np.take(signs, S))
        value = 0.5 * ((A @ z - b) ** 2).sum() + lam * np.abs(z).sum()
        if np.array_equal(np.sign(z), signs) and value < best:
            best, z_best = value, z
    return z_best


@pytest.mark.parametrize("m", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("n", [6, 7])
def test_of_unit_columns_every_planted_candidate_is_found(m, n):
    """At b = s a_i the solution is (s - lambda sign(s)) e_i, as |a_k^T a_i| < 1, and the coefficient is s."""
    for seed in range(8):
        A = draw("unit_gaussian", m, n, seed)
        solver = Homotopy([A], LAMBDA)
        for index, size in product(range(n), (1.0, -1.0, 1e-3, -30.0)):
            b = size * A[:, index]
            (solution,) = solver.solve([b])
            expected = np.zeros(n)
            expected[index] = size - LAMBDA * np.sign(size)
            assert solution.converged and np.abs(solution.z - expected).max() < 1e-10
            assert top_support(solution.z, 1) == (index,)
            assert gate(A, b, solution.z, index) == pytest.approx(size, rel=1e-12)
            assert gate(A, b, expected, index) == pytest.approx(expected[index] + LAMBDA * np.sign(size), rel=1e-12)


@pytest.mark.parametrize("kind", ["unit_gaussian", "uniform"])
@pytest.mark.parametrize("m", [2, 4])
def test_anywhere_else_what_is_kept_is_the_largest_by_brute_force_and_its_gate_eq_11(kind, m):
    for seed in range(3):
        A = draw(kind, m, 6, seed)
        b = torch.randn(m, generator=random(9 + seed), dtype=torch.float64)
        z = brute_force(A, b.numpy(), 1e-2)
        (solution,) = Homotopy([A], 1e-2).solve([b.numpy()])
        (index,) = top_support(solution.z, 1)
        assert index == int(np.abs(z).argmax()) and np.abs(solution.z - z).max() < 1e-9
        a = A[:, index]
        expected = float(b.numpy() @ a - z[index] * (a @ a - 1.0))
        b.requires_grad_()
        c = coefficients(torch.from_numpy(A[:, [index]]), b, torch.from_numpy(solution.z[[index]]))
        assert c.item() == pytest.approx(expected, rel=1e-8)
        (gradient,) = torch.autograd.grad(c.sum(), b)
        assert np.abs(gradient.numpy() - a).max() < 1e-14


@pytest.mark.parametrize(("m", "lost"), [(2, True), (3, True), (6, False)])
def test_of_columns_as_they_come_long_ones_win(m, lost):
    """Which planted candidates are found is what a linear program says: the least ||z||_1 with A z = a_i."""
    found = []
    for seed, index in product(range(20), range(7)):
        A = draw("uniform", m, 7, seed)
        (solution,) = Homotopy([A], LAMBDA).solve([A[:, index]])
        program = linprog(np.ones(14), A_eq=np.hstack([A, -A]), b_eq=A[:, index])
        assert np.abs(solution.z - (program.x[:7] - program.x[7:])).max() < 1e-2
        found.append(top_support(solution.z, 1) == (index,))
    assert (np.mean(found) < 0.9) == lost
    unit = np.stack([draw("unit_gaussian", m, 7, seed) for seed in range(20)])
    assert recover_planted(unit, 1, LAMBDA, 20, random()).found.all()


def test_planted_vectors_are_uniform():
    z = draw_planted((1000, 2), 5, 2, random())
    assert z.shape == (1000, 2, 5) and np.all((z != 0).sum(2) == 2) and set(np.unique(z)) == {-1.0, 0.0, 1.0}
    assert np.all(np.abs((z != 0).sum((0, 1)) - 800) < 5 * np.sqrt(800 * 0.6))
    assert abs(z.sum()) < 5 * np.sqrt(4000)


def test_a_search_may_start_at_a_single_candidate_of_coefficient_one():
    A, found = draw("unit_gaussian", 4, 7, 1), set()
    for seed in range(50):
        b = draw_start(A, 1, random(seed))
        (solution,) = Homotopy([A], LAMBDA).solve([b])
        (index,) = top_support(solution.z, 1)
        c = gate(A, b, solution.z, index)
        assert abs(c) == pytest.approx(1.0, rel=1e-12) and np.allclose(b, c * A[:, index], rtol=1e-12)
        found.add((index, c > 0))
    assert len(found) == 14
    dense = draw_start(A, 7, random())
    signs = [np.array(each) for each in product((-1.0, 1.0), repeat=7)]
    assert min(np.abs(A @ each - dense).max() for each in signs) < 1e-14

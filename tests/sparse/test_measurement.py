from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from scipy.optimize import minimize_scalar
from sklearn.linear_model import lars_path

from isnas.sparse.measurement import (
    coherence,
    column_norms,
    compare_coefficients,
    draw_measurement,
    recover_planted,
    restricted_isometry,
    supports,
    welch_bound,
)
from isnas.sparse.settings import MEASUREMENTS


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(kind: str, m: int, n: int, seed: int = 0) -> np.ndarray:
    return draw_measurement(kind, m, n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_the_generator_alone_decides(kind):
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(1)
    first, second = (draw_measurement(kind, 7, 14, generator) for _ in range(2))
    torch.manual_seed(2)
    assert first.dtype == np.float64 and first.shape == (7, 14)
    assert np.array_equal(first, draw(kind, 7, 14, seed=3))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, draw(kind, 7, 14, seed=4))


def test_uniform_fills_the_unit_interval():
    A = draw("uniform", 100, 1000)
    assert A.min() >= 0.0 and A.max() < 1.0
    deciles, _ = np.histogram(A, bins=10, range=(0.0, 1.0))
    assert np.all(np.abs(deciles - 10_000) < 5 * np.sqrt(10_000 * 0.9))


@pytest.mark.parametrize("m", [7, 100])
def test_gaussian_has_variance_one_over_m(m):
    A = draw("gaussian", m, 20_000)
    count = m * 20_000
    assert abs(A.mean()) < 5 / np.sqrt(m * count)
    assert abs(A.var() * m - 1.0) < 5 * np.sqrt(2 / count)
    assert abs((np.abs(A) < 1.0 / np.sqrt(m)).mean() - 0.682689) < 5 * np.sqrt(0.22 / count)


def test_gaussian_columns_have_the_lengths_of_gaussian_vectors_and_unit_gaussian_has_unit_columns():
    free, unit = (np.linalg.norm(draw(kind, 7, 1000), axis=0) for kind in ("gaussian", "unit_gaussian"))
    assert abs((free**2).var() - 2 / 7) < 0.1  # a chi-square of 7 degrees, over 7
    assert np.all(np.abs(unit - 1.0) < 4e-15)


def test_unit_gaussian_points_where_gaussian_does():
    A, unit = draw("gaussian", 7, 30, seed=5), draw("unit_gaussian", 7, 30, seed=5)
    assert np.allclose(unit, A / np.sqrt((A * A).sum(0)), rtol=1e-14, atol=0.0)


def every_support(n: int, size: int):
    return supports(n, size, comb(n, size), random())


def distances_from_identity(A: np.ndarray, size: int, scale: float = 1.0) -> list[float]:
    """``||scale A_T^T A_T - I||_2`` of every set T of columns, from the definition."""
    norms = []
    for T in combinations(range(A.shape[1]), size):
        A_T = A[:, list(T)]
        norms.append(np.linalg.norm(scale * A_T.T @ A_T - np.eye(size), 2))
    return norms


def least_distance_over_scales(A: np.ndarray, size: int) -> float:
    return minimize_scalar(lambda log: max(distances_from_identity(A, size, np.exp(log))), (-1.0, 0.0)).fun


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_coherence_and_norms_are_their_definitions_written_out(kind):
    for seed in range(5):
        A, largest = draw(kind, 3, 6, seed), 0.0
        for i, k in combinations(range(6), 2):
            a, b = [float(x) for x in A[:, i]], [float(x) for x in A[:, k]]
            product = abs(sum(x * y for x, y in zip(a, b)))
            largest = max(largest, product / sum(x * x for x in a) ** 0.5 / sum(y * y for y in b) ** 0.5)
        assert coherence(A) == pytest.approx(largest, rel=1e-12)
        assert column_norms(A)[4] == pytest.approx(sum(float(x) ** 2 for x in A[:, 4]) ** 0.5, rel=1e-14)
    batch = np.stack([draw(kind, 3, 6, seed) for seed in range(4)])
    assert coherence(batch).shape == (4,) and coherence(batch)[2] == pytest.approx(coherence(batch[2]), rel=1e-12)


@pytest.mark.parametrize("kind", MEASUREMENTS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_isometry_constants_are_their_definition_written_out(kind, size):
    for seed in range(5):
        A = draw(kind, 4, 6, seed)
        isometry = restricted_isometry(A, every_support(6, size))
        assert isometry.delta == pytest.approx(max(distances_from_identity(A, size)), rel=1e-10)
        assert isometry.rescaled == pytest.approx(least_distance_over_scales(A, size), abs=1e-6)


def test_orthonormal_columns_keep_every_length_and_their_scale_is_all_that_counts():
    orthonormal = np.linalg.qr(draw("gaussian", 8, 5))[0]
    for A in (np.eye(4), orthonormal):
        isometry = restricted_isometry(A, every_support(A.shape[1], 3))
        assert max(float(coherence(A)), isometry.delta, isometry.rescaled) < 1e-14
    isometry = restricted_isometry(3.0 * orthonormal, every_support(5, 2))
    assert isometry.delta == pytest.approx(8.0, rel=1e-12) and isometry.rescaled < 1e-14


def test_of_two_unit_columns_the_isometry_constant_is_the_coherence():
    A = draw("unit_gaussian", 7, 14)
    isometry = restricted_isometry(A, every_support(14, 2))
    assert isometry.delta == pytest.approx(float(coherence(A)), rel=1e-12)
    assert isometry.rescaled == pytest.approx(isometry.delta, rel=1e-12)


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_more_columns_than_dimensions_are_dependent(kind):
    assert restricted_isometry(draw(kind, 3, 8), every_support(8, 4)).rescaled == pytest.approx(1.0, abs=1e-12)


def test_no_matrix_is_below_the_welch_bound_and_a_regular_frame_meets_it():
    angles = 2.0 * np.pi / 3.0 * np.arange(3)
    assert coherence(np.stack([np.cos(angles), np.sin(angles)])) == pytest.approx(welch_bound(2, 3), rel=1e-12)
    assert welch_bound(7, 28) == pytest.approx(1 / 3, rel=1e-15)
    assert welch_bound(7, 7) == welch_bound(9, 7) == 0.0
    for m, n in ((2, 4), (7, 14), (7, 35)):
        assert min(coherence(draw("gaussian", m, n, seed)) for seed in range(50)) > welch_bound(m, n)


def test_supports_are_all_of_them_or_a_random_sample():
    every = supports(7, 3, 35, random())
    assert every.exact and {tuple(row) for row in every.indices} == set(combinations(range(7), 3))
    sample = supports(7, 3, 34, random())
    assert not sample.exact and sample.indices.shape == (34, 3)
    assert {tuple(row) for row in sample.indices} <= set(combinations(range(7), 3))
    counts = np.bincount(supports(40, 4, 10_000, random()).indices.ravel(), minlength=40)
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000 * 0.9))
    A = draw("gaussian", 5, 7)
    assert restricted_isometry(A, sample).delta <= restricted_isometry(A, every).delta


def test_planted_vectors_are_found_where_theory_says_so():
    square = np.linalg.qr(np.stack([draw("gaussian", 9, 9, seed) for seed in range(3)]))[0]
    assert recover_planted(square, 3, 1e-5, 20, random()).found.all()
    incoherent = np.concatenate([np.eye(16), hadamard(16) / 4.0], axis=1)  # 1/4 < 1 / (2s - 1)
    planted = recover_planted(incoherent[None], 2, 1e-5, 300, random())
    assert planted.found.shape == (1, 300) and planted.found.all() and planted.num_unconverged == 0


def test_of_two_equal_columns_the_second_is_never_found():
    A = np.tile(np.linalg.qr(draw("gaussian", 8, 8))[0], 2)
    found = recover_planted(A[None], 1, 1e-5, 400, random()).found
    assert abs(found.mean() - 0.5) < 5 * 0.5 / np.sqrt(400)


def test_planted_vectors_are_lost_when_lambda_is_not_small():
    A = np.eye(12)[None]
    assert recover_planted(A, 2, 0.9, 50, random()).found.all()
    assert recover_planted(A, 2, 1.1, 50, random()).found.mean() < 0.2  # nothing is left but the tie rule's 0 and 1


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_coefficients_are_compared_as_lars_and_eq_11_say(kind):
    lam, num_draws, trials = 1e-3, 4, 5
    A = np.stack([draw(kind, 7, 14, seed) for seed in range(num_draws)])
    b = 0.5 * torch.randn(num_draws, trials, 7, generator=random(9), dtype=torch.float64).numpy()
    signs, differences, sums = [], [], []
    for matrix, targets in zip(A, b):
        E = matrix.T @ matrix - np.eye(14)
        for target in targets:
            z = lars_path(matrix, target, alpha_min=lam / 7, method="lasso")[2][:, -1]
            S = sorted(sorted(range(14), key=lambda i: -abs(z[i]))[:2])
            c = matrix[:, S].T @ target - E[np.ix_(S, S)] @ z[S]
            signs += [ci * zi > 0 for ci, zi in zip(c, z[S])]
            differences.append(np.sqrt(((c - z[S]) ** 2).sum() / (z[S] ** 2).sum()))
            sums.append(abs(z.sum()) / abs(z).sum())
    agreement = compare_coefficients(A, 2, lam, 0.5, trials, random(9))
    assert agreement.same_sign == np.mean(signs)
    assert agreement.difference == pytest.approx(np.median(differences), rel=1e-3)  # LARS stops beside lambda
    assert agreement.net_sum == pytest.approx(np.median(sums), rel=1e-3)
    assert agreement.num_unconverged == 0


def test_a_solution_that_is_zero_agrees_with_nothing():
    agreement = compare_coefficients(draw("uniform", 7, 14)[None], 2, 1e3, 1.0, 3, random())
    assert (agreement.same_sign, agreement.difference, agreement.net_sum) == (0.0, 1.0, 1.0)

import numpy as np
import pytest
import torch

from isnas.sparse.measurement import MEASUREMENTS, draw_measurement


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

"""Measurement matrices A (m, n): drawn once per node and fixed for the run, and how good they are.

Leading dimensions of A are a batch. What the figures say about the kinds of A is in docs/measurement.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from isnas.sparse.homotopy import Homotopy
from isnas.sparse.lasso import Array, Solution
from isnas.sparse.recovery import coefficients, top_support
from isnas.sparse.settings import MEASUREMENTS

_PROBLEMS_AT_ONCE = 2048  # bounds the memory of a lock-step solve


def draw_measurement(kind: str, m: int, n: int, generator: torch.Generator) -> Array:
    """A measurement matrix (m, n), float64, of one of :data:`MEASUREMENTS`."""
    if kind == "uniform":
        return torch.rand(m, n, generator=generator, dtype=torch.float64).numpy()
    assert kind in MEASUREMENTS
    A = torch.randn(m, n, generator=generator, dtype=torch.float64).numpy() / np.sqrt(m)
    return A / np.linalg.norm(A, axis=0) if kind == "unit_gaussian" else A


def column_norms(A: Array) -> Array:
    """Euclidean length of every column, shape (..., n)."""
    return np.linalg.norm(A, axis=-2)


def coherence(A: Array) -> Array:
    """Mutual coherence ``max_{i != k} |a_i^T a_k| / (||a_i|| ||a_k||)``, shape (...).

    0 for orthogonal columns, 1 when two are parallel. Below ``1 / (2s - 1)``, l1 minimisation finds every s-sparse
    vector of a matrix with unit columns (Donoho and Elad, 2003; Gribonval and Nielsen, 2003).
    """
    unit = A / column_norms(A)[..., None, :]
    cosines = np.abs(np.swapaxes(unit, -1, -2) @ unit)
    diagonal = np.arange(A.shape[-1])
    cosines[..., diagonal, diagonal] = 0.0
    return cosines.max((-1, -2))


def welch_bound(m: int, n: int) -> float:
    """The coherence no (m, n) matrix is below: ``sqrt((n - m) / (m (n - 1)))``, 0 for n <= m (Welch, 1974)."""
    return math.sqrt((n - m) / (m * (n - 1))) if n > m else 0.0


@dataclass(frozen=True)
class Supports:
    """Sets of columns: ``indices`` (N, k), ascending in every row; ``exact`` when they are all that there are."""

    indices: NDArray[np.int64]
    exact: bool


def supports(n: int, size: int, most: int, generator: torch.Generator) -> Supports:
    """All sets of ``size`` of n columns if there are at most ``most``, otherwise ``most`` random ones."""
    assert 1 <= size <= n
    if math.comb(n, size) <= most:
        return Supports(np.array(list(combinations(range(n), size))), True)
    chosen = torch.rand(most, n, generator=generator, dtype=torch.float64).argsort(1)[:, :size]
    return Supports(chosen.sort(1).values.numpy(), False)


@dataclass(frozen=True)
class Isometry:
    """Restricted isometry constants of one matrix.

    ``delta`` is of A as it is, ``rescaled`` the smallest one of ``t A`` over all scales t. Both are exact over all
    supports, and lower bounds over a sample of them.
    """

    delta: float
    rescaled: float


def restricted_isometry(A: Array, supports: Supports) -> Isometry:
    """How far A (m, n) is from keeping the length of vectors on ``supports`` (Candes and Tao, 2005).

    With L and U the smallest and the largest eigenvalue of ``A_T^T A_T`` over all supports T::

        delta = max_T ||A_T^T A_T - I||_2 = max(1 - L, U - 1),        rescaled = (U - L) / (U + L)

    ``rescaled < sqrt(1/2)`` over all T of 2s columns lets l1 minimisation find every s-sparse vector (Cai and Zhang,
    2014); 1 means that some of these columns are linearly dependent.
    """
    T = supports.indices
    eigenvalues = np.linalg.eigvalsh((A.T @ A)[T[:, :, None], T[:, None, :]])
    low, high = max(float(eigenvalues.min()), 0.0), float(eigenvalues.max())
    return Isometry(max(1.0 - low, high - 1.0), (high - low) / (high + low))


@dataclass(frozen=True)
class Planted:
    """``found`` (D, trials): whether each planted support was recovered; ``num_unconverged`` solutions in doubt."""

    found: NDArray[np.bool_]
    num_unconverged: int


def draw_planted(shape: tuple[int, ...], n: int, sparseness: int, generator: torch.Generator) -> Array:
    """Vectors (*shape, n) with ``sparseness`` entries of +-1, supports and signs uniformly random."""
    order = torch.rand(*shape, n, generator=generator, dtype=torch.float64).argsort(-1)
    support = order[..., :sparseness].sort(-1).values.numpy()
    z = np.zeros((*shape, n))
    np.put_along_axis(z, support, torch.randint(2, support.shape, generator=generator).numpy() * 2.0 - 1.0, axis=-1)
    return z


def draw_start(A: Array, sparseness: int, generator: torch.Generator) -> Array:
    """``b = A z`` (m,) of a z that :func:`draw_planted` draws, where a search may start with coefficients of size one.

    With one entry, and unit columns of which no two are parallel, recovery from b finds z's support, and the
    coefficient (Eq. 11) is z's entry to the last digits, whatever lambda < 1 is. As ``dc/db = a_i``, plain gradient
    descent stays on the line of a_i, on which recovery finds i everywhere but at 0; Adam, which scales each coordinate
    by itself, leaves it. A z of more entries starts beside all such lines.
    """
    return A @ draw_planted((), A.shape[1], sparseness, generator)


def recover_planted(A: Array, sparseness: int, lam: float, trials: int, generator: torch.Generator) -> Planted:
    """Plant vectors z with ``sparseness`` entries of +-1 and look for them in ``b = A z``, for matrices A (D, m, n).

    Supports and signs are uniformly random. Found is a vector whose support is that of the s largest entries of the
    LASSO solution; a ``lam`` far below 1 does not matter then.
    """
    num_draws, _, n = A.shape
    z = draw_planted((num_draws, trials), n, sparseness, generator)
    planted = z.nonzero()[2].reshape(num_draws, trials, sparseness)
    solutions = _solve(A, z @ np.swapaxes(A, 1, 2), lam)
    recovered = np.array([top_support(solution.z, sparseness) for solution in solutions])
    found = (recovered.reshape(planted.shape) == planted).all(2)
    return Planted(found, sum(not solution.converged for solution in solutions))


@dataclass(frozen=True)
class Agreement:
    """How the coefficients c_S of the active connections (Eq. 11) compare with z_S.

    ``same_sign``: share of active connections whose c and z have one sign. ``difference``: median of
    ``||c_S - z_S|| / ||z_S||``, which is 1 where z_S is zero. ``net_sum``: median of ``|sum_i z_i| / ||z||_1`` over the
    whole solution, 0 when its entries cancel and 1 when all have one sign.
    """

    same_sign: float
    difference: float
    net_sum: float
    num_unconverged: int


def compare_coefficients(
    A: Array, sparseness: int, lam: float, scale: float, trials: int, generator: torch.Generator
) -> Agreement:
    """c against z for random ``b ~ scale N(0, I)``, ``trials`` for each of the matrices A (D, m, n).

    With R the nonzeros of the solution that the s largest leave out, ``c_S - z_S = lam sign(z_S) + A_S^T A_R z_R``.
    """
    num_draws, m, _ = A.shape
    b = scale * torch.randn(num_draws, trials, m, generator=generator, dtype=torch.float64)
    solutions = _solve(A, b.numpy(), lam)
    active = [list(top_support(solution.z, sparseness)) for solution in solutions]
    z_S = np.stack([solution.z[S] for solution, S in zip(solutions, active)])
    A_S = np.stack([A[index // trials][:, S] for index, S in enumerate(active)])
    c = coefficients(torch.from_numpy(A_S), b.reshape(-1, m), torch.from_numpy(z_S)).numpy()
    z = np.stack([solution.z for solution in solutions])
    return Agreement(
        same_sign=float((np.sign(c) == np.sign(z_S)).mean()),
        difference=float(np.median(_ratio(np.linalg.norm(c - z_S, axis=1), np.linalg.norm(z_S, axis=1)))),
        net_sum=float(np.median(_ratio(np.abs(z.sum(1)), np.abs(z).sum(1)))),
        num_unconverged=sum(not solution.converged for solution in solutions),
    )


def _ratio(part: Array, whole: Array) -> Array:
    """Elementwise; 1 where the whole is zero."""
    return np.divide(part, whole, out=np.ones_like(whole), where=whole > 0.0)


def _solve(A: Array, b: Array, lam: float) -> list[Solution]:
    """Solutions for b (D, trials, m) with matrices A (D, m, n), those of the first matrix first."""
    num_draws, trials, m = b.shape
    owners, targets = np.repeat(np.arange(num_draws), trials), b.reshape(-1, m)
    solutions: list[Solution] = []
    for first in range(0, len(targets), _PROBLEMS_AT_ONCE):
        part = slice(first, first + _PROBLEMS_AT_ONCE)
        solutions += Homotopy(list(A[owners[part]]), lam).solve(list(targets[part]))
    return solutions

"""Problems of different shapes as one padded batch, and the LASSO's solution on a given active set.

Shared by the solvers that work on all problems of a recovery at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isnas.sparse.lasso import Array


def stack_matrices(matrices: Sequence[Array]) -> Array:
    """Matrices (m_j, n_j) as (J, m, n) with m and n the largest, padded by zeros below and to the right."""
    stacked = np.zeros((len(matrices), max(len(A) for A in matrices), max(A.shape[1] for A in matrices)))
    for padded, A in zip(stacked, matrices):
        padded[: A.shape[0], : A.shape[1]] = A
    return stacked


def stack_vectors(vectors: Sequence[Array], length: int) -> Array:
    """Vectors as the rows of (J, length), padded by zeros."""
    stacked = np.zeros((len(vectors), length))
    for row, vector in zip(stacked, vectors):
        row[: len(vector)] = vector
    return stacked


def solve_on_signs(A: Array, b: Array, lam: float, signs: Array) -> Array:
    """z (P, n) from ``A_S^T A_S z_S = A_S^T b - lambda s``, zero where its sign is not the given one.

    S and s are where and what the nonzero ``signs`` (P, n) of a problem are; A is (P, m, n), b (P, m). z is zero where
    S has more than min(m, n) entries, and for all problems when the columns of one S are exactly dependent. Whether z
    solves the LASSO is for the certificate to say.
    """
    size = min(A.shape[1:])  # the same in every call, or the bits would depend on the other problems' signs
    signs = np.where(np.count_nonzero(signs, axis=1)[:, None] > size, 0.0, signs)  # no column set so large is free
    counts = np.count_nonzero(signs, axis=1)
    support = np.argsort(signs == 0.0, axis=1, kind="stable")[:, :size]
    unused = np.arange(size) >= counts[:, None]
    active = np.take_along_axis(A, support[:, None, :], axis=2)
    active[np.broadcast_to(unused[:, None, :], active.shape)] = 0.0
    gram = active.transpose(0, 2, 1) @ active
    gram[:, np.arange(size), np.arange(size)] += unused
    wanted = lam * np.where(unused, 0.0, np.take_along_axis(signs, support, axis=1))
    try:
        inverse = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return np.zeros_like(signs)
    z_active = np.zeros(wanted.shape)
    for _ in range(3):  # the second and third pass refine what the squared condition number cost
        residual = b - (active @ z_active[..., None])[..., 0]
        defect = (residual[:, None, :] @ active)[:, 0, :] - wanted
        z_active += (inverse @ defect[..., None])[..., 0]
    z_active[unused] = 0.0
    z_active[z_active * wanted < 0.0] = 0.0
    z = np.zeros_like(signs)
    np.put_along_axis(z, support, z_active, axis=1)
    return z

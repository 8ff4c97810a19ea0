"""From a node's z to its connections: keep the s largest, weigh them (ISTA-NAS, Eq. 9 and 11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from isnas.sparse.lasso import Array


def top_support(
    z: Array, sparseness: int, groups: Sequence[int] | None = None, signed: bool = False
) -> tuple[int, ...]:
    """Indices of the ``sparseness`` largest ``|z|``, ``signed`` z, in ascending order; of equal ones the lower index.

    With fewer nonzeros than that, the rule fills up with the lowest indices. With ``groups`` (one label per entry,
    its predecessor) no two indices share a group.
    """
    ranking = np.argsort(-(z if signed else np.abs(z)), kind="stable")
    if groups is None:
        return tuple(sorted(map(int, ranking[:sparseness])))
    chosen: dict[int, int] = {}
    for index in map(int, ranking):
        if len(chosen) < sparseness:
            chosen.setdefault(groups[index], index)
    return tuple(sorted(chosen.values()))


def above_the_next(u: Array, sparseness: int, groups: Sequence[int] | None = None) -> Array:
    """``(u - t)_+``, where t is the ``sparseness`` + 1st largest u, or the least where there are no more.

    With ``groups`` it is that among the largest of each group. So :func:`top_support` keeps the same of u and of the
    result, unless candidates for the last place are equal; without ``groups`` the result has no other nonzeros.
    """
    best = u.tolist() if groups is None else [max(u[np.equal(groups, label)].tolist()) for label in set(groups)]
    ranked = sorted(best, reverse=True)
    threshold = ranked[sparseness] if sparseness < len(ranked) else u.min()
    return np.maximum(u - threshold, 0.0)


def coefficients(A_S: torch.Tensor, b: torch.Tensor, z_S: torch.Tensor) -> torch.Tensor:
    """Weights of the active connections, ``c_S = A_S^T b - E_SS z_S`` with ``E = A^T A - I`` (Eq. 11).

    Computed as ``z_S + A_S^T (b - A_S z_S)``. Shapes: A_S (..., m, s), b (..., m), z_S (..., s) -> (..., s).
    z is a constant for autograd; the gradient reaches b by ``dc/db = A_S^T``.
    """
    residual = b - (A_S @ z_S.unsqueeze(-1)).squeeze(-1)
    return z_S + (residual.unsqueeze(-2) @ A_S).squeeze(-2)

"""The exact active-set path of the LASSO, run in lock-step over all problems of a recovery.

As lambda falls from lambda_max, the solution is piecewise linear: on a segment with active set S and signs s,

    z_S(lambda) = (A_S^T A_S)^-1 (A_S^T b - lambda s),

until a correlation A_j^T (b - A z) reaches +-lambda (j joins) or an entry of z_S reaches zero (it leaves). The
tableau T is the Gram matrix with the active variables exchanged: (z_S, A_rest^T A z) = T (A_S^T A z, z_rest). One
principal pivot at k exchanges variable k, so joining and leaving are the same operation, and T_jj of an inactive j
is the squared distance of A_j from the span of the active columns: a column inside it never needs to join.

Ties are broken by weights 1, ..., 1 + 1e-10 on the penalty, which grow with the index: of two equal columns the lower
one joins. The weights choose the active set only; z is then computed from the unweighted equation and certified.

Sources: Osborne, Presnell, Turlach (2000), "A new approach to variable selection in least squares problems"; Efron et
al. (2004), "Least angle regression".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isnas.sparse import lasso
from isnas.sparse.active_set import solve_on_signs, stack_matrices, stack_vectors
from isnas.sparse.lasso import Array, Solution

_DEPENDENT = 1e-11  # squared relative distance below which a column counts as inside the active span
_RATE = 1e-12  # a boundary that is approached more slowly than this is never reached
_GOLDEN = 0.6180339887498949


class Homotopy:
    """Solver for fixed matrices A_1 (m_1, n_1), A_2, ... and a fixed lambda > 0; shapes may differ."""

    @lasso.BEYOND_RANGE
    def __init__(self, matrices: Sequence[Array], lam: float) -> None:
        assert lam > 0.0 and len(matrices) > 0
        self.lam = lam
        self.shapes = [A.shape for A in matrices]
        self.A = stack_matrices(matrices)
        self.gram = self.A.transpose(0, 2, 1) @ self.A
        n = self.A.shape[2]
        steps = np.arange(n) + np.modf(np.arange(n) * _GOLDEN)[0]
        self.weights = 1.0 + 1e-10 * steps / n

    @lasso.BEYOND_RANGE
    def solve(self, b: Sequence[Array], warm: Sequence[Array] | None = None) -> list[Solution]:
        """Solve all problems; ``b[j]`` is (m_j,) and ``warm[j]`` (n_j,) an earlier z whose signs are tried first."""
        targets = stack_vectors(b, self.A.shape[1])
        z = np.zeros((len(targets), self.A.shape[2]))
        iterations = np.zeros(len(targets), dtype=np.int64)
        cold = np.arange(len(targets))
        if warm is not None:
            z = solve_on_signs(self.A, targets, self.lam, np.sign(stack_vectors(warm, z.shape[1])))
            gaps, converged = self._certificate(targets, z)
            cold = cold[~converged]
        if len(cold):
            signs, iterations[cold] = self._follow_path(cold, targets[cold])
            z[cold] = solve_on_signs(self.A[cold], targets[cold], self.lam, signs)
            gaps, converged = self._certificate(targets, z)
        return [
            Solution(z[j, :n].copy(), float(gaps[j]), int(iterations[j]), bool(converged[j]))
            for j, (_, n) in enumerate(self.shapes)
        ]

    def _certificate(self, b: Array, z: Array) -> tuple[Array, NDArray[np.bool_]]:
        gaps = lasso.duality_gap(self.A, b, self.lam, z)
        return gaps, lasso.certified(self.A, b, self.lam, z, gaps)

    def _follow_path(self, which: NDArray[np.int64], b: Array) -> tuple[Array, NDArray[np.int64]]:
        """Signs (P, n) of the solution at ``lam`` and the number of segments walked, per problem."""
        final_signs = np.zeros((len(which), self.A.shape[2]))
        final_steps = np.zeros(len(which), dtype=np.int64)
        live = np.arange(len(which))
        correlation = (b[:, None, :] @ self.A[which])[:, 0, :]
        T = self.gram[which]
        norms = np.einsum("pjj->pj", T).copy()
        weights = self.weights
        start = np.abs(correlation) / weights
        level = np.maximum(start.max(1), self.lam)  # the current lambda of each problem
        signs = np.zeros_like(correlation)
        for step in range(20 * sum(self.A.shape[1:])):
            rows = np.arange(len(live))
            active = signs != 0.0
            moving = np.stack([np.where(active, correlation, 0.0), signs * weights], axis=2)
            response = T @ moving
            offset, slope = response[..., 0], response[..., 1]
            here = level[:, None]
            # Inactive j: correlation now is c, and as lambda falls by g it changes by -g slope.
            c = correlation - offset + here * slope
            free = ~active & (np.einsum("pjj->pj", T) > _DEPENDENT * norms)
            join = np.full(signs.shape, np.inf)
            for side in (1.0, -1.0):
                rate = weights - side * slope
                reach = np.maximum(here * weights - side * c, 0.0) / rate
                join = np.where(free & (rate > _RATE), np.minimum(join, reach), join)
            # Active i: z_i changes by +g slope.
            z = offset - here * slope
            leave = np.where(active & (slope * signs < 0.0), np.maximum(z * signs, 0.0) / np.abs(slope), np.inf)
            reach = np.minimum(join, leave)
            pivot = reach.argmin(1)
            length = reach[rows, pivot]
            done = length >= level - self.lam
            if done.any():
                final_signs[live[done]] = signs[done]
                final_steps[live[done]] = step
                keep = ~done
                if not keep.any():
                    break
                live, T, correlation, norms, signs = live[keep], T[keep], correlation[keep], norms[keep], signs[keep]
                level, pivot, length, c, slope = level[keep], pivot[keep], length[keep], c[keep], slope[keep]
                rows = np.arange(len(live))
            level = level - length
            leaving = signs[rows, pivot]
            side = np.sign(c[rows, pivot] - length * slope[rows, pivot])
            signs[rows, pivot] = np.where(leaving == 0.0, side, 0.0)
            _exchange(T, rows, pivot)
        else:
            final_signs[live] = signs  # not solved: the certificate will say so
        return final_signs, final_steps


def _exchange(T: Array, rows: NDArray[np.int64], k: NDArray[np.int64]) -> None:
    """Principal pivot of each tableau T[p] (n, n) at its k[p], in place; a second one undoes the first."""
    inverse = 1.0 / T[rows, k, k]
    row = T[rows, k, :] * inverse[:, None]
    column = T[rows, :, k]
    T -= column[:, :, None] * row[:, None, :]
    T[rows, k, :] = -row
    T[rows, :, k] = column * inverse[:, None]
    T[rows, k, k] = inverse

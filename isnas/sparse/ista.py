"""ISTA and FISTA (ISTA-NAS, Eq. 7), in lock-step over the nodes and finished by one active-set solve.

    z_{k+1} = soft(y_k - A^T (A y_k - b) / L, lambda / L),    L = ||A||_2^2,    soft(u, t) = sign(u) max(|u| - t, 0)

with y_k = z_k in ISTA, and in FISTA

    y_{k+1} = z_{k+1} + (t_k - 1) / t_{k+1} (z_{k+1} - z_k),    t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2,

where t starts again from 1 as soon as (y_k - z_{k+1})^T (z_{k+1} - z_k) > 0, that is, the momentum points uphill.

The objective falls by 1/k (FISTA 1/k^2) until the signs of z are those of a solution, and only then linearly; with
columns as correlated as here, that takes 1e3 to 1e6 steps of FISTA and many more of ISTA. A solution needs at most m
nonzeros, so once the signs of the m largest entries have settled, the equation on that active set is solved. It is
accepted when it is certified; if not, the iteration goes on as if nothing had been.

Sources: Daubechies, Defrise, De Mol (2004); Beck, Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm
for linear inverse problems"; O'Donoghue, Candès (2015), "Adaptive restart for accelerated gradient schemes".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isnas.sparse import lasso
from isnas.sparse.active_set import solve_on_signs, stack_matrices, stack_vectors
from isnas.sparse.lasso import Array, Solution
from isnas.sparse.settings import MAX_ITER

_FIRST_CHECKS = 64  # steps from one check to the next, until they are 1/32 of the steps so far
_GROWTH = 32


class Ista:
    """Solver for fixed matrices A_1 (m_1, n_1), A_2, ... and a fixed lambda > 0; shapes may differ.

    ``accelerated`` makes it FISTA. After ``max_iter`` steps a problem is given up: its best z with the gap it has, and
    converged False unless that is small enough. Without ``finish`` there is no active-set solve.
    """

    def __init__(
        self,
        matrices: Sequence[Array],
        lam: float,
        *,
        accelerated: bool,
        max_iter: int = MAX_ITER,
        finish: bool = True,
    ) -> None:
        assert lam > 0.0 and len(matrices) > 0 and max_iter > 0
        self.lam = lam
        self.accelerated = accelerated
        self.max_iter = max_iter
        self.finish = finish
        self.shapes = [A.shape for A in matrices]
        self.A = stack_matrices(matrices)

    @lasso.BEYOND_RANGE
    def solve(self, b: Sequence[Array], warm: Sequence[Array] | None = None) -> list[Solution]:
        """Solve all problems; ``b[j]`` is (m_j,) and ``warm[j]`` (n_j,) an earlier z to start from."""
        _, m, n = self.A.shape
        targets = stack_vectors(b, m)
        start = stack_vectors(warm, n) if warm is not None else np.zeros((len(targets), n))
        start[~np.isfinite(start).all(1)] = 0.0
        z, gaps, iterations = start.copy(), np.full(len(targets), np.inf), np.zeros(len(targets), dtype=np.int64)
        converged = np.zeros(len(targets), dtype=np.bool_)
        live = np.arange(len(targets))
        steps = Iterates(self.A, targets, self.lam, start, self.accelerated)
        failed = np.zeros_like(start)
        before = _largest_signs(start, min(m, n))  # an earlier solution's signs are tried at once
        while True:
            A, target = self.A[live], targets[live]
            now, new_gaps = steps.z.copy(), lasso.duality_gap(A, target, self.lam, steps.z)
            finite = np.isfinite(new_gaps)
            certified = lasso.certified(A, target, self.lam, now, new_gaps)
            signs = _largest_signs(now, min(m, n))
            settled = ((signs == before).all(1) | certified) & (signs != failed).any(1) & finite
            for i in np.flatnonzero(settled & self.finish):  # one by one: a singular one must not spoil the others
                finished = solve_on_signs(A[i : i + 1], target[i : i + 1], self.lam, signs[i : i + 1])[0]
                solution = lasso.certify(A[i], target[i], self.lam, finished, steps.count)
                failed[i] = signs[i]
                if solution.converged:
                    now[i], new_gaps[i], certified[i] = finished, solution.gap, True
            better = (new_gaps < gaps[live]) | certified | (steps.count == 0)
            z[live[better]], gaps[live[better]] = now[better], new_gaps[better]
            converged[live], iterations[live] = certified, steps.count
            stay = ~certified & finite
            live, before, failed = live[stay], signs[stay], failed[stay]
            if not len(live) or steps.count >= self.max_iter:
                break
            steps.keep(stay)
            steps.advance(min(max(_FIRST_CHECKS, steps.count // _GROWTH), self.max_iter - steps.count))
        return [
            Solution(z[j, :size].copy(), float(gaps[j]), int(iterations[j]), bool(converged[j]))
            for j, (_, size) in enumerate(self.shapes)
        ]


class Iterates:
    """Where ISTA or FISTA stands on a batch of problems A (J, m, n), b (J, m): ``z`` (J, n) after ``count`` steps."""

    def __init__(self, A: Array, b: Array, lam: float, z: Array, accelerated: bool) -> None:
        rows = A @ A.transpose(0, 2, 1)
        rows[~np.isfinite(rows).all((1, 2))] = 0.0  # LAPACK takes no others; these problems have no solution anyway
        L = np.linalg.eigvalsh(rows)[:, -1]
        inverse = (1.0 / np.where(L > 0.0, L, 1.0))[:, None]
        self.accelerated = accelerated
        self.count = 0
        # A gradient step from y is M y + offset.
        self.M = np.eye(A.shape[2]) - (A.transpose(0, 2, 1) @ A) * inverse[..., None]
        self.offset = (b[:, None, :] @ A)[:, 0, :] * inverse
        self.threshold = np.repeat(lam * inverse, A.shape[2], axis=1)
        self.z = z
        self.y = z
        self.t = np.ones(len(z))

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with the problems that ``which`` (J,) says."""
        if not which.all():
            for name in ("M", "offset", "threshold", "z", "y", "t"):
                setattr(self, name, getattr(self, name)[which])

    def advance(self, steps: int) -> None:
        """Take ``steps`` steps with every problem."""
        M, offset, high, low = self.M, self.offset, self.threshold, -self.threshold
        z, y, t = self.z, self.y, self.t
        for _ in range(steps):
            u = np.matvec(M, y) + offset
            new = u - np.maximum(np.minimum(u, high), low)
            if self.accelerated:
                move = new - z
                t = np.where(np.vecdot(y - new, move) > 0.0, 1.0, t)
                t_next = 0.5 + np.sqrt(0.25 + t * t)
                y = new + ((t - 1.0) / t_next)[:, None] * move
                t = t_next
            else:
                y = new
            z = new
        self.z, self.y, self.t = z, y, t
        self.count += steps


def _largest_signs(z: Array, count: int) -> Array:
    """Signs (J, n) of the ``count`` largest magnitudes of each row, 0 elsewhere."""
    signs = np.sign(z)
    smaller = np.argsort(-np.abs(z), axis=1, kind="stable")[:, count:]
    np.put_along_axis(signs, smaller, 0.0, axis=1)
    return signs

"""The same problem through CVXPY with an interior-point solver: CLARABEL, or MOSEK where there is a licence.

A solver's absolute tolerances mean nothing at b of size 1e-3, so the problem is solved at unit b: with beta = ||b||,

    minimise over y   1/2 ||A y - b / beta||^2 + (lambda / beta) ||y||_1,      z = beta y.

One parametrised problem is built per shape of A and solved again with new numbers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import cvxpy as cp
import numpy as np

from isnas.base.errors import UserError
from isnas.sparse import lasso
from isnas.sparse.lasso import Array, Solution

_TOLERANCE = 1e-12
_SETTINGS: dict[str, dict[str, Any]] = {
    "clarabel": {
        "solver": cp.CLARABEL,
        "tol_gap_abs": _TOLERANCE,
        "tol_gap_rel": _TOLERANCE,
        "tol_feas": _TOLERANCE,
    },
    "mosek": {
        "solver": cp.MOSEK,
        "mosek_params": {
            "MSK_DPAR_INTPNT_CO_TOL_REL_GAP": _TOLERANCE,
            "MSK_DPAR_INTPNT_CO_TOL_PFEAS": _TOLERANCE,
            "MSK_DPAR_INTPNT_CO_TOL_DFEAS": _TOLERANCE,
        },
    },
}


def _limited(backend: str, max_iter: int) -> dict[str, Any]:
    settings = _SETTINGS[backend]
    if backend == "clarabel":
        return settings | {"max_iter": max_iter}
    return settings | {"mosek_params": settings["mosek_params"] | {"MSK_IPAR_INTPNT_MAX_ITERATIONS": max_iter}}


class Convex:
    """Solver for fixed matrices and a fixed lambda > 0 through ``backend`` ``clarabel`` or ``mosek``.

    ``max_iter`` bounds the backend's iterations; None leaves its own bound.
    """

    def __init__(self, matrices: Sequence[Array], lam: float, backend: str, max_iter: int | None = None) -> None:
        assert lam > 0.0
        self.lam = lam
        self.matrices = list(matrices)
        self.settings = _SETTINGS[backend] if max_iter is None else _limited(backend, max_iter)
        self.problems = {A.shape: _ScaledProblem(*A.shape) for A in self.matrices}

    @lasso.BEYOND_RANGE
    def solve(self, b: Sequence[Array], warm: Sequence[Array] | None = None) -> list[Solution]:
        """Solve all problems; ``b[j]`` is (m_j,). Interior-point methods have no use for ``warm``."""
        return [self.problems[A.shape].solve(A, target, self.lam, self.settings) for A, target in zip(self.matrices, b)]


class _ScaledProblem:
    def __init__(self, m: int, n: int) -> None:
        self.A = cp.Parameter((m, n))
        self.b = cp.Parameter(m)
        self.lam = cp.Parameter(nonneg=True)
        self.y = cp.Variable(n)
        self.problem = cp.Problem(
            cp.Minimize(0.5 * cp.sum_squares(self.A @ self.y - self.b) + self.lam * cp.norm1(self.y))
        )

    def solve(self, A: Array, b: Array, lam: float, settings: dict[str, Any]) -> Solution:
        if lasso.lambda_max(A, b) <= lam:
            return lasso.certify(A, b, lam, np.zeros(A.shape[1]), 0)
        beta = float(np.linalg.norm(b))
        if not (np.isfinite(A).all() and 0.0 < beta < np.inf and np.isfinite(lam / beta)):
            return lasso.certify(A, b, lam, np.zeros(A.shape[1]), 0)  # the same
        self.A.value, self.b.value, self.lam.value = A, b / beta, lam / beta
        try:
            with warnings.catch_warnings():  # CVXPY's remark at the limit: the certificate says more
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                self.problem.solve(warm_start=False, **settings)
        except cp.SolverError:
            self.y.value = None
        if self.y.value is None:
            return lasso.certify(A, b, lam, np.zeros(A.shape[1]), 0)  # the certificate says that it is no solution
        return lasso.certify(A, b, lam, beta * self.y.value, int(self.problem.solver_stats.num_iters or 0))


def require_mosek() -> None:
    """Solve a problem of two variables with MOSEK, so that a missing licence shows before anything else is done.

    Raises:
        UserError: when MOSEK cannot solve it.
    """
    x = cp.Variable(2)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - 1.0)))
    try:
        problem.solve(solver=cp.MOSEK)
    except Exception as error:
        searched = os.environ.get("MOSEKLM_LICENSE_FILE") or os.path.join(os.path.expanduser("~"), "mosek", "mosek.lic")
        raise UserError(
            f"MOSEK cannot be used ({_first_line(error)}): no valid licence at {searched}; put one there or set "
            "MOSEKLM_LICENSE_FILE, or use --solver homotopy or --solver clarabel, which need none"
        ) from None


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip().rstrip(".") if lines else type(error).__name__

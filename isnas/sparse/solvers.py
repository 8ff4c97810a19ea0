"""The solvers of the recovery by name: one row each, with all that is to be known of it; each is imported when used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from isnas.base.extras import require
from isnas.sparse.settings import MAX_ITER

if TYPE_CHECKING:
    from isnas.sparse.lasso import Array, Solution


class Solver(Protocol):
    """Solves one LASSO per node for matrices and a lambda fixed at construction."""

    def solve(self, b: Sequence[Array], warm: Sequence[Array] | None = None) -> list[Solution]:
        """Solutions for the right-hand sides ``b``; ``warm`` are earlier solutions that may save work."""
        ...


@dataclass(frozen=True)
class SolverRow:
    """A solver: ``make(matrices, lam, max_iter)``, where ``max_iter`` None leaves the bound to it.

    ``takes_limit``: whether it can be bounded; one that ends by itself cannot. ``require`` raises a UserError when
    something that it needs is missing.
    """

    make: Callable[[Sequence[Array], float, int | None], Solver]
    takes_limit: bool = True
    require: Callable[[], None] | None = None


def _homotopy(matrices: Sequence[Array], lam: float, max_iter: int | None) -> Solver:
    from isnas.sparse.homotopy import Homotopy

    assert max_iter is None
    return Homotopy(matrices, lam)


def _ista(accelerated: bool, matrices: Sequence[Array], lam: float, max_iter: int | None) -> Solver:
    from isnas.sparse.ista import Ista

    return Ista(matrices, lam, accelerated=accelerated, max_iter=max_iter or MAX_ITER)


def _convex(name: str, matrices: Sequence[Array], lam: float, max_iter: int | None) -> Solver:
    from isnas.sparse.convex import Convex

    return Convex(matrices, lam, name, max_iter)


def _require_clarabel() -> None:
    require("--solver clarabel", "cvxpy", "clarabel")


def _require_mosek() -> None:
    require("--solver mosek", "cvxpy", "mosek")
    from isnas.sparse.convex import require_mosek

    require_mosek()


SOLVERS = {
    "homotopy": SolverRow(_homotopy, takes_limit=False),
    "ista": SolverRow(partial(_ista, False)),
    "fista": SolverRow(partial(_ista, True)),
    "clarabel": SolverRow(partial(_convex, "clarabel"), require=_require_clarabel),
    "mosek": SolverRow(partial(_convex, "mosek"), require=_require_mosek),
}


def make_solver(name: str, matrices: Sequence[Array], lam: float, max_iter: int | None = None) -> Solver:
    """The solver with this name; ``max_iter`` bounds its iterations, None leaves that to the solver."""
    return SOLVERS[name].make(matrices, lam, max_iter)

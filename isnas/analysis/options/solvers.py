"""The options of the study of the solvers."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import KEPT, ReportOptions
from isnas.base.options import option
from isnas.sparse.settings import MAX_ITER


@dataclass(frozen=True)
class SolverOptions(ReportOptions, title="Problems"):
    """What is compared."""

    output: str = option("runs/solvers", KEPT, path=True)
    num_nodes: int = option(4, "intermediate nodes of a cell", minimum=1, maximum=32)
    proj_dims: int = option(7, "dimension m of the compressed space", minimum=1, maximum=100)
    lasso_lambda: float = option(1e-5, "weight of the l1 norm", above=0.0, maximum=1e6)
    solver_max_iter: int = option(MAX_ITER, "most steps of ista and fista", minimum=1, maximum=10**7)
    draws: int = option(
        3, "recoveries, of the nodes of two cells, per scale of b and kind of A", minimum=1, maximum=1000
    )
    seed: int = option(0, "decides everything that is random", minimum=0, maximum=2**63 - 1)

"""The options of the study of measurement matrices."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import KEPT, ReportOptions
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.space.cells.space import CellSpace


@dataclass(frozen=True)
class MeasurementOptions(ReportOptions, title="Matrices"):
    """What is measured."""

    output: str = option("runs/measurement", KEPT, path=True)
    num_nodes: int = option(4, "intermediate nodes of a cell", minimum=1, maximum=32)
    proj_dims: int = option(7, "dimension m of the compressed space", minimum=1, maximum=100)
    max_dims: int = option(14, "planted vectors are recovered for m = 2 up to this", minimum=2, maximum=100)
    sparseness: int = option(2, "connections kept per node", minimum=1, maximum=1000)
    lasso_lambda: float = option(1e-5, "weight of the l1 norm", above=0.0, maximum=1e6)
    draws: int = option(100, "matrices of every kind and size", minimum=2, maximum=1000)
    trials: int = option(20, "planted vectors, and random b, per matrix", minimum=1, maximum=1000)
    seed: int = option(0, "decides everything that is random", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        least = CellSpace(num_nodes=1).sizes[0]
        if 2 * self.sparseness > least:
            raise UserError(
                f"sparseness {self.sparseness} is too large: the isometry constant is of {2 * self.sparseness} columns,"
                f" and a cell's first node has {least}; at most {least // 2}"
            )

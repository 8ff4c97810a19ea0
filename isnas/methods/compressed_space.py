"""The compressed space: per node a matrix A, and the recovery of a sparse z from b = A z.

Shared by all that search in it. Source: ISTA-NAS (NeurIPS 2020), section 3.2 and Eq. 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from isnas.base.distributed import from_main
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.engine.harness_options import HarnessOptions, check_sparseness
from isnas.space.space import Space
from isnas.sparse.ista import MAX_ITER
from isnas.sparse.lasso import Array
from isnas.sparse.measurement import MEASUREMENTS, draw_measurement
from isnas.sparse.solvers import SOLVERS, make_solver


@dataclass(frozen=True)
class RecoveryOptions(HarnessOptions):
    """The compressed space and the recovery from it (ISTA-NAS, Eq. 9)."""

    proj_dims: int = option(7, "dimension m of the compressed space", minimum=1, maximum=1000)
    sparseness: int = option(2, "connections kept per node", minimum=1, maximum=1000)
    lasso_lambda: float = option(1e-5, "weight of the l1 norm", above=0.0, maximum=1e6)
    measurement: str = option("uniform", "how the measurement matrices are drawn", choices=MEASUREMENTS)
    solver: str = option("homotopy", "how z is recovered; mosek needs a licence", choices=SOLVERS)
    solver_max_iter: int | None = option(
        None,
        f"most iterations of a recovery; none: {MAX_ITER} for ista and fista, its own for clarabel and mosek. "
        "Not for homotopy, which ends by itself",
        minimum=1,
        maximum=10**9,
    )
    distinct_inputs: bool = option(False, "keep connections from distinct predecessors only (not in the paper)")

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if self.has_space:
            check_sparseness(self.make_space(), self.sparseness, self.distinct_inputs)
        if not SOLVERS[self.solver].takes_limit and self.solver_max_iter is not None:
            others = ", ".join(name for name, row in SOLVERS.items() if row.takes_limit)
            raise UserError(
                f"solver_max_iter has no effect on the solver {self.solver}, which ends by itself; leave it out, or "
                f"choose another solver: {others}"
            )

    def check_solver(self) -> None:
        """See that what the solver needs is there, before anything is written.

        Raises:
            UserError: when it is not.
        """
        require = SOLVERS[self.solver].require
        if require:
            from_main(require)


class CompressedSpace(nn.Module):
    """Measurement matrices A_j (m, n_j) as buffers in float64, and the solver of Eq. 9 for all of them.

    ``matrices`` are the same on the host; ``kept_groups[j]`` are the predecessors of node j's candidates where no two
    connections may have the same one, else None.
    """

    def __init__(self, options: RecoveryOptions, space: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.options, self.sizes, self.groups = options, space.sizes, space.groups
        self.kept_groups: Sequence[Sequence[int] | None]
        self.kept_groups = space.groups if options.distinct_inputs else [None] * len(space.sizes)
        for j, n in enumerate(self.sizes):
            A = draw_measurement(options.measurement, options.proj_dims, n, rng)
            self.register_buffer(f"A{j}", torch.from_numpy(A))
        self._prepare()

    def load_state_dict(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        """As ``nn.Module``'s; the solver follows from the A that were loaded."""
        result = super().load_state_dict(*args, **kwargs)
        self._prepare()
        return result

    def _prepare(self) -> None:
        self.matrices: list[Array] = [getattr(self, f"A{j}").cpu().numpy() for j in range(len(self.sizes))]
        options = self.options
        self.solver = make_solver(options.solver, self.matrices, options.lasso_lambda, options.solver_max_iter)

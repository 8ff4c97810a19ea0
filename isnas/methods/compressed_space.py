"""The compressed space: per node a matrix A, and the recovery of a sparse z from b = A z.

Shared by all that search in it. Source: ISTA-NAS (NeurIPS 2020), section 3.2 and Eq. 9.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from isnas.methods.options.recovery import RecoveryOptions
from isnas.methods.size_limit import SizeLimit
from isnas.space.space import Space
from isnas.sparse.lasso import Array
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.solvers import make_solver


class CompressedSpace(nn.Module):
    """Measurement matrices A_j (m, n_j) as buffers in float64, and the solver of Eq. 9 for all of them.

    ``matrices`` are the same on the host; ``kept_groups[j]`` are the predecessors of node j's candidates where no two
    connections may have the same one, else None. ``limit`` is that on the size of what is kept, if there is one.
    """

    limit: SizeLimit | None = None

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

    def limit_size(self, limit: SizeLimit) -> None:
        """Keep architectures within a limit alone.

        Raises:
            UserError: when there is none.
        """
        limit.require(self.options.sparseness, self.kept_groups)
        self.limit = limit

    def within_limit(self, support: list[tuple[int, ...]], values: list[Array]) -> list[tuple[int, ...]]:
        """The support of the highest values, as :meth:`isnas.methods.size_limit.SizeLimit.within` has it."""
        return support if self.limit is None else self.limit.within(support, values, self.kept_groups)

    def _prepare(self) -> None:
        self.matrices: list[Array] = [getattr(self, f"A{j}").cpu().numpy() for j in range(len(self.sizes))]
        options = self.options
        self.solver = make_solver(options.solver, self.matrices, options.lasso_lambda, options.solver_max_iter)

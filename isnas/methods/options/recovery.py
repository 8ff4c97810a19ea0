"""The compressed space, and the recovery from it; shared by all that search in it."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.engine.harness_options import HarnessOptions, check_sparseness, check_stand_in
from isnas.sparse.settings import MAX_ITER, MEASUREMENTS
from isnas.sparse.solvers import SOLVERS
from isnas.train.train_options import ArchAdamOptions

#: Where b starts: at normal numbers; at A z of a sparse z, at random places or at what stands in for a node without
#: connections.
ARCH_INITS = ("normal", "sparse", "skip")

#: What weighs a connection in the network.
GATES = ("value", "sign")

#: Between two recoveries.
MOST_STEPS = 10**9


@dataclass(frozen=True)
class RecoveryOptions(HarnessOptions, title="Compressed space and recovery"):
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
        from isnas.base.distributed import from_main

        require = SOLVERS[self.solver].require
        if require:
            from_main(require)


@dataclass(frozen=True)
class ArchitectureOptions(RecoveryOptions, ArchAdamOptions, HarnessOptions, title="Compressed space and recovery"):
    """The compressed space, where b starts in it, and its training by Adam."""

    arch_init: str = option(
        "normal",
        "where b starts: at normal numbers (released code); sparse: at A z, z having equal entries at random "
        "connections; skip: the same at what stands in for a node without connections, a skip where it can be",
        choices=ARCH_INITS,
    )
    arch_init_scale: float = option(
        1e-3, "standard deviation of the initial b, or the size of these entries of z", above=0.0, maximum=1e6
    )
    gate: str = option(
        "value",
        "what weighs a connection: its coefficient c (Eq. 11), or sign: +1 or -1, with the gradient of c / |c| where "
        "|c| is held fixed",
        choices=GATES,
    )

    def validate(self) -> None:
        """See that there is what b starts from."""
        if self.arch_init == "skip" and self.has_space:
            check_stand_in(self.make_space())

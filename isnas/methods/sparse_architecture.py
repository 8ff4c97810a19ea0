"""The architecture in the compressed space: per node a matrix A, a trainable b, and the z recovered from it.

Shared by two-stage and one-stage ISTA-NAS. Source: ISTA-NAS (NeurIPS 2020), sections 3.3 and 3.4.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from isnas.base.distributed import from_main, gathered
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.space.cells.candidates import NUM_INPUTS, from_flat, num_candidates
from isnas.space.connections import CellConnections, Connections
from isnas.sparse.ista import MAX_ITER
from isnas.sparse.lasso import Array, Solution
from isnas.sparse.measurement import MEASUREMENTS, draw_measurement
from isnas.sparse.recovery import SOLVERS, coefficients, make_solver, top_support

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class ArchitectureOptions:
    """The compressed space and the recovery from it (ISTA-NAS, Eq. 9)."""

    steps: int = option(4, "intermediate nodes of a cell", minimum=1)
    proj_dims: int = option(7, "dimension m of the compressed space", minimum=1)
    sparseness: int = option(2, "connections kept per node", minimum=1)
    lasso_lambda: float = option(1e-5, "weight of the l1 norm", above=0.0)
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
    arch_lr_schedule: str = option(
        "constant", "Adam's learning rate for b: constant (the paper's), or cosine to 0", choices=SCHEDULES
    )
    arch_init_scale: float = option(1e-3, "standard deviation of the initial b", above=0.0, maximum=1e6)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        most = NUM_INPUTS if self.distinct_inputs else num_candidates(0)
        if self.sparseness > most:
            kind = "predecessors" if self.distinct_inputs else "candidate connections"
            raise UserError(f"sparseness {self.sparseness} is more than the {most} {kind} of a cell's first node")
        if self.solver == "homotopy" and self.solver_max_iter is not None:
            raise UserError(
                "solver_max_iter has no effect on the solver homotopy, which ends by itself; leave it out, or choose "
                "the solver ista, fista, clarabel or mosek"
            )


@dataclass(frozen=True)
class Recovery:
    """What one recovery found, over the J = 2 steps nodes (normal cell first); figures for the log.

    ``margin``: (|z|_(s) - |z|_(s+1)) / |z|_(s) per node, how safe the choice of the support is (s + 1: the strongest
    connection that could take the place of the weakest).
    ``coefficient_difference``: ||c_S - z_S|| / ||z_S|| per node, 1 where z_S is zero; ``sign_agreement``: share of
    active connections whose c and z have one sign. ``distances`` and ``distances_full``: ||z - z_before|| per node,
    truncated to the support and not; None at the first recovery.
    """

    solutions: list[Solution]
    seconds: float
    changed: bool
    margin: list[float]
    num_filled: int
    distinct_share: float
    coefficient_difference: list[float]
    sign_agreement: float
    distances: list[float] | None
    distances_full: list[float] | None

    @property
    def distance(self) -> float | None:
        """Mean of ``distances``."""
        return None if self.distances is None else float(np.mean(self.distances))

    @property
    def distance_full(self) -> float | None:
        """Mean of ``distances_full``."""
        return None if self.distances_full is None else float(np.mean(self.distances_full))

    def figures(self) -> dict[str, float | None]:
        """What is plotted: figures of all nodes together (c against z: the median node's)."""
        return {
            "arch/margin_mean": float(np.mean(self.margin)),
            "arch/margin_min": min(self.margin),
            "arch/distinct_inputs": self.distinct_share,
            "arch/c_z_difference": float(np.median(self.coefficient_difference)),
            "arch/c_z_sign_agreement": self.sign_agreement,
            "arch/distance": self.distance,
            "arch/distance_full": self.distance_full,
        }

    @property
    def worst_gap(self) -> float:
        """Largest duality gap."""
        return max(solution.gap for solution in self.solutions)

    @property
    def num_unconverged(self) -> int:
        """Number of nodes whose solution is not certified."""
        return sum(not solution.converged for solution in self.solutions)


@dataclass
class RecoveryTally:
    """The recoveries of an epoch together, and the figures of the last one."""

    count: int = 0
    num_changes: int = 0
    num_unconverged: int = 0
    num_filled: int = 0
    seconds: float = 0.0
    worst_gap: float = 0.0
    figures: dict[str, float | None] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget everything but the last one's figures."""
        self.load_state_dict(RecoveryTally(figures=self.figures).state_dict())

    def add(self, recovery: Recovery) -> None:
        """Count one more."""
        self.count += 1
        self.num_changes += recovery.changed and recovery.distance is not None  # the first one changes nothing
        self.num_unconverged += recovery.num_unconverged
        self.num_filled += recovery.num_filled
        self.seconds += recovery.seconds
        self.worst_gap = max(self.worst_gap, recovery.worst_gap)
        self.figures = recovery.figures()

    def values(self) -> dict[str, float | None]:
        """Plain numbers by name, for metrics."""
        counts = {f"recovery/{name}": value for name, value in asdict(self).items() if name != "figures"}
        return counts | self.figures

    def lines(self) -> list[str]:
        """Plain words, for the log; a recovery that is not certified never goes unsaid."""
        figures = self.figures
        milliseconds = 1e3 * self.seconds / max(self.count, 1)
        lines = [
            f"recovery {self.count} times, {milliseconds:.2f} ms each, largest gap {self.worst_gap:.1e}, "
            f"support changed {self.num_changes} times",
            f"margin of the support mean {figures['arch/margin_mean']:.3f} min {figures['arch/margin_min']:.3f}, "
            f"distinct inputs {figures['arch/distinct_inputs']:.2f}, c against z: median difference "
            f"{figures['arch/c_z_difference']:.3f}, same sign {figures['arch/c_z_sign_agreement']:.2f}",
        ]
        if figures["arch/distance"] is not None:
            distance, full = figures["arch/distance"], figures["arch/distance_full"]
            lines.append(f"distance to the last recovery {distance:.3e} (before truncation {full:.3e})")
        if self.num_unconverged:
            lines.append(f"WARNING: {self.num_unconverged} solutions are not certified (converged = False)")
        if self.num_filled:
            lines.append(f"{self.num_filled} nodes had fewer nonzeros than connections; the lowest indices fill up")
        return lines

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        vars(self).update(state)


class SparseArchitecture(nn.Module):
    """Measurement matrices A_j (m, n_j) as buffers, b_j (m,) as parameters, z_j (n_j,) as buffers, all float64.

    z is NaN until the first recovery.

    ``recover`` solves for z and fixes the support; ``connections`` gives the support with coefficients that are
    differentiable in b. Between recoveries z and the support stay while the coefficients follow b.

    A node that is terminated (one-stage search, Algorithm 2) keeps its z and support for good, and its b gets no
    gradient any more, so its coefficients stay too.
    """

    terminated: torch.Tensor

    def __init__(self, options: ArchitectureOptions, generator: torch.Generator) -> None:
        super().__init__()
        self.options = options
        self.sizes = [num_candidates(node) for node in range(options.steps)] * 2
        self.b = nn.ParameterList()
        self.register_buffer("terminated", torch.zeros(len(self.sizes), dtype=torch.bool))
        for j, n in enumerate(self.sizes):
            A = draw_measurement(options.measurement, options.proj_dims, n, generator)
            self.register_buffer(f"A{j}", torch.from_numpy(A))
            self.register_buffer(f"z{j}", torch.full((n,), torch.nan, dtype=torch.float64))
        for _ in self.sizes:
            b = torch.randn(options.proj_dims, generator=generator, dtype=torch.float64)
            self.b.append(nn.Parameter(options.arch_init_scale * b))
        self.groups = [[from_flat(index)[1] for index in range(n)] for n in self.sizes]
        self._prepare()

    def recover(self) -> Recovery:
        """Solve Eq. 9 for every node from the current b, keep the top s, and compare with what was there before.

        Of several processes rank 0 solves and the others take over what it found.
        """
        b = list(torch.stack(list(self.b)).detach().cpu().numpy())  # waits for the device: not the solver's time
        start = time.perf_counter()
        before, support_before = self.z, self.support
        solutions = from_main(lambda: self.solver.solve(b, before if self.recovered else None))
        seconds = time.perf_counter() - start
        for j in self.terminated_nodes:
            solutions[j] = replace(solutions[j], z=before[j])
        for j, solution in enumerate(solutions):
            getattr(self, f"z{j}").copy_(torch.from_numpy(solution.z))
        self._activate([solution.z for solution in solutions])
        states = gathered((self.support, [part.tobytes() for part in b]))
        assert all(state == states[0] for state in states), "the processes have drifted apart in b or in the support"
        return self._describe(solutions, seconds, b, before, support_before)

    def connections(self) -> Connections:
        """The support with ``c_S = A_S^T b - E_SS z_S`` (Eq. 11), differentiable in b."""
        assert self.recovered, "recover first"
        c = coefficients(self.A_S, torch.stack(list(self.b)), self.z_S)
        half = self.options.steps
        return Connections(
            CellConnections(tuple(self.support[:half]), c[:half].unbind()),
            CellConnections(tuple(self.support[half:]), c[half:].unbind()),
        )

    @property
    def recovered(self) -> bool:
        """Whether there is a support."""
        return bool(self.support)

    def terminate(self, node: int) -> None:
        """Let a node keep what it has (normal cell's nodes first)."""
        self.terminated_nodes.add(node)
        self.terminated[node] = True
        self.b[node].requires_grad_(False)
        self.b[node].grad = None

    def load_state_dict(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        """As ``nn.Module``'s; the solver and the support follow from the A and z that were loaded."""
        result = super().load_state_dict(*args, **kwargs)
        self._prepare()
        for node in self.terminated.nonzero().flatten().tolist():
            self.terminate(node)
        z = [getattr(self, f"z{j}").cpu().numpy().copy() for j in range(len(self.sizes))]
        if not np.isnan(z[0]).any():
            self._activate(z)
        return result

    def _prepare(self) -> None:
        self.matrices: list[Array] = [getattr(self, f"A{j}").cpu().numpy() for j in range(len(self.sizes))]
        options = self.options
        self.solver = make_solver(options.solver, self.matrices, options.lasso_lambda, options.solver_max_iter)
        self.support: list[tuple[int, ...]] = []
        self.z: list[Array] = []
        self.terminated_nodes: set[int] = set()

    def _activate(self, z: list[Array]) -> None:
        """Keep z and put what the active connections need on the device: A_S (J, m, s) and z_S (J, s)."""
        s = self.options.sparseness
        groups = self.groups if self.options.distinct_inputs else [None] * len(z)
        self.z = z
        self.support = [top_support(part, s, group) for part, group in zip(z, groups)]
        device = self.b[0].device
        A_S = np.stack([A[:, indices] for A, indices in zip(self.matrices, self.support)])
        z_S = np.stack([part[list(indices)] for part, indices in zip(z, self.support)])
        self.A_S = torch.from_numpy(A_S).to(device, non_blocking=True)
        self.z_S = torch.from_numpy(z_S).to(device, non_blocking=True)

    def _describe(
        self,
        solutions: list[Solution],
        seconds: float,
        b: list[Array],
        before: list[Array],
        support_before: list[tuple[int, ...]],
    ) -> Recovery:
        s = self.options.sparseness
        margins, differences, agreements, distinct, filled = [], [], [], 0, 0
        for j, solution in enumerate(solutions):
            indices = list(self.support[j])
            margins.append(self._margin(j, solution.z))
            filled += bool((solution.z[indices] == 0.0).any())
            A_S, z_S = self.matrices[j][:, indices], solution.z[indices]
            c = z_S + A_S.T @ (b[j] - A_S @ z_S)
            size = float(np.linalg.norm(z_S))
            differences.append(float(np.linalg.norm(c - z_S)) / size if size > 0.0 else 1.0)
            agreements.append(np.mean(np.sign(c) == np.sign(z_S)))
            distinct += len({self.groups[j][k] for k in indices}) == s
        distances = distances_full = None
        if before:
            new, old = _truncated(self.z, self.support), _truncated(before, support_before)
            distances = [float(np.linalg.norm(x - y)) for x, y in zip(new, old)]
            distances_full = [float(np.linalg.norm(x - y)) for x, y in zip(self.z, before)]
        return Recovery(
            solutions=solutions,
            seconds=seconds,
            changed=self.support != support_before,
            margin=margins,
            num_filled=filled,
            distinct_share=distinct / len(solutions),
            coefficient_difference=differences,
            sign_agreement=float(np.mean(agreements)),
            distances=distances,
            distances_full=distances_full,
        )

    def _margin(self, j: int, z: Array) -> float:
        """How far the weakest connection of node j is from the strongest one that could take its place."""
        magnitudes = np.abs(z)
        weakest = min(self.support[j], key=lambda k: magnitudes[k])
        taken = {self.groups[j][k] for k in self.support[j] if k != weakest} if self.options.distinct_inputs else set()
        others = [k for k in range(len(z)) if k not in self.support[j] and self.groups[j][k] not in taken]
        best = max((magnitudes[k] for k in others), default=0.0)
        return float((magnitudes[weakest] - best) / max(magnitudes[weakest], 1e-300))


def _truncated(z: list[Array], supports: list[tuple[int, ...]]) -> list[Array]:
    result = []
    for part, indices in zip(z, supports):
        kept = np.zeros_like(part)
        kept[list(indices)] = part[list(indices)]
        result.append(kept)
    return result

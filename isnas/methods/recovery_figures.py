"""What a recovery found, in figures for log and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from isnas.sparse.lasso import Array, Solution

Supports = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Recovery:
    """What one recovery found, over the J nodes; figures for the log.

    ``margin``: (|z|_(s) - |z|_(s+1)) / |z|_(s) per node, how safe the choice of the support is (s + 1: the strongest
    connection that could take the place of the weakest).
    ``coefficient_difference``: ||c_S - z_S|| / ||z_S|| per node, 1 where z_S is zero; ``sign_agreement``: share of
    active connections whose c and z have one sign. ``distances`` and ``distances_full``: ||z - z_before|| per node,
    truncated to the support and not; None at the first recovery. What was ``rejected`` did not become the
    architecture's.
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
    rejected: bool = False

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
        if not figures:
            return ["nothing is recovered yet: W is trained on uniformly drawn supports, b waits"]
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


def describe(
    matrices: Sequence[Array],
    b: Sequence[Array],
    solutions: list[Solution],
    supports: Supports,
    before: tuple[Sequence[Array], Supports],
    groups: Sequence[Sequence[int]],
    distinct_inputs: bool,
    seconds: float,
) -> Recovery:
    """The figures of a recovery of ``solutions`` from A and b; ``before`` are the z and the supports there were."""
    margins, differences, agreements, distinct, filled = [], [], [], 0, 0
    for A, y, solution, support, group in zip(matrices, b, solutions, supports, groups):
        indices, z = list(support), solution.z
        margins.append(margin(z, support, group if distinct_inputs else None))
        filled += bool((z[indices] == 0.0).any())
        A_S, z_S = A[:, indices], z[indices]
        c = z_S + A_S.T @ (y - A_S @ z_S)
        size = float(np.linalg.norm(z_S))
        differences.append(float(np.linalg.norm(c - z_S)) / size if size > 0.0 else 1.0)
        agreements.append(np.mean(np.sign(c) == np.sign(z_S)))
        distinct += len({group[k] for k in indices}) == len(indices)
    z_before, supports_before = before
    distances = distances_full = None
    if z_before:
        z_now = [solution.z for solution in solutions]
        new, old = _truncated(z_now, supports), _truncated(z_before, supports_before)
        distances = [float(np.linalg.norm(x - y)) for x, y in zip(new, old)]
        distances_full = [float(np.linalg.norm(x - y)) for x, y in zip(z_now, z_before)]
    return Recovery(
        solutions=solutions,
        seconds=seconds,
        changed=list(supports) != list(supports_before),
        margin=margins,
        num_filled=filled,
        distinct_share=distinct / len(solutions),
        coefficient_difference=differences,
        sign_agreement=float(np.mean(agreements)),
        distances=distances,
        distances_full=distances_full,
    )


def margin(z: Array, support: Sequence[int], groups: Sequence[int] | None) -> float:
    """How far the weakest connection of a node is from the strongest that could take its place; see :class:`Recovery`.

    With ``groups`` one of a group that another connection has cannot. Where a limit has put a weaker one in the
    place of a stronger it is negative, -1 at least.
    """
    magnitudes = np.abs(z)
    weakest = min(support, key=lambda k: magnitudes[k])
    taken = {groups[k] for k in support if k != weakest} if groups else set()
    others = [k for k in range(len(z)) if k not in support and not (groups and groups[k] in taken)]
    best = max((magnitudes[k] for k in others), default=0.0)
    return max(-1.0, float((magnitudes[weakest] - best) / max(magnitudes[weakest], 1e-300)))


def _truncated(z: Sequence[Array], supports: Supports) -> list[Array]:
    result = []
    for part, indices in zip(z, supports):
        kept = np.zeros_like(part)
        kept[list(indices)] = part[list(indices)]
        result.append(kept)
    return result

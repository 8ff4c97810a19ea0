"""A target for the multiply-adds of the network that a search finds, in the loss of b and at the end.

With the columns a_jk of A_j, scaled to unit norm, and F_jk the multiply-adds of candidate k of node j, b_j is explained
by its candidates in shares, and so the network costs on average

    p_jk = (a_jk^T b_j)^2 / sum_l (a_jl^T b_j)^2,        E(b) = F_0 + sum_jk p_jk F_jk,

with F_0 what no candidate has. Of the network that runs, of F = F_0 + sum_j F_j,i(j) multiply-adds, the loss of b has

    strength |F / T - 1|,   with the gradient   strength sign(F - T) dE/db / T,

beside the cross-entropy, unless F is within 5 % of T: then nothing. After the last recovery, if F is not, of the
networks within 5 % the one is taken whose candidates are worth most together: a recovered one is worth 1, any other
p_jk, which is less. Where there is none within 5 %, it is the nearest one. Not in the papers: ISTA-NAS's rebuttal has
no such term, and ProxylessNAS's is of latencies and of the probabilities that it samples with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.architectures import derived_size
from isnas.methods.options.limits import TargetOptions
from isnas.nets.count import candidate_multiply_adds
from isnas.space.connections import Support
from isnas.space.space import Space
from isnas.sparse.lasso import Array

#: How near to the target is near enough, as a part of it.
TOLERANCE = 0.05

#: Steps from nothing to the target in which multiply-adds are counted where networks are compared.
_STEPS = 20_000


class MacsTarget:
    """The target of ``options`` in a space of one connection per node, for networks of the images of ``info``.

    ``matrices`` are the A_j (m, n_j), ``device`` is where b is. ``millions[j]`` (n_j,) are the F_jk, ``fixed`` is F_0.

    Raises:
        UserError: when all networks of the space are lighter or all heavier, by more than 5 %.
    """

    def __init__(
        self,
        options: TargetOptions,
        space: Space,
        info: DatasetInfo,
        matrices: Sequence[Array],
        device: torch.device | str = "cpu",
    ) -> None:
        self.target, self.strength = options.target_macs, options.target_macs_strength
        self.space, self.info = space, info
        sizes = space.derived_sizes | {"in_channels": info.channels, "num_classes": info.num_classes}
        with torch.device("meta"):
            network = space.super_net(**sizes)
        found = candidate_multiply_adds(network, space.sizes, info.channels, info.image_size)
        self.millions: list[Array] = [np.array(node) / 1e6 for node in found]
        lightest = tuple((int(node.argmin()),) for node in self.millions)
        self.fixed = 0.0
        self.fixed = self._counted(lightest) - self.of(lightest)
        least, most = (self.fixed + sum(float(of(node)) for node in self.millions) for of in (np.min, np.max))
        if not least / (1 + TOLERANCE) <= self.target <= most / (1 - TOLERANCE):
            raise UserError(
                f"--target_macs {self.target:g} is out of reach: networks of this space have {least:.4g} to {most:.4g} "
                "million multiply-adds on these images"
            )
        width = max(map(len, self.millions))
        columns, costs = np.zeros((len(matrices), len(matrices[0]), width)), np.zeros((len(matrices), width))
        for j, (A, node) in enumerate(zip(matrices, self.millions)):
            columns[j, :, : A.shape[1]] = A / np.linalg.norm(A, axis=0)
            costs[j, : len(node)] = node
        self.columns, self.costs = (torch.from_numpy(part).to(device) for part in (columns, costs))
        self.exchanged: int | None = None  # nodes, known when the search has ended

    def of(self, support: Support) -> float:
        """F of a support, in millions."""
        return self.fixed + sum(float(node[k]) for node, (k,) in zip(self.millions, support))

    def shares(self, b: Tensor) -> Tensor:
        """p (J, n) of b (J, m), zero where a node has fewer than n candidates."""
        explained = (b.unsqueeze(1) @ self.columns).squeeze(1).square()
        return explained / explained.sum(1, keepdim=True)

    def penalty(self, b: Tensor, support: Support) -> Tensor | None:
        """What the loss of b (J, m) has beside the cross-entropy, (), None within 5 % of the target."""
        off = self.of(support) / self.target - 1.0
        if abs(off) <= TOLERANCE:
            return None
        expected = (self.shares(b) * self.costs).sum() / self.target
        slope = float(np.sign(off))
        return self.strength * (abs(off) + slope * (expected - expected.detach()))

    def nearest(self, support: Support, b: Tensor) -> Support:
        """The support if it is within 5 % of the target, else the one that is and gives up least of b (J, m).

        Where none is, one that is nearest, the support itself before others.
        """
        self.exchanged, off = 0, abs(self.of(support) - self.target)
        if off <= TOLERANCE * self.target:
            return support
        worth = [row[: len(node)] for row, node in zip(self.shares(b).detach().cpu().numpy(), self.millions)]
        for node, (k,) in zip(worth, support):
            node[k] = 1.0
        off_most, step = TOLERANCE * self.target, self.target / _STEPS
        found = best_choice(worth, self.millions, self.target - self.fixed, off_most, step)
        if abs(self.of(found) - self.target) >= off:
            return support
        self.exchanged = sum(old != new for old, new in zip(support, found))
        return found

    def lines(self, support: Support) -> list[str]:
        """What is to be said of a support."""
        off = 100.0 * (self.of(support) / self.target - 1.0)
        line = f"{self.of(support):.4g} M multiply-adds, {off:+.1f} % of --target_macs {self.target:g}"
        if self.exchanged:
            line += f", for which {self.exchanged} of {len(self.millions)} nodes have another candidate"
        counted = 100.0 * (self._counted(support) / self.target - 1.0)
        missed = abs(counted) > 100.0 * TOLERANCE and self.exchanged is not None
        return [line] + [f"WARNING: no network is nearer to the target; this one is {counted:+.1f} % off"] * missed

    @torch.no_grad()
    def values(self, b: Tensor, support: Support) -> dict[str, float | None]:
        """The same as numbers by name, for metrics."""
        penalty = self.penalty(b, support)
        expected = self.fixed + float((self.shares(b) * self.costs).sum())
        figures = {"running": self.of(support), "expected": expected, "strength": self.strength}
        figures["penalty"] = 0.0 if penalty is None else float(penalty)
        return {f"target_macs/{name}": value for name, value in figures.items()}

    def _counted(self, support: Support) -> float:
        genotype: Any = self.space.genotype(support)
        return derived_size(self.space, genotype, self.info).conv_linear_multiply_adds / 1e6


def best_choice(
    values: Sequence[Array], costs: Sequence[Array], target: float, tolerance: float, step: float
) -> Support:
    """Of each node one candidate, so that the costs add up to ``target``, within ``tolerance``, and the values to most.

    A knapsack of one choice per node, by dynamic programming over costs in units of ``step``; what rounding does is
    taken from the tolerance. If nothing is within it, a choice whose cost is nearest.
    """
    least = [node.min() for node in costs]
    units = [np.rint((node - low) / step).astype(int) for node, low in zip(costs, least)]
    furthest = target + max(tolerance, target - sum(least))  # what is heavier is not as near as what is lightest
    best = np.full(max(1 + int((furthest - sum(least)) / step + len(costs)), 1), -np.inf)
    best[0] = 0.0
    taken = []
    for of_node, places in zip(values, units):
        moved = np.full((len(places), len(best)), -np.inf)
        for k, shift in enumerate(places):
            if shift < len(best):
                moved[k, shift:] = best[: len(best) - shift] + of_node[k]
        taken.append(moved.argmax(axis=0))
        best = moved.max(axis=0)
    off = np.abs(sum(least) + step * np.arange(len(best)) - target)
    reached = np.isfinite(best)
    within = reached & (off <= tolerance - len(costs) * step / 2)
    place = int(np.where(within, best, -np.inf).argmax() if within.any() else np.where(reached, off, np.inf).argmin())
    chosen = []
    for choices, places in zip(reversed(taken), reversed(units)):
        k = int(choices[place])
        chosen.append((k,))
        place -= int(places[k])
    return tuple(reversed(chosen))

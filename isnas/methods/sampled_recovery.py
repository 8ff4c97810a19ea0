"""Sampled recovery: b measures a score of every connection, taken on uniformly drawn supports, and z is recovered once.

After a warm-up of W on uniform supports a step draws two of them. On the first it updates W, on the second S it takes
g, for every connection of S the validation loss less its running mean, and

    u_S := u_S - eta g,    b := b - eta A_S g = A u,

so b is a compressed measurement of u, the score of all connections: the supports do not depend on b, and none is left
out. In the end z = argmin 1/2 |A z - b|^2 + lambda |z|_1, and the s largest z, not |z|, are the connections. With
``measure`` gradient, g is dL_val/dc, the slope of that loss in the connections' coefficients at c = 1.

It is a search in the compressed space with sparse recovery, but not Algorithm 1 of ISTA-NAS.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from isnas.base.distributed import from_main, gathered
from isnas.base.errors import UserError
from isnas.base.precision import sent
from isnas.base.random import generator
from isnas.engine.method import Judge, Report, Setting
from isnas.methods.compressed_space import CompressedSpace
from isnas.methods.options.sampled_recovery import SampledRecoveryOptions
from isnas.methods.size_limit import SizeLimit
from isnas.methods.super_net import SampledSearch
from isnas.space.connections import Connections, Support
from isnas.space.space import Space
from isnas.sparse.lasso import Array, Solution
from isnas.sparse.recovery import above_the_next, top_support
from isnas.train.optim import set_learning_rate
from isnas.train.stepping import StepResult

#: Share of the newest loss in the running mean, once there are so many.
MEAN_SHARE = 0.1


class ScoredSpace(CompressedSpace):
    """A_j (m, n_j) as buffers, b_j (m,), the scores and the mean loss () as parameters, all float64.

    ``scores[j]`` (2, n_j) are those of even and of odd steps; their sum is u_j, and b_j = A_j u_j.
    """

    def __init__(self, options: SampledRecoveryOptions, space: Space, rng: torch.Generator) -> None:
        super().__init__(options, space, rng)
        self.shift, self.by_scores = options.shift, options.choose_by == "scores"
        self.b = nn.ParameterList(torch.zeros(options.proj_dims, dtype=torch.float64) for _ in self.sizes)
        self.scores = nn.ParameterList(torch.zeros(2, n, dtype=torch.float64) for n in self.sizes)
        self.mean_loss = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def measuring(self) -> list[nn.Parameter]:
        """b and the scores, which a measurement of a support moves."""
        return [*self.b, *self.scores]

    def connections(self, support: Support, half: int) -> Connections:
        """The support with coefficients of one, whose gradient g reaches b as A_S g and u_S, of a half, as g."""
        A_S = np.stack([A[:, indices] for A, indices in zip(self.matrices, support)])
        b = torch.stack(list(self.b))
        u = torch.stack([torch.stack([rows[half, k] for k in S]) for rows, S in zip(self.scores, support)])
        of_b = (b - b.detach()).unsqueeze(-2) @ sent(torch.from_numpy(A_S), b.device)
        return Connections(support, (1.0 + of_b.squeeze(-2) + (u - u.detach())).unbind())

    def halves(self) -> list[Array]:
        """The scores of all nodes, on the host."""
        return [rows.detach().cpu().numpy() for rows in self.scores]

    @torch.no_grad()
    def take_over(self, halves: list[Array]) -> None:
        """Let these be the scores, and b what is measured of them."""
        for rows, b, A, half in zip(self.scores, self.b, self.matrices, halves):
            rows.copy_(torch.from_numpy(half))
            b.copy_(torch.from_numpy(A @ half.sum(0)))

    def recover(self) -> tuple[Support, list[Solution]]:
        """The support of the present b, and the solutions that it is of; rank 0 solves for all processes."""
        u = [rows.sum(0) for rows in self.halves()]
        b = [part.detach().cpu().numpy() for part in self.b]
        found = gathered([part.tobytes() for part in (*u, *b)])
        assert all(state == found[0] for state in found), "the processes have drifted apart in b or in the scores"
        if self.shift:
            s = self.options.sparseness
            b = [A @ above_the_next(part, s, groups) for A, part, groups in zip(self.matrices, u, self.kept_groups)]
        solutions = from_main(lambda: self.solver.solve(b))
        values = u if self.by_scores else [solution.z for solution in solutions]
        return tuple(self.within_limit(list(self.largest(values)), values)), solutions

    def largest(self, values: list[Array]) -> Support:
        """The largest values of each node, of equal ones the first."""
        s = self.options.sparseness
        return tuple(top_support(part, s, groups, signed=True) for part, groups in zip(values, self.kept_groups))


class SampledRecovery(SampledSearch[SampledRecoveryOptions]):
    """The super-net, b and the scores, and the supports drawn for a step: that of W, and that of b (``measured``).

    Between the epochs ``support`` is the one that is recovered from the present b, in the warm-up the last one drawn.
    """

    Options = SampledRecoveryOptions
    splits = ("train_w", "train_b")
    measured: Support = ()
    warming_up = False
    half = 0
    chosen = False

    def __init__(self, options: SampledRecoveryOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        rng = generator(options.seed, "architecture")
        self.architecture = ScoredSpace(options, setting.space, rng).to(self.stepping.exact_device)
        self.architecture.limit_size(SizeLimit(options, setting.space, setting.info))
        self.b_optimizer = SGD(self.architecture.measuring(), options.arch_learning_rate)
        self.mean_optimizer = SGD([self.architecture.mean_loss], 1.0)
        self.num_measured = 0
        self.solutions: list[Solution] = []

    @classmethod
    def passes_of_step(cls, options: SampledRecoveryOptions, epoch: int) -> float:
        return 1.0 if epoch < options.num_warmup_epochs else 1.0 + options.thirds_of_measurement / 3

    @classmethod
    def within_budget(
        cls, options: SampledRecoveryOptions, num_images: int, steps_per_epoch: int
    ) -> tuple[SampledRecoveryOptions, int]:
        """As that of all searches, but a longer search has a longer warm-up.

        The shortest search of so many epochs costs the more, the more they are: an epoch more is of W alone at least.
        """
        thirds_there_are = 3 * options.budget / options.batch_size
        measuring = options.thirds_of_measurement
        thirds = 3 + measuring  # of a step that is not of the warm-up

        def saved(epochs: int) -> int:
            return measuring * options.warmup_of(epochs) * steps_per_epoch

        def least(epochs: int) -> int:
            return thirds * ((epochs - 1) * steps_per_epoch + 1) - saved(epochs)

        epochs = bisect_right(range(1, 10**6 + 1), thirds_there_are, key=least)
        if not epochs:
            needed = -(-thirds * options.batch_size // 3)
            raise UserError(f"--budget {options.budget:g} is less than a step costs; give {needed}")
        planned = replace(options, epochs=epochs)
        return planned, min(epochs * steps_per_epoch, int(thirds_there_are + saved(epochs)) // thirds)

    @classmethod
    def check(cls, options: SampledRecoveryOptions) -> None:
        options.check_solver()

    def sample(self, purpose: str, number: int) -> Support:
        """A uniformly random support, a function of the seed, what it is for and its number."""
        rng = generator(self.options.seed, "sampled_recovery", purpose, number)
        return self.space.random(rng, self.options.sparseness, self.options.distinct_inputs)

    def begin_epoch(self, epoch: int) -> float:
        self.warming_up = epoch < self.options.num_warmup_epochs
        return super().begin_epoch(epoch)

    def before_step(self, step: int) -> None:
        self.support, self.measured, self.half = self.sample("w", step), self.sample("b", step), step % 2

    def step(self, *batches: tuple[Tensor, Tensor]) -> StepResult:
        """One update of W on the first batch and, after the warm-up, one of b and the scores on the second."""
        batch_w, batch_b = batches
        result = self.update_w(*batch_w)
        if not self.warming_up:
            self.update_b(*batch_b)
        return result

    def update_b(self, x: Tensor, labels: Tensor) -> None:
        """Measure the support that was drawn for it, on a batch of the validation images."""
        if self.options.measure == "loss":
            self.measure_loss(x, labels)
        else:
            self.measure_gradient(x, labels)

    def measure_gradient(self, x: Tensor, labels: Tensor) -> None:
        """g = dL/dc at c = 1."""

        def loss(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            return self.loss(self.architecture.connections(self.measured, self.half), x, labels)

        self.stepping.backward(loss, (x, labels), self.architecture.measuring())
        self.stepping.update(self.b_optimizer)

    def measure_loss(self, x: Tensor, labels: Tensor) -> None:
        """g_k = L - M for all k of the support, where M := M + w (L - M) comes first, w = max(1/10, 1/t) at the t-th L.

        Both are gradients at no cost: that of (1 - w) (L - M) sum_k c_k in c, M being the mean as it was, and that of
        1/2 (L - M)^2 in M.
        """
        self.num_measured += 1
        share = max(MEAN_SHARE, 1.0 / self.num_measured)
        set_learning_rate(self.mean_optimizer, share)
        mean_loss = self.architecture.mean_loss

        def surrogate(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                loss, logits = self.loss(Connections(self.measured), x, labels)
            ones = self.architecture.connections(self.measured, self.half).coefficients
            assert ones is not None
            above = loss.to(mean_loss.device).to(mean_loss.dtype) - mean_loss
            return (1.0 - share) * above.detach() * torch.stack(ones).sum() + 0.5 * above.square(), logits

        measuring = [*self.architecture.measuring(), mean_loss]
        self.stepping.backward(surrogate, (x, labels), measuring, through_network=False)
        self.stepping.update(self.b_optimizer, self.mean_optimizer)

    def end_epoch(self) -> None:
        if not self.warming_up:
            self.recover()

    def recover(self) -> None:
        """Let the support be that of the present b."""
        self.support, self.solutions = self.architecture.recover()

    def choose(self, judge: Judge) -> Iterator[None]:
        """Recover from the last b."""
        self.recover()
        self.chosen = True
        yield from ()

    def report(self) -> Report:
        """The scores of what is kept and of what comes next, and how much of them is more than chance."""
        if not self.solutions:
            return Report([f"W warms up on uniform supports for {self.options.num_warmup_epochs} epochs"], {})
        halves = self.architecture.halves()
        u = [rows.sum(0) for rows in halves]
        best = self.architecture.largest(u)
        kept = sum(len(set(ours) & set(theirs)) for ours, theirs in zip(self.support, best))
        agreement, correlation = kept / sum(map(len, best)), split_half(halves)
        gap = max(solution.gap for solution in self.solutions)
        lines = [
            f"scores {name}: {described(part, ours, names)}"
            for name, part, ours, names in zip(self.space.node_names, u, best, self.space.candidate_names)
        ]
        shown = "unknown" if correlation is None else f"{correlation:.3f}"
        lines.append(
            f"scores of even steps against those of odd steps: correlation {shown}; {agreement:.2f} of the highest "
            f"scores are in the architecture; largest gap of the recovery {gap:.1e}"
        )
        if (limit := self.architecture.limit) is not None:
            lines += limit.lines() + (limit.advice(self.genotype()) if self.chosen else [])
        unconverged = sum(not solution.converged for solution in self.solutions)
        if unconverged:
            lines.append(f"WARNING: {unconverged} solutions are not certified (converged = False)")
        values = {"scores/split_half": correlation, "scores/kept": agreement}
        return Report(lines, values | {"recovery/worst_gap": gap, "recovery/num_unconverged": unconverged})

    def weights(self) -> dict[str, nn.Module]:
        return {"network": self.network, "architecture": self.architecture}

    def state_dict(self) -> dict[str, Any]:
        own = {"architecture": self.architecture.state_dict(), "num_measured": self.num_measured}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.architecture.load_state_dict(state["architecture"])
        self.num_measured = state["num_measured"]
        super().load_state_dict(state)


def split_half(halves: list[Array]) -> float | None:
    """Mean over the nodes of the correlation of their scores' two halves (2, n_j); None where a half is constant.

    Were the scores chance alone it would be about 0; were they certain, 1.
    """
    if any(np.ptp(half) == 0.0 or not np.isfinite(half).all() for rows in halves for half in rows):
        return None
    return float(np.mean([np.asarray(np.corrcoef(rows)).flat[1] for rows in halves]))


def described(u: Array, best: tuple[int, ...], names: tuple[str, ...]) -> str:
    """The highest scores of a node, best first, and of the others the highest."""
    others = [k for k in range(len(u)) if k not in best]
    ranked = [sorted(each, key=lambda k: -u[k]) for each in (best, others)]
    kept, next_one = (", ".join(f"{names[k]} {u[k]:+.3g}" for k in each) for each in (ranked[0], ranked[1][:1]))
    return f"{kept}; next {next_one}" if next_one else kept

"""The architecture in the compressed space: per node a matrix A, a trainable b, and the z recovered from it.

Shared by two-stage and one-stage ISTA-NAS. Source: ISTA-NAS (NeurIPS 2020), sections 3.3 and 3.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from isnas.base.distributed import from_main, gathered
from isnas.base.precision import sent
from isnas.base.random import generator
from isnas.methods.compressed_space import CompressedSpace
from isnas.methods.options.recovery import ArchitectureOptions, RecoveryOptions
from isnas.methods.recovery_figures import Recovery, describe
from isnas.space.connections import Connections, Support
from isnas.space.space import Space
from isnas.sparse.lasso import Array
from isnas.sparse.recovery import coefficients, top_support


def drawn_support(options: RecoveryOptions, space: Space, step: int) -> Support:
    """A uniformly random support for a step, a function of the seed and its number."""
    rng = generator(options.seed, "uniform_support", step)
    return space.random(rng, options.sparseness, options.distinct_inputs)


def first_b(options: ArchitectureOptions, space: Space, A: list[Array], rng: torch.Generator) -> list[Tensor]:
    """Where the b of each node (m,) start, as ``arch_init`` says, with r = ``arch_init_scale``: r N(0, 1), or A z of a
    z that is r in the places of a support.
    """
    scale = options.arch_init_scale
    if options.arch_init == "normal":
        return [scale * torch.randn(options.proj_dims, generator=rng, dtype=torch.float64) for _ in A]
    if options.arch_init == "skip":
        support = space.connected(((),) * len(A))
    else:
        support = space.random(rng, options.sparseness, options.distinct_inputs)
    return [scale * torch.from_numpy(A_j[:, list(places)].sum(axis=1)) for A_j, places in zip(A, support)]


class SparseArchitecture(CompressedSpace):
    """Measurement matrices A_j (m, n_j), b_j (m,) as parameters, z_j (n_j,) as buffers, all float64.

    z is NaN until the first recovery.

    ``recover`` solves for z and fixes the support; ``connections`` gives the support with coefficients that are
    differentiable in b. Between recoveries z and the support stay while the coefficients follow b. Before the first
    recovery a support that was drawn may run, with coefficients of one.

    A node that is terminated (one-stage search, Algorithm 2) keeps its z and support for good, and its b gets no
    gradient any more, so its coefficients stay too.
    """

    options: ArchitectureOptions
    terminated: torch.Tensor
    support: list[tuple[int, ...]]

    def __init__(self, options: ArchitectureOptions, space: Space, rng: torch.Generator) -> None:
        super().__init__(options, space, rng)
        self.b = nn.ParameterList()
        self.register_buffer("terminated", torch.zeros(len(self.sizes), dtype=torch.bool))
        for j, n in enumerate(self.sizes):
            self.register_buffer(f"z{j}", torch.full((n,), torch.nan, dtype=torch.float64))
        for b in first_b(options, space, self.matrices, rng):
            self.b.append(nn.Parameter(b))

    def recover(self, acceptable: Callable[[Support], bool] | None = None) -> Recovery:
        """Solve Eq. 9 for every node from the current b, keep the top s, and compare with what was there before.

        What has a support that is not ``acceptable`` is rejected: z stays as it was, unless it is the first. Of several
        processes rank 0 solves and the others take over what it found.
        """
        b = list(torch.stack(list(self.b)).detach().cpu().numpy())  # waits for the device: not the solver's time
        start = time.perf_counter()
        before, support_before = self.z, self.support
        solutions = from_main(lambda: self.solver.solve(b, before if self.recovered else None))
        seconds = time.perf_counter() - start
        for j in self.terminated_nodes:
            solutions[j] = replace(solutions[j], z=before[j])
        z = [solution.z for solution in solutions]
        support = self._top(z)
        rejected = self.recovered and acceptable is not None and not acceptable(tuple(support))
        if not rejected:
            for j, part in enumerate(z):
                getattr(self, f"z{j}").copy_(torch.from_numpy(part))
            self._activate(z, support)
        found = gathered((self.support, [part.tobytes() for part in b]))
        assert all(state == found[0] for state in found), "the processes have drifted apart in b or in the support"
        distinct = self.options.distinct_inputs
        states = (before, support_before if before else [])
        recovery = describe(self.matrices, b, solutions, support, states, self.groups, distinct, seconds)
        return replace(recovery, changed=False, rejected=True) if rejected else recovery

    def connections(self) -> Connections:
        """The support with ``c_S = A_S^T b - E_SS z_S`` (Eq. 11), differentiable in b; one that was drawn without.

        With the gate ``sign`` it is ``c_S / |c_S|``, of which |c_S| is a constant: the gradient is that of c_S / |c_S|
        in c_S, so b moves as before, but nothing that runs is scaled.
        """
        assert self.support, "recover first"
        if not self.recovered:
            return Connections(tuple(self.support))
        c = coefficients(self.A_S, torch.stack(list(self.b)), self.z_S)
        if self.options.gate == "sign":
            c = c / c.detach().abs()
        return Connections(tuple(self.support), c.unbind())

    @property
    def recovered(self) -> bool:
        """Whether there is a z."""
        return bool(self.z)

    def run(self, support: Support) -> None:
        """Let a support run that was drawn."""
        assert not self.recovered, "b has a support"
        self.support = list(support)

    def take(self, support: Support) -> None:
        """Let a support run in the place of the recovered one, with the coefficients that z and b give it."""
        self._activate(self.z, list(support))

    def terminate(self, node: int) -> None:
        """Let a node keep what it has."""
        self.terminated_nodes.add(node)
        self.terminated[node] = True
        self.b[node].requires_grad_(False)
        self.b[node].grad = None

    def load_state_dict(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        """As ``nn.Module``'s; the solver and the support follow from the A and z that were loaded."""
        result = super().load_state_dict(*args, **kwargs)
        for node in self.terminated.nonzero().flatten().tolist():
            self.terminate(node)
        z = [getattr(self, f"z{j}").cpu().numpy().copy() for j in range(len(self.sizes))]
        if not np.isnan(z[0]).any():
            self._activate(z, self._top(z))
        return result

    def _prepare(self) -> None:
        super()._prepare()
        self.support = []
        self.z: list[Array] = []
        self.terminated_nodes: set[int] = set()

    def _top(self, z: list[Array]) -> list[tuple[int, ...]]:
        """The supports of z, within the limit on the size of the architecture if there is one."""
        s = self.options.sparseness
        support = [top_support(part, s, group) for part, group in zip(z, self.kept_groups)]
        return self.within_limit(support, list(map(np.abs, z)))

    def _activate(self, z: list[Array], support: list[tuple[int, ...]]) -> None:
        """Keep z and its support, and put what this needs on the device: A_S (J, m, s) and z_S (J, s)."""
        self.z, self.support = z, support
        device = self.b[0].device
        A_S = np.stack([A[:, indices] for A, indices in zip(self.matrices, self.support)])
        z_S = np.stack([part[list(indices)] for part, indices in zip(z, self.support)])
        self.A_S = sent(torch.from_numpy(A_S), device)
        self.z_S = sent(torch.from_numpy(z_S), device)

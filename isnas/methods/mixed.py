"""What DARTS and its kin have in common: every candidate runs, weighted, and the strongest are kept in the end.

An edge's operation is ``sum_k softmax(alpha)_k o_k(x)`` over the candidates and the zero operation `none`, which takes
its share of the softmax, gives nothing, and is never kept; a space that has a skip for that has no `none`. One step:
the architecture's variables on a batch of the one half, then the weights W on a batch of the other.

In first order the variables, here alpha, descend the validation loss V at W. In second order they descend V at W',
which is W after a step of SGD on the training loss T, of rate eta, with the momentum mu's buffers m and the weight
decay lambda:

    W' = W - eta (mu m + dT/dW + lambda W)
    dV/dalpha(W') - eta (dT/dalpha(W + R v) - dT/dalpha(W - R v)) / (2 R),   v = dV/dW(W'),   R = 0.01 / |v|

Source: DARTS (ICLR 2019), section 2.3 and its released code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from isnas.base.random import generator
from isnas.engine.method import Setting
from isnas.methods.options.mixed import MixedOptions
from isnas.methods.super_net import SuperNetSearch
from isnas.space.batch_norm import BatchNorm, still_statistics
from isnas.space.connections import Connections, Support
from isnas.space.space import AnyGenotype, Space
from isnas.train.optim import make_adam, set_arch_learning_rate
from isnas.train.stepping import StepResult

#: R |v|: how far W is moved to either side in the second order's difference.
_DISTANCE = 0.01


Settings = TypeVar("Settings", bound=MixedOptions)


class MixedSearch(SuperNetSearch[Settings]):
    """The super-net, whose candidates all run, and the variables of the mixture, in float64, trained by Adam.

    ``alpha`` (edges, K + 1) has a row per edge, node by node, and a column per operation, the last for `none`. Of an
    edge with fewer than K candidates, and where there is no `none`, what is left over has no share.
    """

    splits = ("train_w", "train_b")

    def __init__(self, options: Settings, setting: Setting) -> None:
        super().__init__(options, setting)
        self.counts = [list(Counter(groups).values()) for groups in self.space.groups]  # of each node's edges
        self.edges = list(map(len, self.counts))
        self.num_operations = max(map(max, self.counts))
        numbers = [count for node in self.counts for count in node]
        shares = [[k < count for k in range(self.num_operations)] + [self.space.mixes_none] for count in numbers]
        self.left_over = ~torch.tensor(shares).to(self.stepping.exact_device)
        self.everything = self.heaviest(options, self.space)
        self.norms = [module for module in self.network.modules() if isinstance(module, BatchNorm)]
        rng = generator(options.seed, "architecture")
        self.architecture = nn.ParameterDict()
        for name, shape in self.variables().items():
            start = options.arch_init_scale * torch.randn(shape, generator=rng, dtype=torch.float64)
            self.architecture[name] = nn.Parameter(start.to(self.stepping.exact_device))
        self.arch_optimizer = make_adam(self.architecture.values(), options)

    @classmethod
    def passes_of_step(cls, options: Settings, epoch: int) -> float:
        return 5.0 if options.unrolled else 2.0

    @classmethod
    def heaviest(cls, options: Settings, space: Space) -> Support:
        return tuple(tuple(range(size)) for size in space.sizes)

    def variables(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the architecture's variables, by name."""
        return {"alpha": (sum(self.edges), self.num_operations + 1)}

    def mixture(self) -> tuple[Tensor, Tensor | None]:
        """The weights of the candidates (edges, K), and those of the edges (edges,) if they have any."""
        alpha = self.architecture["alpha"].masked_fill(self.left_over, -torch.inf)
        return alpha.softmax(dim=1)[:, :-1], None

    def connections(self) -> Connections:
        of_candidates, of_edges = self.mixture()
        coefficients = tuple(map(self._flat, of_candidates.split(self.edges), self.counts))
        return Connections(self.everything, coefficients, None if of_edges is None else of_edges.split(self.edges))

    def running_parameters(self, connections: Connections) -> list[nn.Parameter]:
        (group,) = self.w_optimizer.param_groups
        return group["params"]

    @torch.no_grad()
    def genotype(self) -> AnyGenotype:
        """Of every node the edges whose strongest candidates are the strongest, with these."""
        of_candidates, _ = self.mixture()
        return self.space.genotype(tuple(map(self._strongest, of_candidates.cpu().split(self.edges), self.counts)))

    def _flat(self, weights: Tensor, counts: list[int]) -> Tensor:
        """A node's weights (edges, K) by the flat index; ``counts`` are its edges' candidates."""
        if set(counts) == {self.num_operations}:
            return weights.flatten()
        return torch.cat([row[:count] for row, count in zip(weights, counts)])

    def _strongest(self, weights: Tensor, counts: list[int]) -> tuple[int, ...]:
        """Flat indices of what a node keeps of its (edges, K); of equals the lower predecessor and operation."""
        rows = weights.tolist()
        best = [row.index(max(row)) for row in rows]
        kept = sorted(range(len(rows)), key=lambda edge: -rows[edge][best[edge]])[: self.options.sparseness]
        return tuple(sorted(sum(counts[:edge]) + best[edge] for edge in kept))

    def begin_epoch(self, epoch: int) -> float:
        set_arch_learning_rate(self.arch_optimizer, epoch, self.options.epochs, self.options)
        return super().begin_epoch(epoch)

    def step(self, *batches: tuple[Tensor, Tensor]) -> StepResult:
        """One update of the architecture on the second batch, then one of W on the first."""
        train, valid = batches
        with nullcontext() if self.options.arch_moves_statistics else still_statistics(self.norms):
            self.find_gradient(train, valid)
        self.stepping.update(self.arch_optimizer)
        return self.update_w(*train)

    def find_gradient(self, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> None:
        """Put the gradient of the validation loss, at W or at W', into ``.grad`` of the variables."""
        if self.options.unrolled:
            self._find_unrolled_gradient(train, valid)
        else:
            self.stepping.backward(self.mixed_loss, valid, self.architecture.values())

    def _find_unrolled_gradient(self, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> None:
        (group,) = self.w_optimizer.param_groups
        w, alpha = group["params"], list(self.architecture.values())
        start = [parameter.detach().clone() for parameter in w]
        step = torch._foreach_add(self._gradient(train, w), start, alpha=group["weight_decay"])
        buffers = [state["momentum_buffer"] for state in self.w_optimizer.state.values()]
        if buffers:  # there are none before the first step
            torch._foreach_add_(step, buffers, alpha=group["momentum"])
        with self._at(torch._foreach_add(start, step, alpha=-group["lr"]), start), still_statistics(self.norms):
            found = self._gradient(valid, w + alpha)
        v, direct = found[: len(w)], found[len(w) :]
        radius = _DISTANCE / torch.stack(torch._foreach_norm(v)).norm()
        torch._foreach_mul_(v, radius)
        with self._at(torch._foreach_add(start, v), start):
            above = self._gradient(train, alpha)
        with self._at(torch._foreach_sub(start, v), start):
            below = self._gradient(train, alpha)
        of_variables = radius.to(alpha[0].device).to(alpha[0].dtype)
        for variable, first, plus, minus in zip(alpha, direct, above, below, strict=True):
            variable.grad = first - group["lr"] * (plus - minus) / (2 * of_variables)

    def _gradient(self, batch: tuple[Tensor, Tensor], parameters: list[nn.Parameter]) -> list[Tensor]:
        """The gradient of a batch's mean loss, all processes' images taken together."""
        self.stepping.backward(self.mixed_loss, batch, parameters)
        found = [parameter.grad for parameter in parameters if parameter.grad is not None]
        assert len(found) == len(parameters), "all candidates run"
        for parameter in parameters:
            parameter.grad = None
        return found

    @contextmanager
    def _at(self, values: tuple[Tensor, ...], start: list[Tensor]) -> Iterator[None]:
        """Within, W has these values; then it is back at ``start``."""
        (group,) = self.w_optimizer.param_groups
        with torch.no_grad():
            torch._foreach_copy_(group["params"], values)
        yield
        with torch.no_grad():
            torch._foreach_copy_(group["params"], start)

    def mixed_loss(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy () of the mixture, differentiable in its weights, and its scores (B, num_classes)."""
        return self.loss(self.connections(), x, labels)

    def weights(self) -> dict[str, nn.Module]:
        return {"network": self.network, "architecture": self.architecture}

    def state_dict(self) -> dict[str, Any]:
        own = {"architecture": self.architecture.state_dict(), "arch_optimizer": self.arch_optimizer.state_dict()}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.architecture.load_state_dict(state["architecture"])
        self.arch_optimizer.load_state_dict(state["arch_optimizer"])

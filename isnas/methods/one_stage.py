"""One-stage ISTA-NAS: search and training of the full-size network in one run (NeurIPS 2020, Algorithm 2).

While searching, weights and b descend the same loss in the same backward pass, and gamma and beta of the candidates'
batch normalisations are frozen at 1 and 0. Every interval z is recovered; a node whose z has stopped moving terminates:
its b, z, support and coefficients stay for good, and its gamma and beta become trainable. When all nodes have
terminated, the candidates outside the support are dropped and the fixed architecture is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.methods.sparse_architecture import Recovery, SparseArchitecture
from isnas.nets.absorb import WeightedNetwork
from isnas.space.cells.cell import Cell
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import Network, Output, extract_state, target_network
from isnas.space.cells.operations import BatchNorm
from isnas.space.connections import CellConnections, Connections
from isnas.train.stepping import Stepping, StepResult

DISTANCES = ("top_s", "full")


@dataclass(frozen=True)
class OneStageOptions:
    """Algorithm 2's own settings; the defaults are the paper's for CIFAR-10."""

    epsilon: float = option(1e-3, "a node terminates when its z moves by at most this", above=0.0)
    distance: str = option(
        "top_s", "z is compared as it was truncated (Algorithm 2), or full (released code)", choices=DISTANCES
    )
    termination_interval: str = option("epoch", "between the two recoveries that are compared: epoch, or N steps")
    patience: int = option(1, "intervals in a row that must be within epsilon (1 is the paper's)", minimum=1)
    max_search_epochs: int = option(600, "the architecture is fixed after so many epochs in any case", minimum=1)
    max_params: float = option(
        0.0, "no node terminates while the network has this many million parameters or more; 0 is off", minimum=0.0
    )
    arch_learning_rate: float = option(3e-4, "Adam's learning rate for b", above=0.0, maximum=1e6)
    arch_weight_decay: float = option(1e-3, "l2 penalty on b (Adam, not AdamW)", minimum=0.0, maximum=1e6)
    arch_beta1: float = option(0.5, "Adam's first beta for b", minimum=0.0, below=1.0)
    arch_beta2: float = option(0.999, "Adam's second beta for b", minimum=0.0, below=1.0)

    def validate(self) -> None:
        """Check the form of ``termination_interval``."""
        interval_in_steps(self.termination_interval, 1)


def interval_in_steps(termination_interval: str, steps_per_epoch: int) -> int:
    """``termination_interval`` as a number of steps."""
    if termination_interval == "epoch":
        return steps_per_epoch
    if termination_interval.isdecimal() and int(termination_interval) > 0:
        return int(termination_interval)
    raise UserError(f"termination_interval must be epoch or a positive number of steps, not {termination_interval!r}")


class OneStage:
    """The state of the run: super-net, architecture and both optimisers while searching, then the fixed network.

    ``sizes`` are the network's, without the auxiliary head, whose presence follows from ``options.auxiliary``.
    """

    def __init__(
        self,
        network: Network,
        architecture: SparseArchitecture,
        w_optimizer: Optimizer,
        b_optimizer: Optimizer,
        stepping: Stepping,
        options: Any,
        sizes: dict[str, Any],
        interval: int,
    ) -> None:
        self.network, self.architecture = network, architecture
        self.w_optimizer, self.b_optimizer = w_optimizer, b_optimizer
        self.stepping, self.options, self.sizes, self.interval = stepping, options, sizes, interval
        self.calm = [0] * len(architecture.sizes)
        self.distances: list[float] | None = None
        self.terminations: list[int | None] = [None] * len(architecture.sizes)
        self.search_epochs: int | None = None
        self.fixed: Connections | None = None
        for cell in self.network.cells:
            assert isinstance(cell, Cell)
            for parameter in _gammas_and_betas(cell.nodes):
                parameter.requires_grad_(False)

    @property
    def searching(self) -> bool:
        """Whether the architecture is still open."""
        return self.fixed is None

    def recovery_due(self, step: int) -> bool:
        """Whether a recovery comes before this step (counted from 0 over the whole run)."""
        return self.searching and step % self.interval == 0

    def recover(self, step: int, too_large: bool = False) -> tuple[Recovery, list[int]]:
        """Recover z before ``step``, and terminate the nodes whose z has stopped moving; returns these nodes too.

        ``too_large`` (see ``max_params``) is asked of the architecture that was recovered before. ``distances`` then
        holds how far each node's z has moved, as ``options.distance`` says, and ``terminations`` the steps.
        """
        recovery = self.architecture.recover()
        self.distances = recovery.distances if self.options.distance == "top_s" else recovery.distances_full
        terminated = []
        for node, distance in enumerate(self.distances or []):
            self.calm[node] = self.calm[node] + 1 if distance <= self.options.epsilon else 0
            calm = self.calm[node] >= self.options.patience and not too_large
            if calm and node not in self.architecture.terminated_nodes:
                self.terminate(node)
                self.terminations[node] = step
                terminated.append(node)
        if recovery.changed or terminated:
            self._follow_support()
        return recovery, terminated

    def terminate(self, node: int) -> None:
        """Fix a node (normal cell's first) and let gamma and beta of its candidates train."""
        self.architecture.terminate(node)
        self.b_optimizer.state.pop(self.architecture.b[node], None)
        half = self.architecture.options.steps
        for cell in self.network.cells:
            assert isinstance(cell, Cell)
            if cell.reduction == (node >= half):
                for parameter in _gammas_and_betas(cell.nodes[node % half]):
                    parameter.requires_grad_(True)

    def node_name(self, node: int) -> str:
        """What the log calls a node, counted from 0 over the normal cell's and then the reduction cell's."""
        steps = self.architecture.options.steps
        return f"{'normal' if node < steps else 'reduction'} node {node % steps + 1}"

    @property
    def all_terminated(self) -> bool:
        """Whether no node moves any more."""
        return len(self.architecture.terminated_nodes) == len(self.architecture.sizes)

    def fix(self, search_epochs: int) -> None:
        """Drop every candidate outside the support, with its optimiser state; what is left trains on as it is."""
        for node in range(len(self.architecture.sizes)):
            if node not in self.architecture.terminated_nodes:
                self.terminate(node)
        self._follow_support()
        connections = self._detached()
        keep = partial(extract_state, connections=connections, layers=self.sizes["layers"])
        old = dict(self.network.named_parameters())
        momentum = {
            name: self.w_optimizer.state[p]["momentum_buffer"]
            for name, p in old.items()
            if self.w_optimizer.state.get(p, {}).get("momentum_buffer") is not None
        }
        state = keep(self.network.state_dict())
        self._replace_network(connections)
        self.network.load_state_dict(state)
        for name, buffer in keep(momentum).items():
            self.w_optimizer.state[self.network.get_parameter(name)]["momentum_buffer"] = buffer
        self.search_epochs = search_epochs

    def step(self, x: Tensor, labels: Tensor, drop_path: Tensor | None = None) -> StepResult:
        """Descend the loss of a batch in the weights that run and, while searching, in b."""
        (group,) = self.w_optimizer.param_groups
        b = [part for part in self.architecture.b if part.requires_grad] if self.searching else []
        batch = (x, labels) if drop_path is None else (x, labels, drop_path)
        result = self.stepping.backward(self._loss, batch, [*b, *group["params"]])  # b's gradient is complete last
        optimizers = [self.w_optimizer, self.b_optimizer] if b else [self.w_optimizer]
        self.stepping.update(*optimizers, grad_clip=self.options.grad_clip)
        return result

    def connections(self) -> Connections:
        """What runs now, with coefficients that are differentiable in b while the architecture is open."""
        return self.architecture.connections() if self.fixed is None else self.fixed

    def predict(self, x: Tensor) -> Output:
        """Scores of what runs now; the caller has set eval mode."""
        return self.stepping.forward(self.network, x, self.connections())

    def genotype(self) -> Genotype:
        """The architecture of the current support."""
        return self.architecture.connections().genotype(extra_bn="all")

    def weighted(self) -> WeightedNetwork:
        """The fixed network with its coefficients, to be absorbed."""
        assert self.fixed is not None, "fix the architecture first"
        return WeightedNetwork(self.network, self.fixed)

    def state_dict(self) -> dict[str, Any]:
        """Everything the run needs to go on."""
        return {
            "search_epochs": self.search_epochs,
            "calm": self.calm,
            "distances": self.distances,
            "terminations": self.terminations,
            "network": self.network.state_dict(),
            "architecture": self.architecture.state_dict(),
            "w_optimizer": self.w_optimizer.state_dict(),
            "b_optimizer": self.b_optimizer.state_dict() if self.searching else None,
            "stepping": self.stepping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.architecture.load_state_dict(state["architecture"])
        self.calm, self.distances, self.terminations = state["calm"], state["distances"], state["terminations"]
        for node in list(self.architecture.terminated_nodes):
            self.terminate(node)
        self.search_epochs = state["search_epochs"]
        if self.search_epochs is not None:
            self._replace_network(self._detached())
        elif self.architecture.recovered:
            self._follow_support()
        self.network.load_state_dict(state["network"])
        self.w_optimizer.load_state_dict(state["w_optimizer"])
        if state["b_optimizer"] is not None:
            self.b_optimizer.load_state_dict(state["b_optimizer"])
        self.stepping.load_state_dict(state["stepping"])

    def _loss(self, x: Tensor, labels: Tensor, drop_path: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logits, auxiliary = self.stepping.forward(self.network, x, self.connections(), drop_path)
        smoothing = self.options.label_smooth
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        if auxiliary is not None:
            loss = loss + self.options.auxiliary_weight * F.cross_entropy(auxiliary, labels, label_smoothing=smoothing)
        return loss, logits

    @torch.no_grad()
    def _detached(self) -> Connections:
        return self.architecture.connections()

    def _replace_network(self, connections: Connections) -> None:
        """Put a network of the found connections alone in the place of the super-net, with an empty optimiser."""
        device = self.network.classifier.weight.device
        dtype = self.network.classifier.weight.dtype
        genotype = connections.genotype(extra_bn="all")
        with torch.device("meta"):
            network = target_network(genotype, **self.sizes, auxiliary=self.options.auxiliary)
        self.network = self.stepping.place(network.to_empty(device=device).to(dtype))
        cells = [connections.normal, connections.reduce]
        self.fixed = Connections(
            *(CellConnections(tuple(tuple(range(len(s))) for s in c.support), c.coefficients) for c in cells)
        )
        self.w_optimizer.state.clear()
        self.w_optimizer.param_groups[0]["params"] = list(self.network.parameters())

    def _follow_support(self) -> None:
        (group,) = self.w_optimizer.param_groups
        running = [p for p in self.network.running_parameters(self.architecture.connections()) if p.requires_grad]
        for parameter in set(group["params"]) - set(running):
            parameter.grad = None
            self.w_optimizer.state.pop(parameter, None)
        group["params"] = running


def _gammas_and_betas(module: nn.Module) -> Iterator[nn.Parameter]:
    """The trainable parts of all batch normalisations in a module."""
    for part in module.modules():
        if isinstance(part, BatchNorm):
            yield from part.parameters()

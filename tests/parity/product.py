"""This project's objects with the options and the start of the numbers, and what their steps compute.

All constructors and private names are here; the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from fixtures import Arrays, Row, start_state
from settings import make_setting
from torch import Tensor, nn

from isnas.methods.evaluation import Evaluation
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import make_options
from isnas.methods.sparse_architecture import SparseArchitecture
from isnas.methods.two_stage import TwoStage
from isnas.space.batch_norm import BatchNorm
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import CellNetwork
from isnas.space.connections import Connections
from isnas.space.space import Network, Output
from isnas.train.stepping import Stepping, StepResult
from isnas.train.train_options import StepOptions


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass computed; ``coefficients`` (J, s) where connections were weighted."""

    loss: Tensor
    logits: Tensor
    auxiliary: Tensor | None
    coefficients: Tensor | None
    gradients: dict[Tensor, Tensor]

    def of(self, module: nn.Module) -> dict[str, Tensor]:
        """Gradients of a network's parameters, those that got one, by name."""
        return {name: self.gradients[p] for name, p in module.named_parameters() if p in self.gradients}

    def norm(self, module: nn.Module) -> Tensor:
        """Euclidean norm of :meth:`of`, before any clip."""
        return torch.stack([gradient.norm() for gradient in self.of(module).values()]).norm()

    def count(self, module: nn.Module) -> int:
        """How many weights got a gradient."""
        return sum(gradient.numel() for gradient in self.of(module).values())

    def of_b(self, architecture: SparseArchitecture) -> Tensor:
        """Gradient of b, (J, m), 0 for a node that is terminated."""
        return torch.stack([self.gradients.get(b, torch.zeros_like(b)) for b in architecture.b])


class RecordingStepping(Stepping):
    """A stepping that keeps what each of its backward passes computed, in ``passes``."""

    def __init__(self) -> None:
        super().__init__(StepOptions(), torch.device("cpu"))
        self.passes: list[Pass] = []

    def forward(self, network: Callable[..., Output], x: Tensor, *arguments: Any) -> Output:
        """As it is, its result and the connections' coefficients kept."""
        self._output = super().forward(network, x, *arguments)
        self._connections = arguments[0] if arguments else None
        return self._output

    def backward(
        self,
        loss_of: Callable[..., tuple[Tensor, Tensor]],
        batch: Sequence[Tensor],
        parameters: Iterable[Tensor],
    ) -> StepResult:
        """As it is, its result and the gradients kept."""
        parameters = list(parameters)
        result = super().backward(loss_of, batch, parameters)
        auxiliary = self._output.auxiliary
        kept = Pass(
            result.loss,
            result.logits,
            None if auxiliary is None else auxiliary.detach(),
            None if self._connections is None else coefficients(self._connections),
            {p: p.grad.clone() for p in parameters if p.grad is not None},
        )
        self.passes.append(kept)
        return result


def coefficients(connections: Connections) -> Tensor:
    """c of all nodes, (J, s), the normal cell's first."""
    return torch.stack(connections.coefficients).detach()


def supports(architecture: SparseArchitecture) -> Tensor:
    """Active flat indices of all nodes, (J, s)."""
    return torch.tensor(architecture.support)


def full_z(architecture: SparseArchitecture) -> Tensor:
    """z of all nodes one behind the other."""
    return torch.cat([torch.from_numpy(z) for z in architecture.z])


def stacked_b(architecture: SparseArchitecture) -> Tensor:
    """b of all nodes, (J, m)."""
    return torch.stack([b.detach() for b in architecture.b])


def build_options(method: str, given: SimpleNamespace, **more: Any) -> Any:
    """The options of a run that a file names, and more, which win."""
    names = ("learning_rate", "momentum", "weight_decay", "grad_clip", "stem", "init_channels", "layers")
    return make_options(method, **{name: getattr(given, name) for name in names} | more)


def of_architecture(given: SimpleNamespace, learning_rate: float) -> dict[str, Any]:
    """The options of the LASSO, and of the Adam of b."""
    beta1, beta2 = given.arch_betas
    named = {name: getattr(given, name) for name in ("proj_dims", "sparseness", "lasso_lambda", "arch_weight_decay")}
    adam = {"arch_learning_rate": learning_rate, "arch_beta1": beta1, "arch_beta2": beta2}
    return {"num_nodes": given.steps, **named, **adam}


Built = TypeVar("Built", TwoStage, OneStage, Evaluation)


def build(kind: type[Built], options: Any, given: SimpleNamespace, arrays: Arrays, rows: list[Row]) -> Built:
    """A method with the network, A and b of the file, before its first recovery or step."""
    images = {"channels": given.in_channels, "num_classes": given.num_classes}
    method = kind.build(options, make_setting(options, **images, stepping=RecordingStepping()))
    method.network.load_state_dict(start_state(rows, arrays))
    if isinstance(method, TwoStage | OneStage):
        state = method.architecture.state_dict()
        for j, b in enumerate(arrays["b_start"]):
            state |= {f"A{j}": arrays[f"A{j}"], f"b.{j}": b}
        method.architecture.load_state_dict(state)
        assert method.b_optimizer.param_groups[0]["eps"] == given.arch_eps
    return method


def build_two_stage(given: SimpleNamespace, arrays: Arrays, rows: list[Row], preset: str, **changes: Any) -> TwoStage:
    """The search before its first recovery; ``changes`` are options beside the preset and the file's."""
    own = of_architecture(given, given.arch_learning_rate)
    own |= {"preset": preset, "arch_early_epsilon": False}  # the numbers are torch's Adam's
    return build(TwoStage, build_options("two_stage", given, **own | changes), given, arrays, rows)


Batch = tuple[Tensor, Tensor]


def step_two_stage(search: TwoStage, batch_w: Batch, batch_b: Batch) -> tuple[Pass, Pass]:
    """One step of W and b; returns W's pass and b's."""
    search.stepping.passes.clear()
    search.step(batch_w, batch_b)
    first, second = search.stepping.passes
    return (second, first) if search.options.first_update == "b" else (first, second)


class FrozenNorms(OneStage):
    """A mistake: gamma and beta of a terminated node's candidates stay frozen until the network is fixed."""

    def terminate(self, node: int) -> None:
        """Fix a node, and freeze what that has let go."""
        super().terminate(node)
        for cell in self.network.cells:
            for module in cell.nodes.modules():
                if isinstance(module, BatchNorm):
                    module.requires_grad_(False)


def build_one_stage(
    given: SimpleNamespace, arrays: Arrays, rows: list[Row], kind: type[OneStage], **changes: Any
) -> OneStage:
    """The run before its first recovery, with the released preset; ``changes`` are options beside it and the file's."""
    own = of_architecture(given, given.arch_learning_rates[0])
    own |= {"preset": "released", "arch_early_epsilon": False}  # the numbers are torch's Adam's
    own |= {"epsilon": given.epsilon, "auxiliary_weight": given.auxiliary_weight, "auxiliary": True}
    return build(kind, build_options("one_stage", given, **own | changes), given, arrays, rows)


def one_stage_state(run: OneStage) -> dict[str, Tensor]:
    """The state of what runs, by the super-net's names, also when the network is the fixed one."""
    state = run.network.state_dict()
    if run.searching:
        return state
    result = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "cells" and parts[2] == "nodes":
            reduction = run.network.cells[int(parts[1])].reduction
            node = int(parts[3]) + reduction * run.options.num_nodes
            parts[4] = str(run.architecture.support[node][int(parts[4])])
        result[".".join(parts)] = tensor
    return result


def build_training(given: SimpleNamespace, arrays: Arrays, rows: list[Row], arch: str, **changes: Any) -> Evaluation:
    """The training of a found network before its first step; ``changes`` as for :func:`build_one_stage`."""
    own = {"preset": "released", "arch": arch, "auxiliary": True, "auxiliary_weight": given.auxiliary_weight}
    return build(Evaluation, build_options("evaluation", given, **own | changes), given, arrays, rows)


def count_padding(network: Network) -> None:
    """A mistake: average pools count their padding."""
    for module in network.modules():
        if isinstance(module, nn.AvgPool2d):
            module.count_include_pad = True


def double_momentum(network: Network) -> None:
    """A mistake: a batch has twice its weight in the running statistics."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 0.2


def drop_path_columns(network: CellNetwork, genotype: Genotype, order: list[Any]) -> list[int]:
    """For each connection that the network runs its place in ``order``: (cell, node, operation, predecessor)."""
    places: dict[tuple, list[int]] = {}
    for place, connection in enumerate(order):
        places.setdefault(tuple(connection), []).append(place)
    return [
        places[layer, node, operation, predecessor].pop(0)
        for layer, cell in enumerate(network.cells)
        for node, connections in enumerate(genotype.reduce if cell.reduction else genotype.normal)
        for operation, predecessor in connections
    ]

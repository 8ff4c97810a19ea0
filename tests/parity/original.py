"""DARTS and PC-DARTS at the start of the originals' numbers, and what each of their passes computes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from fixtures import Arrays, Row, unpacked
from settings import make_setting
from torch import Tensor
from torch.optim import Optimizer

from isnas.methods.mixed import MixedSearch
from isnas.methods.registry import METHODS, make_options
from isnas.train.stepping import Stepping, StepResult
from isnas.train.train_options import StepOptions

#: what the passes of a step are for, in turn
ROLES = {"first": ("valid", "train"), "second": ("inner", "unrolled", "plus", "minus", "train")}
EDGES, NUM_OPERATIONS = 14, 7  # of a cell; without `none`

_SEPARABLE = {1: "depthwise1", 2: "pointwise1", 3: "bn1", 5: "depthwise2", 6: "pointwise2", 7: "bn2"}
_DILATED = {1: "depthwise", 2: "pointwise", 3: "bn"}


def rows_of(tensors: Sequence[tuple[str, list[int]]]) -> list[Row]:
    """The tensors that a .json file lists, by the names of both."""
    return [Row(name, own_name(name), tuple(shape)) for name, shape in tensors]


def own_name(name: str) -> str:
    """This project's name of one of the originals' tensors."""
    name = re.sub(r"^stem\.(\d)", lambda found: "stem." + ("conv", "bn")[int(found[1])], name)
    name = re.sub(r"preprocess(\d)\.op\.(\d)", lambda f: f"preprocess{f[1]}." + {1: "conv", 2: "bn"}[int(f[2])], name)
    return re.sub(r"_ops\.(\d+)\._ops\.(\d)\.(.*)", _of_operation, name.replace("conv_", "conv"))


def _of_operation(found: re.Match[str]) -> str:
    edge, operation, rest = int(found[1]), int(found[2]), found[3]
    node = next(node for node, first in reversed(list(enumerate((0, 2, 5, 9)))) if edge >= first)
    predecessor = edge - (0, 2, 5, 9)[node]
    if operation in (1, 2):  # a pool and its batch normalisation
        rest = rest.replace("1.", "bn.", 1)
    elif operation != 3:
        parts = _SEPARABLE if operation in (4, 5) else _DILATED
        rest = re.sub(r"op\.(\d)", lambda f: parts[int(f[1])], rest)
    return f"nodes.{node}.{predecessor * NUM_OPERATIONS + operation - 1}.{rest}"


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass: what it gave, and the weights W that it was taken at; tensors by name."""

    loss: Tensor
    logits: Tensor
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]


class Recorder(Stepping):
    """A stepping that keeps what each backward pass computed, and the architecture's gradients that Adam takes."""

    def __init__(self) -> None:
        super().__init__(StepOptions(), torch.device("cpu"))
        self.names: dict[Tensor, str] = {}
        self.passes: list[Pass] = []
        self.taken: dict[str, Tensor] = {}

    def follow(self, search: MixedSearch) -> None:
        """Record this search's passes."""
        self.names = {parameter: name for name, parameter in search.network.named_parameters()}
        self.names |= {parameter: name for name, parameter in search.architecture.items()}

    def backward(
        self, loss_of: Callable[..., tuple[Tensor, Tensor]], batch: Sequence[Tensor], parameters: Iterable[Tensor]
    ) -> StepResult:
        """As it is, its result, gradients and W kept."""
        parameters = list(parameters)
        weights = {name: parameter.detach().clone() for parameter, name in self.names.items()}
        result = super().backward(loss_of, batch, parameters)
        gradients = {self.names[p]: p.grad.clone() for p in parameters if p.grad is not None}
        self.passes.append(Pass(result.loss, result.logits, gradients, weights))
        return result

    def update(self, *optimizers: Optimizer, grad_clip: float | None = None) -> None:
        """As it is, the gradients of the architecture kept."""
        named = {self.names[p]: p for optimizer in optimizers for p in optimizer.param_groups[0]["params"]}
        if "alpha" in named:
            self.taken = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
        super().update(*optimizers, grad_clip=grad_clip)


def build(method: str, order: str, given: SimpleNamespace, arrays: Arrays, rows: list[Row], **changes: Any) -> Any:
    """A search with the weights, alphas and betas of the file, before its first step."""
    same = ("momentum", "weight_decay", "grad_clip", "init_channels", "layers", "arch_learning_rate")
    values: dict[str, Any] = {name: getattr(given, name) for name in (*same, "arch_weight_decay")}
    values |= {"arch_beta1": given.arch_betas[0], "arch_beta2": given.arch_betas[1], "num_nodes": given.steps}
    values |= {"stem": "cifar", "unrolled": order == "second", "arch_moves_statistics": True}
    if method == "pc_darts":
        values |= {"partial_channels": given.channel_divisor, "arch_start_epoch": 0}
    options = make_options(method, **values | changes)
    recorder = Recorder()
    setting = make_setting(options, channels=3, num_classes=given.num_classes, stepping=recorder)
    search = METHODS[method].build(options, setting)
    search.network.load_state_dict(unpacked(rows, arrays["start"]))
    search.architecture.load_state_dict(own_variables(arrays, "{}_{}_start"))
    recorder.follow(search)
    return search


def own_variables(arrays: Arrays, names: str, number: int | None = None) -> dict[str, Tensor]:
    """alpha, and beta where there is one, in this project's order, of the arrays so ``names``; of a step if given."""
    found = {}
    for variable in ("alpha", "beta"):
        keys = [names.format(variable + "s", cell) for cell in ("normal", "reduce")]
        if keys[0] in arrays:
            found[variable] = own_order([arrays[key] if number is None else arrays[key][number] for key in keys])
    return found


def own_order(tables: Iterable[Tensor]) -> Tensor:
    """Both cells' edges one after the other; of alphas the column of `none`, the originals' first, is last."""
    table = torch.cat(list(tables))
    return table.roll(-1, dims=1) if table.dim() == 2 else table


def summaries(tensors: Iterable[Tensor]) -> Tensor:
    """Of each tensor its norm, and the sum of value number i times i / n."""
    flat = [tensor.detach().flatten() for tensor in tensors]
    return torch.stack([torch.stack([x.norm(), x @ torch.arange(1.0, len(x) + 1.0) / len(x)]) for x in flat])


def in_full(tensors: Iterable[Tensor]) -> Tensor:
    """Tensors one behind the other."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def pick(found: Mapping[str, Tensor], rows: list[Row], index: Tensor) -> list[Tensor]:
    """The tensors at these places of a file's list."""
    return [found[rows[place].name] for place in index.tolist()]

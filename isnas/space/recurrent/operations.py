"""The candidate operations: activations, without weights of their own.

Source: DARTS (ICLR 2019), whose recurrent space they are, without the operation that leaves a connection out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """All that is known of an activation by its name.

    ``apply_(h)`` turns h into y = f(h) in place and returns it. ``backward(g, y, out)`` writes g f'(h), told from y
    alone, so that h need not be kept. ``colors``: outline and filling in pictures.
    """

    apply_: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]
    colors: tuple[str, str]


def _identity(h: Tensor) -> Tensor:
    return h


def sigmoid_backward(gradient: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write gradient y (1 - y)."""
    return torch.ops.aten.sigmoid_backward.grad_input(gradient, y, grad_input=out)


def _tanh_backward(gradient: Tensor, y: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward.grad_input(gradient, y, grad_input=out)


def _relu_backward(gradient: Tensor, y: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward.grad_input(gradient, y, 0, grad_input=out)


def _identity_backward(gradient: Tensor, y: Tensor, out: Tensor) -> Tensor:
    return out.copy_(gradient)


#: Every operation that a genotype may name, in the order of :data:`isnas.space.recurrent.genotype.NAMES`.
OPERATIONS: dict[str, Row] = {
    "tanh": Row(torch.tanh_, _tanh_backward, ("#1f5fa8", "#eaf2fb")),
    "relu": Row(torch.relu_, _relu_backward, ("#b34a0b", "#fdf0e7")),
    "sigmoid": Row(torch.sigmoid_, sigmoid_backward, ("#23784a", "#e9f6ee")),
    "identity": Row(_identity, _identity_backward, ("#6b6b6b", "#f3f3f3")),
}

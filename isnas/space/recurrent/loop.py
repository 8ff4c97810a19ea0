"""A cell's steps over time as one differentiable function, with as few and as large matrix products as there can be.

At each step, with [x, h] the input and the state before (DARTS, ICLR 2019; several inputs: CoNAS):

    [c | g] = [x, h * mask] W_0,                 s_0 = h + sigmoid(c) (tanh(g) - h)
    [c_j | g_j] = (s_j * mask) W_i,              s_i = 1/n sum_{j, f} [ s_j + sigmoid(c_j) (f(g_j) - s_j) ]

over the n connections (f, j) of node i, and h becomes the mean of the output's nodes. What the steps share is taken out
of them: x W_0 comes in ready, the predecessors of a node are one product, several activations of one predecessor are

    n_j s_j + sigmoid(c_j) (sum_f f(g_j) - n_j s_j),

and the gradient of a W_i is one product over all steps, where autograd would add up one for each. Kept for the backward
pass are the states, sigmoid(c), and f(g), or g where there are several f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from isnas.space.pairs import Node
from isnas.space.recurrent.operations import OPERATIONS, sigmoid_backward


class Read(NamedTuple):
    """A predecessor that a node reads, and by which operations."""

    predecessor: int
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What runs: per node 1, 2, ... its reads by predecessor, none where it does not run; and the output's nodes."""

    nodes: tuple[tuple[Read, ...], ...]
    concat: tuple[int, ...]


@lru_cache(maxsize=1024)
def make_plan(nodes: tuple[Node, ...], concat: tuple[int, ...]) -> Plan:
    """The plan of a cell with these connections; a node that neither the output nor another node reads does not run."""
    read = set(concat)
    reads: list[tuple[Read, ...]] = []
    for number, node in reversed(list(enumerate(nodes, 1))):
        of_predecessor: dict[int, list[str]] = {}
        for operation, predecessor in node if number in read else ():
            of_predecessor.setdefault(predecessor, []).append(operation)
        reads.insert(0, tuple(Read(p, tuple(operations)) for p, operations in sorted(of_predecessor.items())))
        read.update(of_predecessor)
    return Plan(tuple(reads), concat)


#: s_0, which has the state before as its only predecessor.
_FIRST = (Read(0, ("tanh",)),)


def run_loop(plan: Plan, gates: Tensor, h: Tensor, mask: Tensor | None, weights: Sequence[Tensor]) -> Tensor:
    """The output h (T, B, H) of each step, from ``gates`` = x W_0 (T, B, 2 H) and the state ``h`` (B, H) before all.

    ``mask`` (B, H) multiplies what goes into products, all of it without. ``weights`` are the part of W_0 that h meets
    and then W_1, W_2, ..., all (H, 2 H). A state of zeros stands for a node without connections.
    """
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (gates, h, *weights))
    return _Loop.apply(plan, keep, gates, h, mask, *weights)


class _Loop(torch.autograd.Function):
    """States (T, N + 1, B, H), and per node the gates (T, D, B, 2 H) of the D predecessors that it reads."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, plan: Plan, keep: bool, gates: Tensor, h: Tensor, mask: Tensor | None, *weights: Tensor
    ) -> Tensor:
        steps, batch, width = len(gates), *h.shape
        kept = steps if keep else 1
        hidden = h.new_empty(steps + 1, batch, width)
        hidden[0] = h
        states = h.new_zeros(kept, len(weights), batch, width)
        nodes = (_FIRST, *plan.nodes)
        of_nodes = [h.new_empty(kept, len(reads), batch, 2 * width) for reads in nodes]
        views, of_steps, own_states = [_views(each) for each in of_nodes], hidden.unbind(), states.unbind()
        masked = states[0] if mask is None else torch.zeros_like(states[0])
        of_masked = masked.unbind()
        read = {read.predecessor for reads in plan.nodes for read in reads}
        for step, from_input in enumerate(gates.unbind()):
            place = step if keep else 0
            all_own, own = own_states[place], own_states[place].unbind()
            for number, reads in enumerate(nodes):
                if not reads:
                    continue
                view = views[number][place]
                if number == 0:
                    before = of_steps[step : step + 1]
                    torch.addmm(from_input, before[0] if mask is None else before[0] * mask, weights[0], out=view.flat)
                else:
                    before = own
                    torch.mm(_joined(all_own if mask is None else masked, reads), weights[number], out=view.flat)
                _advance(before, reads, view, own[number])
                if mask is not None and number in read:
                    torch.mul(own[number], mask, out=of_masked[number])
            _mean(all_own, plan.concat, of_steps[step + 1])
        if keep:
            ctx.plan = plan
            ctx.save_for_backward(hidden, mask, states, *of_nodes, *weights)
        return hidden[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_output: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        hidden, mask, states, *rest = ctx.saved_tensors
        nodes = (_FIRST, *ctx.plan.nodes)
        of_nodes, weights = rest[: len(nodes)], rest[len(nodes) :]
        of_gates = [torch.empty_like(gates) for gates in of_nodes]
        views, of_views = ([_views(each) for each in gates] for gates in (of_nodes, of_gates))
        transposed = [weight.t() for weight in weights]
        of_states = torch.empty_like(states[0])
        each_of_states, of_steps, own_states = of_states.unbind(), hidden.unbind(), states.unbind()
        of_h = torch.zeros_like(hidden[0])
        for step in reversed(range(len(of_output))):
            own = own_states[step].unbind()
            of_h.add_(of_output[step]).div_(len(ctx.plan.concat))
            of_states.zero_()
            for number in ctx.plan.concat:
                each_of_states[number].copy_(of_h)
            of_h.zero_()
            for number in range(len(nodes) - 1, -1, -1):
                reads = nodes[number]
                if not reads:
                    continue
                before, of_before = (own, each_of_states) if number else (of_steps[step : step + 1], (of_h,))
                gradient = of_views[number][step]
                _retreat(before, reads, views[number][step], each_of_states[number], gradient, of_before)
                inner = torch.mm(gradient.flat, transposed[number]).view(len(reads), *of_h.shape)
                for read, part in zip(reads, inner):
                    target = of_before[read.predecessor]
                    target.add_(part) if mask is None else target.addcmul_(part, mask)
        of_weights = [
            _of_weight(states if number else hidden[:-1, None], reads, mask, gradient) if reads else None
            for number, (reads, gradient) in enumerate(zip(nodes, of_gates))
        ]
        return None, None, of_gates[0][:, 0], of_h, None, *of_weights


class _View(NamedTuple):
    """The gates of a node at a step: as the product (D B, 2 H) has them; c of all predecessors, c and g of each."""

    flat: Tensor
    all_shares: Tensor
    shares: tuple[Tensor, ...]
    inner: tuple[Tensor, ...]


def _views(gates: Tensor) -> list[_View]:
    """The views of gates (T, D, B, 2 H) at all steps, taken at once: one by one they would cost more than the sums."""
    shares, inner = gates.chunk(2, dim=-1)
    steps = zip(gates.flatten(1, 2).unbind(), shares.unbind(), inner.unbind())
    return [_View(flat, c, c.unbind(), g.unbind()) for flat, c, g in steps]


def _joined(states: Tensor, reads: tuple[Read, ...]) -> Tensor:
    """The states (D B, H) that are read, one below the other; of neighbours it is a view."""
    first, last = reads[0].predecessor, reads[-1].predecessor
    if first == last:
        return states[first]
    if last - first == len(reads) - 1:
        return states[first : last + 1].flatten(0, 1)
    return torch.cat([states[read.predecessor] for read in reads])


def _advance(states: Sequence[Tensor], reads: tuple[Read, ...], gates: _View, out: Tensor) -> None:
    """Write s_i into ``out`` (B, H), and into ``gates`` what is kept of it."""
    gates.all_shares.sigmoid_()
    total = sum(len(read.operations) for read in reads)
    if total == 1:
        ((predecessor, (operation,)),) = reads
        torch.lerp(states[predecessor], OPERATIONS[operation].apply_(gates.inner[0]), gates.shares[0], out=out)
        return
    out.zero_()
    for (predecessor, operations), share, g in zip(reads, gates.shares, gates.inner):
        count, state = len(operations), states[predecessor]
        activated, *others = _activated(operations, g)
        difference = torch.sub(activated, state, alpha=count)
        for other in others:
            difference.add_(other)
        out.addcmul_(share, difference).add_(state, alpha=count)
    out.div_(total)


def _retreat(
    states: Sequence[Tensor],
    reads: tuple[Read, ...],
    gates: _View,
    of_state: Tensor,
    of_gates: _View,
    of_states: Sequence[Tensor],
) -> None:
    """Fill ``of_gates`` from the gradient of s_i, and add to ``of_states`` what goes past the product."""
    total = sum(len(read.operations) for read in reads)
    of_term = of_state if total == 1 else of_state / total
    for place, (predecessor, operations) in enumerate(reads):
        share, count, of_g = gates.shares[place], len(operations), of_gates.inner[place]
        outputs = _activated(operations, gates.inner[place]) if count > 1 else [gates.inner[place]]
        of_activated = of_term * share
        difference = torch.sub(outputs[0], states[predecessor], alpha=count)
        OPERATIONS[operations[0]].backward(of_activated, outputs[0], of_g)
        for operation, y in zip(operations[1:], outputs[1:]):
            difference.add_(y)
            of_g.add_(OPERATIONS[operation].backward(of_activated, y, torch.empty_like(y)))
        sigmoid_backward(difference.mul_(of_term), share, of_gates.shares[place])
        of_states[predecessor].add_(of_term, alpha=count).sub_(of_activated, alpha=count)


def _activated(operations: tuple[str, ...], g: Tensor) -> list[Tensor]:
    """f(g) of each operation; of a single one in g's place."""
    if len(operations) == 1:
        return [OPERATIONS[operations[0]].apply_(g)]
    return [OPERATIONS[operation].apply_(g.clone()) for operation in operations]


def _mean(states: Tensor, concat: tuple[int, ...], out: Tensor) -> None:
    """The mean of these states (B, H) of (N + 1, B, H)."""
    if concat == tuple(range(concat[0], concat[-1] + 1)):
        torch.mean(states[concat[0] : concat[-1] + 1], 0, out=out)
    else:
        torch.mean(torch.stack([states[number] for number in concat]), 0, out=out)


def _of_weight(states: Tensor, reads: tuple[Read, ...], mask: Tensor | None, of_gates: Tensor) -> Tensor:
    """The gradient (H, 2 H) of a W_i from all steps' states (T, N + 1, B, H) and gates (T, D, B, 2 H)."""
    inner = torch.empty_like(of_gates.chunk(2, dim=-1)[0], memory_format=torch.contiguous_format)
    for place, read in enumerate(reads):
        state = states[:, read.predecessor]
        if mask is None:
            inner[:, place] = state
        else:
            torch.mul(state, mask, out=inner[:, place])
    return inner.view(-1, inner.shape[-1]).t() @ of_gates.view(-1, of_gates.shape[-1])

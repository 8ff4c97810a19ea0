"""Mistakes in DARTS and PC-DARTS, made on purpose: each changes one search, and the modules through a MonkeyPatch."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from isnas.methods import mixed
from isnas.space.batch_norm import still_statistics
from isnas.space.cells import cell


def swapped_batches(search, patch):
    step = search.step
    patch.setattr(search, "step", lambda train, valid: step(valid, train))


def w_first(search, patch):
    """The passes come in another order too: W's is moved to the end again."""

    def step(train, valid):
        search.update_w(*train)
        search.find_gradient(train, valid)
        search.stepping.update(search.arch_optimizer)
        search.stepping.passes.append(search.stepping.passes.pop(0))

    patch.setattr(search, "step", step)


def old_adam(search, patch):
    """Epsilon is added before the bias is corrected, as torch 0.3.1 does."""
    (group,) = search.arch_optimizer.param_groups
    update, epsilon, taken = search.stepping.update, group["eps"], []

    def counted(*optimizers, **more):
        if search.arch_optimizer in optimizers:
            taken.append(None)
            group["eps"] = epsilon / (1 - group["betas"][1] ** len(taken)) ** 0.5
        update(*optimizers, **more)

    patch.setattr(search.stepping, "update", counted)


def uncleared_w(search, patch):
    (group,) = search.w_optimizer.param_groups
    both = [*search.architecture.values(), *group["params"]]
    patch.setattr(search, "find_gradient", lambda _, valid: search.stepping.backward(search.mixed_loss, valid, both))


def uncleared_alpha(search, patch):
    (group,) = search.w_optimizer.param_groups

    def update_w(x, labels):
        both = [*search.architecture.values(), *group["params"]]
        search.stepping.backward(search.mixed_loss, (x, labels), both)
        search.stepping.update(search.w_optimizer, grad_clip=search.options.grad_clip)

    patch.setattr(search, "update_w", update_w)


def no_none(search, patch):
    """The softmax does not count the zero operation."""
    mixture = search.mixture

    def without():
        whole = search.architecture["alpha"].softmax(dim=1)[:, :-1]
        weights, of_edges = mixture()
        return weights / whole.sum(dim=1, keepdim=True), of_edges

    patch.setattr(search, "mixture", without)


def swapped_tables(search, patch):
    with torch.no_grad():
        for variable in search.architecture.values():
            variable.copy_(variable.roll(len(variable) // 2, dims=0))


def _of_w_while_unrolling(**values):
    """Other settings of W's SGD while alpha's gradient is found; ``lr`` None: the first step's."""

    def spoil(search, patch):
        (group,) = search.w_optimizer.param_groups
        find, rates = search.find_gradient, []

        def find_gradient(train, valid):
            kept = dict(group)
            rates.append(group["lr"])
            group.update({name: rates[0] if value is None else value for name, value in values.items()})
            find(train, valid)
            group.update(kept)

        patch.setattr(search, "find_gradient", find_gradient)

    return spoil


no_momentum = _of_w_while_unrolling(momentum=0.0)
whole_buffers = _of_w_while_unrolling(momentum=1.0)
no_decay = _of_w_while_unrolling(weight_decay=0.0)
first_rate = _of_w_while_unrolling(lr=None)


def clip_in_unrolling(search, patch):
    gradient = search._gradient

    def clipped(batch, parameters):
        found = gradient(batch, parameters)
        if len(found) == len(search.w_optimizer.param_groups[0]["params"]):
            norm = torch.stack([each.norm() for each in found]).norm()
            found = [each * min(1.0, search.options.grad_clip / norm) for each in found]
        return found

    patch.setattr(search, "_gradient", clipped)


def unrolled_on_valid(search, patch):
    find = search.find_gradient
    patch.setattr(search, "find_gradient", lambda _, valid: find(valid, valid))


def whole_radius(search, patch):
    """R is 0.01, whatever the norm of v."""

    class Radius(float):
        def __truediv__(self, other):
            return torch.tensor(float(self))

    patch.setattr(mixed, "_DISTANCE", Radius(mixed._DISTANCE))


def _of_implicit(sign):
    """The direct part alone, or with the wrong sign of the other."""

    def spoil(search, patch):
        find = search.find_gradient

        def find_gradient(train, valid):
            find(train, valid)
            direct = search.stepping.passes[-3].gradients
            for name, variable in search.architecture.items():
                variable.grad = direct[name] + sign * (direct[name] - variable.grad)

        patch.setattr(search, "find_gradient", find_gradient)

    return spoil


direct_only, wrong_sign = _of_implicit(0.0), _of_implicit(1.0)


def still_differences(search, patch):
    """The passes beside W do not move the statistics."""
    at = search._at

    class Still:
        def __init__(self, *arguments):
            self.both = at(*arguments), still_statistics(search.norms)

        def __enter__(self):
            for each in self.both:
                each.__enter__()

        def __exit__(self, *error):
            for each in self.both:
                each.__exit__(*error)

    patch.setattr(search, "_at", Still)


def moved_by_unrolled(search, patch):
    patch.setattr(mixed, "still_statistics", nullcontext)


def last_channels(search, patch):
    """The last part goes through the operations."""
    append = cell._States.append

    def rolled(states, x):
        append(states, x.roll(x.shape[1] // states.partial, dims=1))
        states.whole[-1] = x

    patch.setattr(cell._States, "append", rolled)


def average_passing(search, patch):
    def pool(x, size, ceil_mode):
        return F.avg_pool2d(x, size, ceil_mode=ceil_mode)

    patch.setattr(cell, "F", SimpleNamespace(relu=F.relu, max_pool2d=pool))


def no_shuffle(search, patch):
    patch.setattr(cell, "shuffle", lambda x, parts: x)


def other_shuffle(search, patch):
    shuffle = cell.shuffle
    patch.setattr(cell, "shuffle", lambda x, parts: shuffle(x, x.shape[1] // parts))


def softmax_over_all_edges(search, patch):
    mixture = search.mixture

    def over_all():
        weights, of_edges = mixture()
        beta = search.architecture["beta"]
        wrong = torch.cat([half.softmax(dim=0) for half in beta.split(len(beta) // 2)])
        return weights / of_edges[:, None] * wrong[:, None], wrong

    patch.setattr(search, "mixture", over_all)


def edges_with_none(search, patch):
    """An edge is as strong as `none` is on it, where that is stronger than all else."""
    mixture = search.mixture

    def raised():
        weights, of_edges = mixture()
        none = search.architecture["alpha"].softmax(dim=1)[:, -1:] * (1.0 if of_edges is None else of_edges[:, None])
        best = weights == weights.max(dim=1, keepdim=True).values
        return torch.where(best, weights.maximum(none), weights), of_edges

    patch.setattr(search, "mixture", raised)


def higher_ties(search, patch):
    """Of equals the higher operation and the higher edge."""

    def strongest(weights, counts):
        size, edges = weights.shape[1], len(weights)
        best = [size - 1 - int(row.flip(0).argmax()) for row in weights]
        kept = sorted(range(edges), key=lambda edge: (-weights[edge, best[edge]], -edge))[:2]
        return tuple(sorted(edge * size + best[edge] for edge in kept))

    patch.setattr(search, "_strongest", strongest)


def no_betas(search, patch):
    patch.setattr(search, "mixture", lambda: (search.architecture["alpha"].softmax(dim=1)[:, :-1], None))

"""Parts of a network whose inner values are computed again in the backward pass, instead of kept from the forward pass.

What a part does once and for all, such as moving running statistics or asking other processes, it does in
:func:`once`. The rest is arithmetic, whose second result is the first one's.
Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016).

torch.utils.checkpoint does the same, but keeps what it has computed again for operations that the backward pass leaves
out until all of that pass is over: the pass that reaches b alone leaves out much of the first cells.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Result = TypeVar("Result")


def recomputed(part: Callable[..., Result], *arguments: Any) -> Result:
    """``part(*arguments)``; only the arguments and the result are kept until the backward pass.

    The first argument is a tensor. The part draws no random numbers, and nothing changes its arguments later.
    """
    return _Call(part, arguments).run()


def runner(wanted: bool) -> Callable[..., Any]:
    """:func:`recomputed` where that is wanted and a backward pass may follow, a plain call otherwise."""
    return recomputed if wanted and torch.is_grad_enabled() else _called


def _called(part: Callable[..., Any], *arguments: Any) -> Any:
    return part(*arguments)


def once(compute: Callable[[], Result]) -> Result:
    """``compute()``, which is called in the forward pass alone; its repetitions get the same result.

    Between the passes the result is kept, so it should be small.
    """
    call = _running.get()
    if call is None:
        return compute()
    if not call.repeating:
        call.found.append(compute())
        return call.found[-1]
    call.num_found += 1
    return call.found[call.num_found - 1]


def repeating() -> bool:
    """Whether this is a repetition for the backward pass."""
    call = _running.get()
    return call is not None and call.repeating


class _DoneError(Exception):
    """All that the backward pass needs has been computed again."""


class _Call:
    """A part and its arguments. What autograd would keep has a number instead, by its place in the forward pass."""

    def __init__(self, part: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.part, self.arguments = part, arguments
        self.repeating, self.found, self.num_found = False, list[Any](), 0
        self.num_values, self.values = 0, dict[int, Tensor]()

    def run(self) -> Any:
        """The forward pass."""
        self.precision = _precision(self.arguments[0].device.type)
        token = _running.set(self)
        try:
            with saved_tensors_hooks(self._leave, self._take):
                return self.part(*self.arguments)
        finally:
            _running.reset(token)

    def _leave(self, value: Tensor) -> int:
        self.num_values += 1
        return self.num_values - 1

    def _take(self, number: int) -> Tensor:
        if number not in self.values:
            self._repeat()
        return self.values.pop(number)

    def _repeat(self) -> None:
        """Compute all values again.

        The backward pass has left the part that was repeated before, so what is there goes; if not, it is repeated.
        """
        last = _last.get()
        if last is not None and (call := last()) is not None:
            call.values.clear()
        _last.set(weakref.ref(self))
        self.values.clear()
        self.repeating, self.num_found = True, 0
        token = _running.set(self)
        try:
            with torch.enable_grad(), self.precision(), saved_tensors_hooks(self._keep, _never):
                self.part(*self.arguments)
        except _DoneError:
            pass
        finally:
            _running.reset(token)
            self.repeating = False

    def _keep(self, value: Tensor) -> None:
        self.values[len(self.values)] = value.detach()
        if len(self.values) == self.num_values:
            raise _DoneError


def _never(value: None) -> Tensor:
    raise AssertionError("a repetition has no backward pass of its own")


def _precision(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """What makes the present automatic precision again."""
    if device == "meta" or not torch.is_autocast_enabled(device):
        return nullcontext
    dtype = torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype)


# the backward pass of a GPU has a thread of its own, in which these are others
_running: ContextVar[_Call | None] = ContextVar("running", default=None)
_last: ContextVar[weakref.ref[_Call] | None] = ContextVar("last", default=None)

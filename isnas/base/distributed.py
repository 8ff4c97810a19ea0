"""Processes that train together: which one this is, and what they tell one another.

torch.distributed keeps the process group, so nothing is passed around; without one, every function here does what is
right for a process on its own.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from isnas.base import preemption
from isnas.base.errors import EXIT_PREEMPTED, LostContactError, PreemptedError, UserError, first_line
from isnas.base.launched import place, speaks_before_they_meet
from isnas.base.text import shown

Value = TypeVar("Value")

_FAREWELL_SECONDS = 5.0


def join(device: torch.device, timeout_minutes: float) -> None:
    """Meet the other processes, if there are any: gloo for tensors of the host, NCCL for those of GPUs.

    Raises:
        UserError: when they do not come together in time.
    """
    me = place()
    if me.world_size == 1 or dist.is_initialized():
        return
    # its functions keep, as defaults, the group there is when it is imported, which would then outlive its end
    from torch.distributed.nn import functional  # noqa: F401

    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    timeout = timedelta(minutes=timeout_minutes)
    try:
        store, _, _ = next(dist.rendezvous("env://", me.rank, me.world_size, timeout=timeout))
        store.set_timeout(timeout)
        _Store.of_all = dist.PrefixStore("isnas", store)
        group = dist.PrefixStore("group", store)
        dist.init_process_group(backend, store=group, rank=me.rank, world_size=me.world_size, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the {me.world_size} processes could not meet: {first_line(error)}") from None


class _Store:
    """What all processes can write to, also when a collective has failed."""

    of_all: dist.Store | None = None


def leave(code: int) -> None:
    """Part from the other processes at the end of the work, or with an exit code when it has failed.

    Rank 0 keeps what all can write to for as long as the others take to learn there that the user has been told. It
    does not return when there are others and ``code`` is not 0: their threads may never end.
    """
    number, size, store = rank(), world_size(), _Store.of_all
    if size == 1:
        return
    if code == 0:
        dist.destroy_process_group()
        return
    if code != EXIT_PREEMPTED:
        threading.Thread(target=dist.destroy_process_group, daemon=True).start()  # the others notice at once
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while number == 0 and store is not None and time.monotonic() < deadline and store.add("failed", 0) < size:
            time.sleep(0.05)
    os._exit(code)


def speaks(code: int) -> bool:
    """Whether this process is the one that tells the user why all end, as others may fail of the same."""
    return is_main() if code == EXIT_PREEMPTED else _first_to_fail()


def _first_to_fail() -> bool:
    if _Store.of_all is None:
        return speaks_before_they_meet()
    try:
        if place().rank:  # where it is gone with rank 0, asking it would fill the screen
            socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), timeout=5.0).close()
        return _Store.of_all.add("failed", 1) == 1
    except (OSError, RuntimeError):
        return place().rank == 1


@contextmanager
def collective() -> Iterator[None]:
    """A block in which the processes exchange something.

    Raises:
        LostContactError: when they cannot.
        PreemptedError: when they cannot, and a signal has asked this process to stop.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, LostContactError) or not _of_communication(error):
            raise
        said = first_line(error).split(". ")[0]
        reason = "it did not answer in time" if "imed out" in str(error) else "it has ended"
        if preemption.asked():  # the others have heard the signal too, some before their work began
            raise PreemptedError(
                f"stopped by {preemption.asked()} while the others ended; the run goes on from its last checkpoint, if "
                "there is one, with --resume"
            ) from None
        raise LostContactError(
            f"rank {rank()} has lost contact with another process ({reason}: {said}); the run goes "
            "on from its last checkpoint with --resume"
        ) from None


def _of_communication(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(
        word in str(error) for word in ("gloo", "NCCL", "onnection", "ocket")
    )


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes and recovers: rank 0."""
    return rank() == 0


def local_part(count: int) -> slice:
    """Which of ``count`` images in a row are this process's: equal parts, the first ones larger by one if need be."""
    size, larger = divmod(count, world_size())
    start = rank() * size + min(rank(), larger)
    return slice(start, start + size + (rank() < larger))


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Replace ``tensor`` by its sum over all processes."""
    if world_size() > 1:
        with collective():
            dist.all_reduce(tensor)
    return tensor


def copy_from_main(tensors: Iterable[Tensor]) -> None:
    """Give tensors of one device the values that they have on rank 0."""
    if world_size() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for group in by_type.values():
        flat = torch.cat([tensor.flatten() for tensor in group])
        with collective():
            dist.broadcast(flat, src=0)
        for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group])):
            tensor.copy_(part.view(tensor.shape))


def from_main(function: Callable[[], Value]) -> Value:
    """What ``function`` returns to rank 0, which alone calls it; it must be of plain values and tensors.

    Raises:
        UserError: on every process, when rank 0 gets one.
    """
    if world_size() == 1:
        return function()
    outcome: list[tuple[Value | None, str | None]] = [(None, None)]
    if is_main():
        try:
            outcome[0] = (function(), None)
        except (UserError, OSError) as error:
            outcome[0] = (None, str(error))
    with collective():
        dist.broadcast_object_list(outcome, src=0)
    value, message = outcome[0]
    if message is not None:
        raise UserError(message)
    return value  # type: ignore[return-value]


def gathered(value: Value) -> list[Value]:
    """What every process has given, by rank; plain values."""
    if world_size() == 1:
        return [value]
    values: list[Value | None] = [None] * world_size()
    with collective():
        dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def check_same(facts: Mapping[str, Any], remedy: str) -> None:
    """See that all processes have the same ``facts``, plain values by name, of which a process may not know each.

    Raises:
        UserError: on every process, when they differ: the first fact of which some processes have another value.
    """
    by_rank = gathered(dict(facts))
    for name in dict.fromkeys(name for each in by_rank for name in each):
        known = {number: each[name] for number, each in enumerate(by_rank) if name in each}
        first = min(known)
        others = [number for number, value in known.items() if value != known[first]]
        if others:
            more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
            raise UserError(
                f"the processes differ in {name}: {shown(known[first])} on rank {first}, {shown(known[others[0]])} on "
                f"rank {others[0]}{more}; {remedy}"
            )


class Agreement:
    """The largest wish of all processes, agreed on without waiting for any device.

    Every process calls it once a step. With others, it returns what was agreed on at the call before, which by then has
    mostly arrived, so that all processes do the same at the same step; a wish that this grants is not told again.
    """

    def __init__(self) -> None:
        self.wishes: Tensor | None = None
        self.work: dist.Work | None = None

    def __call__(self, wish: int) -> int:
        """Tell the others a wish, from 0 up, and learn the largest one."""
        if world_size() == 1:
            return wish
        agreed = 0
        if self.work is not None and self.wishes is not None:
            with collective():
                self.work.wait()
            agreed = int(self.wishes.item())
        self.wishes = torch.tensor([wish if wish > agreed else 0])
        with collective():
            self.work = dist.all_reduce(self.wishes, dist.ReduceOp.MAX, async_op=True)
        return agreed

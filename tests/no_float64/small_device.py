"""A device without float64, as Apple's MPS is one, whose kernels are the CPU's; its tensors have numbers.

``small:0`` is at torch's place for devices of others. A tensor of it wraps one of the host, where everything is
computed, after three checks: nothing is float64; nothing but scalars is on the host in an operation of both; and no
copy from the host reads numbers that may be gone when they are read. It belongs in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class _Backend(_DummyBackendModule):
    """What torch asks of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend("small", backend_module=_Backend())
SMALL = torch.device("small:0")


class OnDevice(Tensor):
    """A tensor of the device; ``inner`` has its numbers."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        if inner.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"this device has no {inner.dtype}")
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=SMALL,
        )
        made.inner = inner
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # as a file is read on a machine without the device

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnDevice({self.inner})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Creation(TorchDispatchMode):
    """Brings to the device what is made there, or copied to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if any(
            isinstance(leaf, OnDevice) or leaf == SMALL for leaf in leaves if isinstance(leaf, Tensor | torch.device)
        ):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


@contextmanager
def small_device() -> Iterator[torch.device]:
    """A block in which the device is there."""
    with _Creation():
        yield SMALL


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, OnDevice) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    if name in ("_to_copy", "copy_"):
        source = args[1] if name == "copy_" else args[0]
        there = args[0].device if name == "copy_" else kwargs.get("device") or source.device
        waits = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
        assert waits or isinstance(source, OnDevice) == (there.type == "small"), "a copy that nobody waits for"
        if name == "copy_":
            _inner(args[0]).copy_(_inner(source))
            return args[0]
        options = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking")}
        copied = func(_inner(source), **options)
        return OnDevice(copied) if there.type == "small" else copied
    for leaf in tree_leaves((args, kwargs)):
        if isinstance(leaf, Tensor) and not isinstance(leaf, OnDevice) and leaf.dim() and not name.endswith("_like"):
            raise RuntimeError(f"{func} of tensors on the device and on the host")
    own_args, own_kwargs = tree_map_only(OnDevice, _inner, (args, kwargs))
    if "device" in own_kwargs:
        own_kwargs = own_kwargs | {"device": torch.device("cpu")}
    out = tree_map_only(Tensor, OnDevice, func(*own_args, **own_kwargs))
    return return_and_correct_aliasing(func, args, kwargs, out)

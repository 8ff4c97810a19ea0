"""A CUDA device that is not there: tensors say ``cuda:0``, have sizes and layouts, and no numbers.

Every operation still checks that its tensors are on one device, so what a tool leaves on the CPU is found on a machine
without a GPU. What a device would compute, and how fast, cannot be seen; nor can cuDNN, streams and NCCL.

It changes torch for good, so it belongs in a process of its own, one that was started with the library made of
``accelerator_shim.cpp`` in LD_PRELOAD.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_TORCH = str(Path(torch.__file__).parent)
_CALLERS = ("/amp/", "/nn/", "/optim/", "/distributed/")


@dataclass(frozen=True)
class Wait:
    """A place where the host would wait for the device: a number or a tensor that is read back, or a blocking copy."""

    what: str
    caller: str
    line: str

    def __str__(self) -> str:
        return f"{self.what} at {self.line} through {self.caller}"


@dataclass(frozen=True)
class Upload:
    """A copy from the host to the device."""

    num_bytes: int
    pinned: bool
    non_blocking: bool


class Watch(TorchDispatchMode):
    """Answers what a fake tensor cannot, and takes down waits, uploads and the operations that ran on the device.

    ``.item()``, ``bool(tensor)`` and the like give ``number``, ``nonzero`` finds nothing; a CPU tensor whose value is
    known keeps it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.waits: list[Wait] = []
        self.uploads: list[Upload] = []
        self.convolved: list[Tensor] = []
        self.dtypes: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if func is torch.ops.aten._local_scalar_dense.default:
            return self._number(args[0])
        if func is torch.ops.aten.nonzero.default:
            self._wait("a size read back")
            return args[0].new_empty(0, args[0].dim(), dtype=torch.int64)
        out = func(*args, **kwargs)
        if name == "_to_copy":
            self._copy(args[0], out.device, kwargs.get("non_blocking", False))
        elif name == "copy_":
            self._copy(args[1], args[0].device, args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        elif name in ("convolution", "cudnn_convolution"):
            self.convolved.append(args[0])
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.device.type == "cuda":
                self.dtypes.setdefault(name, set()).add(tensor.dtype)
        return out

    def _number(self, tensor: Tensor) -> bool | int | float:
        if getattr(tensor, "constant", None) is not None:
            with no_dispatch():
                return tensor.constant.item()  # type: ignore[attr-defined]
        if tensor.device.type == "cuda":
            self._wait("a number read back")
        if tensor.dtype is torch.bool:
            return bool(self.number)
        return float(self.number) if tensor.is_floating_point() else self.number

    def _copy(self, source: Tensor, device: torch.device, non_blocking: bool) -> None:
        if source.device.type == "cpu" and device.type == "cuda":
            pinned = bool(getattr(source, "pinned", False))
            self.uploads.append(Upload(source.nbytes, pinned, non_blocking))
            if not non_blocking:
                self._wait("a blocking copy to the device")
        elif source.device.type == "cuda" and device.type == "cpu":
            self._wait("a tensor read back")

    def _wait(self, what: str) -> None:
        own, line, caller = "", 0, "/_tensor.py"
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and not own:
            name = frame.f_code.co_filename
            if not name.startswith(_TORCH) and name != __file__:
                own, line = name, frame.f_lineno
            elif name.removeprefix(_TORCH).startswith(_CALLERS):
                caller = name.removeprefix(_TORCH)
            frame = frame.f_back
        self.waits.append(Wait(what, f"torch{caller}", f"{Path(own).name}:{line}"))


def require_shim() -> None:
    """See that the answers of ``accelerator_shim.cpp`` are heard."""
    assert torch.accelerator.current_accelerator() is None, "the shim has no effect on this version of torch"


def _require_number(device: torch.device) -> None:
    """What ``torch.cuda.set_device`` refuses: a device that does not say which of the GPUs it is."""
    if torch.device(device).index is None:
        raise ValueError(f"expected a device with a number, not {device}")


@contextlib.contextmanager
def fake_cuda(num_gpus: int = 1) -> Iterator[Watch]:
    """A block in which ``cuda:0`` is there and tensors are fake."""
    require_shim()
    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: num_gpus,
        "current_device": lambda: 0,
        "set_device": _require_number,
        "synchronize": lambda *device: None,
        "max_memory_allocated": lambda *device: 0,
        "get_device_name": lambda *device: "fake",
        "get_device_capability": lambda *device: (9, 0),
        "is_bf16_supported": lambda **options: True,
    }
    with contextlib.ExitStack() as stack:
        for name, answer in cuda.items():
            stack.enter_context(patch.object(torch.cuda, name, answer))
        # autocast and GradScaler for CUDA otherwise switch themselves off, with a warning only
        stack.enter_context(patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False))
        # on a GPU optimisers take all parameters at once, if they are of types they know
        for module in map(importlib.import_module, ("torch.optim.optimizer", "torch.utils._foreach_utils")):
            known = [*module._foreach_supported_types, FakeTensor]
            stack.enter_context(patch.object(module, "_foreach_supported_types", known))
        # otherwise fake tensors would make the device they follow
        stack.enter_context(patch.object(FakeTensorMode, "avoid_device_init", property(lambda self: True)))
        # Module.to swaps parameters only when nothing else refers to them; the mode's own references do not count
        own = types.SimpleNamespace(
            getweakrefs=lambda t: [r for r in weakref.getweakrefs(t) if not isinstance(r, weakref.KeyedRef)]
        )
        stack.enter_context(patch.object(torch.utils, "weakref", own))
        stack.enter_context(patch.object(FakeTensorMode, "__deepcopy__", lambda self, memo: self, create=True))
        stack.enter_context(patch.object(torch.Tensor, "pin_memory", _pin))
        stack.enter_context(patch.object(torch.Tensor, "numpy", _numpy))
        fused_sgd = torch.library.Library("aten", "IMPL", "Meta")  # the one optimiser step without a rule for sizes
        fused_sgd.impl("_fused_sgd_", lambda *tensors, **options: None)
        stack.callback(fused_sgd._destroy)
        stack.enter_context(FakeTensorMode())
        yield stack.enter_context(Watch())


def _pin(tensor: Tensor) -> Tensor:
    pinned = tensor.clone()
    pinned.pinned = True  # type: ignore[attr-defined]
    return pinned


_numbers = np.random.default_rng(0)


def _numpy(tensor: Tensor) -> np.ndarray:
    """Numbers in place of those a fake tensor does not have, others at every call, so that supports change."""
    assert tensor.device.type == "cpu", "a tensor of the device has no numpy()"
    shape = tuple(tensor.shape)
    for i, array in enumerate(_known):
        if array.shape == shape:
            return _known.pop(i).copy()
    if tensor.dtype is torch.uint8:
        return _numbers.integers(256, size=shape, dtype=np.uint8)
    assert tensor.dtype is torch.float64
    return _numbers.standard_normal(shape)


_known: list[np.ndarray] = []


@contextlib.contextmanager
def known_numbers(arrays: Sequence[np.ndarray]) -> Iterator[None]:
    """A block in which ``numpy()`` of a tensor gives the first of ``arrays`` with its shape, each array once."""
    _known[:] = arrays
    yield
    _known.clear()

"""What a run has used and will need: a progress bar on a terminal, the time that is left, the peak of its memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from isnas.base.bars import bar

_WARM_UP_STEPS = 3


def progress(first: int, total: int, description: str) -> Iterator[int]:
    """The steps ``first .. total - 1``, with a bar on a terminal and nothing otherwise."""
    return bar(range(first, total), description, total, first)


class Clock:
    """Estimates the time left from the steps done since it was made; the first few do not count."""

    def __init__(self) -> None:
        self.steps = 0
        self.start = time.monotonic()

    def tick(self) -> None:
        """A step is done."""
        self.steps += 1
        if self.steps == _WARM_UP_STEPS:
            self.start = time.monotonic()

    def left(self, steps_left: int) -> str | None:
        """Time for ``steps_left`` steps as ``h:mm:ss``, or None while it is too early to say."""
        measured = self.steps - _WARM_UP_STEPS
        if measured < 5:
            return None
        return duration((time.monotonic() - self.start) / measured * steps_left)


def duration(seconds: float) -> str:
    """``h:mm:ss``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def peak_memory(device: torch.device) -> tuple[float, str] | None:
    """The most memory this process has held so far, in GiB, and what was measured; None where it cannot be.

    On CUDA the tensors' memory on the device, otherwise the resident set of the process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30, "tensors on the device"
    try:
        with open("/proc/self/status", encoding="utf-8") as file:  # Linux's getrusage may give a parent process's peak
            kibibytes = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
            return kibibytes / 2**20, "resident set"
    except (OSError, StopIteration):
        pass
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30, "resident set"  # bytes on macOS
    except ImportError:
        return None

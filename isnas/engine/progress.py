"""A progress bar where there is a terminal, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

_WARM_UP_STEPS = 3


def progress(first: int, total: int, description: str) -> Iterator[int]:
    """The steps ``first .. total - 1``, with a bar on a terminal and nothing otherwise."""
    steps = range(first, total)
    return iter(tqdm(steps, desc=description, initial=first, total=total, leave=False, disable=not sys.stderr.isatty()))


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
        seconds = round((time.monotonic() - self.start) / measured * steps_left)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

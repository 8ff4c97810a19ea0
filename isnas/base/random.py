"""Named random generators: every draw is a function of the run's seed and a name, never of a global state.

A name may hold counters, as in ``generator(seed, "augment", epoch, step)``, so a run that is resumed at that
step draws the same numbers and a checkpoint needs the seed and the counters alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *name: str | int) -> int:
    """A 63-bit seed for the generator ``name`` of the run ``seed`` (SHA-256 of both)."""
    text = repr((seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *name: str | int) -> torch.Generator:
    """A CPU generator that depends on ``seed`` and ``name`` alone."""
    return torch.Generator().manual_seed(derive_seed(seed, *name))


@contextmanager
def initialising(seed: int, *name: str | int) -> Iterator[None]:
    """A block whose modules draw their initial weights from the generator ``name``; torch offers no other way in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, *name))
        yield

"""Named random generators: every draw is a function of the run's seed and a name, never of a global state.

A name may hold counters, as in ``generator(seed, "augment", epoch, step)``, so a run that is resumed at that
step draws the same numbers and a checkpoint needs the seed and the counters alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *name: str | int) -> int:
    """A 63-bit seed for the generator ``name`` of the run ``seed`` (SHA-256 of both)."""
    text = repr((seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *name: str | int) -> torch.Generator:
    """A CPU generator that depends on ``seed`` and ``name`` alone."""
    import torch  # takes seconds, and whoever draws nothing does without

    return torch.Generator().manual_seed(derive_seed(seed, *name))


@contextmanager
def global_draws(seed: int, *name: str | int) -> Iterator[None]:
    """A block in which torch's global CPU generator is the generator ``name``, for what can draw from no other.

    Initial weights and torchvision's transforms are such. The state from before comes back at the end; the generators
    of other devices are left alone.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, *name))
        yield


#: :func:`global_draws` where modules draw their initial weights.
initialising = global_draws

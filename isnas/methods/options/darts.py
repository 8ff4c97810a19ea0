"""The options of DARTS."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.options import option
from isnas.methods.options.mixed import MixedOptions


@dataclass(frozen=True)
class DartsOptions(MixedOptions):
    """The original's settings for CIFAR-10."""

    batch_size: int = option(64, "images per step", minimum=1, maximum=10**6)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    learning_rate_min: float = option(0.001, "SGD's learning rate after the last epoch", minimum=0.0, maximum=1e6)
    arch_learning_rate: float = option(3e-4, "Adam's learning rate for alpha", above=0.0, maximum=1e6)

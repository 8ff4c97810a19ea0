"""The options of random search."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.options import option
from isnas.engine.harness_options import SearchOptions
from isnas.methods.options.limits import LimitOptions


@dataclass(frozen=True)
class RandomSearchOptions(LimitOptions, SearchOptions, title="Random search"):
    """The settings of the random search that DARTS compares with: 24 architectures, 100 epochs each."""

    draws_distinct = True
    samples: int = option(24, "architectures that are trained", minimum=1, maximum=10**6)
    epochs: int = option(100, "passes over the training images for each of them", minimum=1, maximum=10**6)
    batch_size: int = option(64, "images per step", minimum=1, maximum=10**6)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    learning_rate_min: float = option(0.001, "SGD's learning rate after the last epoch", minimum=0.0, maximum=1e6)

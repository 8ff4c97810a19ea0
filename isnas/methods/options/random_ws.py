"""The options of random search with weight sharing."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.options import option
from isnas.engine.harness_options import SearchOptions


@dataclass(frozen=True)
class RandomWSOptions(SearchOptions, title="Random search with shared weights"):
    """The settings of Li and Talwalkar, but for a batch of 64 at C = 16 and 50 epochs, DARTS's cost."""

    batch_size: int = option(64, "images per step", minimum=1, maximum=10**6)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    learning_rate_min: float = option(0.001, "SGD's learning rate after the last epoch", minimum=0.0, maximum=1e6)
    grad_clip: float = option(1.0, "largest norm of the weights' gradient", above=0.0, maximum=1e30)
    draws_distinct = True
    none_operation: bool = option(True, "draw `none`, which leaves a connection out, as often as any operation")
    samples: int = option(1000, "architectures that are measured in a round", minimum=1, maximum=10**6)
    sample_batches: int = option(10, "batches on which each of them is measured", minimum=1, maximum=10**6)
    finalists: int = option(
        10, "best ones of a round, which are measured on all images that choose", minimum=1, maximum=10**6
    )
    rounds: int = option(0, "rounds; 0: one for every 10,000 steps, but one at least", minimum=0, maximum=1000)

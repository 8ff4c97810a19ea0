"""The options of the estimate of a step's memory."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.options import option
from isnas.engine.harness_options import HarnessOptions


@dataclass(frozen=True)
class MemoryOptions(HarnessOptions, title="Estimate"):
    """What is estimated, beside the method's own settings."""

    batch_sizes: tuple[int, ...] = option(
        (), "sizes of a batch over all GPUs; none means the config's", minimum=1, maximum=10**6
    )
    gpus: int = option(1, "GPUs among which a batch is divided", minimum=1, maximum=10**4)
    topologies: int = option(1, "random architectures beside the heaviest", minimum=0, maximum=10**4)
    num_classes: int | None = option(None, "classes of images of one's own", minimum=1, maximum=10**6)

"""The options of Table 1 of ISTA-NAS."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.paper_figures import TABLE1
from isnas.analysis.report import ReportOptions
from isnas.base.options import option

#: The methods of its lines.
MEASURABLE = tuple(dict.fromkeys(method for _, method, *_ in TABLE1))


@dataclass(frozen=True)
class Table1Options(ReportOptions, title="Steps"):
    """What is measured, and where."""

    methods: tuple[str, ...] = option(MEASURABLE, "methods that are measured", choices=MEASURABLE)
    init_channels: int = option(16, "C of the super-net", minimum=1, maximum=4096)
    layers: int = option(8, "cells of the super-net", minimum=3, maximum=1000)
    image_size: int = option(32, "side of the images", minimum=8, maximum=1024)
    batch_scale: float = option(1.0, "share of a batch whose steps are timed", above=0.0, maximum=1.0)
    steps: int = option(10, "steps that are timed", minimum=1, maximum=10**5)
    warm_up: int = option(3, "steps before them", minimum=0, maximum=10**5)
    topologies: int = option(
        3, "random architectures that are measured where a step runs a part of the super-net", minimum=1, maximum=1000
    )
    device: str = option("auto", "cpu, cuda, cuda:N, or auto: cuda if it is there")
    threads: int = option(0, "CPU threads; 0 leaves it to torch", minimum=0, maximum=1024)
    seed: int = option(0, "decides images, weights and architectures", minimum=0, maximum=2**63 - 1)

"""The options of Kendall's tau."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import RunsOptions
from isnas.base.options import option


@dataclass(frozen=True)
class KendallOptions(RunsOptions, title="Correlation"):
    """Which runs, and what is paired."""

    runs: tuple[str, ...] = option(
        (), "run folders of searches, and of trainings of what they found", positional=True, path=True
    )
    pairs: str = option(
        "final",
        "final: what each seed found, with its accuracy in the search; epochs: the architecture of every epoch",
        choices=("final", "epochs"),
    )
    resamples: int = option(2000, "samples of the bootstrap", minimum=100, maximum=10**6)
    level: float = option(0.95, "of the interval", above=0.0, below=1.0)
    seed: int = option(0, "decides the samples of the bootstrap", minimum=0, maximum=2**63 - 1)

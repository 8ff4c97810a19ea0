"""The options of the question what epsilon does."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import RunsOptions
from isnas.base.options import option


@dataclass(frozen=True)
class EpsilonOptions(RunsOptions, title="Replay"):
    """Which runs, and which epsilons are replayed."""

    epsilons: tuple[float, ...] = option(
        (1e-2, 1e-3, 1e-4), "replayed on the distances of the runs in which no node terminated", above=0.0, maximum=1e6
    )

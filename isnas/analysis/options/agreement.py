"""The options of the agreement of seeds."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import RunsOptions
from isnas.base.options import option


@dataclass(frozen=True)
class AgreementOptions(RunsOptions, title="Random cells"):
    """Which searches, and how random cells are drawn."""

    draws: int = option(1000, "sets of random cells that are simulated", minimum=10, maximum=10**6)
    seed: int = option(0, "decides the random cells", minimum=0, maximum=2**63 - 1)

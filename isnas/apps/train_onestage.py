"""Search and train a network in one run with one-stage ISTA-NAS (NeurIPS 2020, Algorithm 2).

Leaves an ordinary trained network, its coefficients absorbed; see docs/one_stage.md.
"""

from __future__ import annotations

from pathlib import Path

from isnas.apps.console import COMMANDS
from isnas.methods.registry import parse_run


def main(argv: list[str]) -> Path:
    """One run, or one per seed; its folder."""
    about = COMMANDS["train_onestage"].about
    _, options = parse_run(argv, ("one_stage",), "one_stage", about)

    from isnas.analysis.selection import train_seeds
    from isnas.methods.one_stage import OneStage

    return train_seeds(OneStage, options)

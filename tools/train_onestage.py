"""Search and train a network in one run with one-stage ISTA-NAS (NeurIPS 2020, Algorithm 2).

Leaves an ordinary trained network, its coefficients absorbed; see docs/one_stage.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.base.errors import run_tool
from isnas.base.preemption import begin

if __name__ == "__main__":
    begin(trains=True)

from isnas.analysis.selection import train_seeds
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import parse_run


def main(argv: list[str]) -> None:
    """One run, or one per seed."""
    description = "Search and train a network with one-stage ISTA-NAS."
    _, options = parse_run(argv, ("one_stage",), "one_stage", description)
    train_seeds(OneStage, options)


if __name__ == "__main__":
    run_tool(main)

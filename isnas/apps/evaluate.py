"""Train the target network of an architecture and test it: the second stage, as the DARTS family does it.

Writes a run folder with the log, the trained network (weights.pt), its test error and curves; see docs/evaluate.md.
"""

from __future__ import annotations

from pathlib import Path

from isnas.apps.console import COMMANDS
from isnas.methods.languages import LANGUAGE_TRAININGS, RECURRENT, is_of_text, parse_language
from isnas.methods.registry import parse_run


def main(argv: list[str]) -> Path:
    """One training, or one per seed; the run's folder."""
    about = COMMANDS["evaluate"].about
    if is_of_text(argv):
        kind, language = parse_language(argv, LANGUAGE_TRAININGS, "evaluation", about)
        from isnas.analysis.language_runs import train_text

        return train_text(kind, language)
    _, options = parse_run(argv, ("evaluation",), "evaluation", about, others=[RECURRENT])
    options = options.self_contained()

    from isnas.analysis.selection import train_seeds
    from isnas.methods.evaluation import Evaluation

    return train_seeds(Evaluation, options)

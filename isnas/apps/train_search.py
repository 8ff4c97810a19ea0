"""Search a cell: two-stage ISTA-NAS (NeurIPS 2020, Algorithm 1), or another method by --method.

Writes a run folder with the genotype, its picture, the log and checkpoints; see docs/two_stage.md.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from isnas.apps.console import COMMANDS
from isnas.methods.languages import LANGUAGE_SEARCHES, RECURRENT, is_of_text, parse_language
from isnas.methods.registry import SEARCHES, parse_run


def main(argv: list[str]) -> Path:
    """One search, or one per seed and the selection of the best; the run's folder."""
    about = COMMANDS["train_search"].about
    if is_of_text(argv):
        kind, language = parse_language(argv, LANGUAGE_SEARCHES, "conas", about)
        from isnas.analysis.language_runs import search_text

        return search_text(kind, language)
    method, options = parse_run(argv, SEARCHES, "two_stage", about, others=[RECURRENT])

    from isnas.analysis.selection import select_best
    from isnas.engine.search import search
    from isnas.engine.seeds import run_seeds

    run = partial(search, SEARCHES[method])
    if not options.seeds:
        return run(options)
    return select_best(run_seeds(options, "search", run, result="genotype.json"))

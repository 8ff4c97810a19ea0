"""The best of the seeds of a search, and all of them in a table; the trainings of a cell likewise.

ISTA-NAS, supplement 1.2: repeat the search 5 times and take the architecture with the best validation accuracy.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from isnas.analysis.summary import (
    EvaluationSummary,
    SearchSummary,
    evaluations_table,
    seeds_table,
    settings_table,
    summarize_evaluation,
    summarize_search,
)
from isnas.base.errors import UserError
from isnas.base.files import replacing, write_json, write_text
from isnas.engine.harness_options import NetworkTrainingOptions, SearchOptions
from isnas.engine.method import TrainingMethod
from isnas.engine.next_commands import after_search, after_training
from isnas.engine.seeds import SeedRuns, in_order, in_words, run_seeds
from isnas.engine.training import train

Summary = TypeVar("Summary", SearchSummary, EvaluationSummary)


def select_best(runs: SeedRuns) -> Path:
    """Write ``table.md`` and ``seeds.json`` over all seeds, and the files of the best one into ``best/``.

    Returns the folder of them all.

    The best has the highest validation accuracy; of equal ones the lower seed.

    Raises:
        UserError: when a seed has failed; the others are in the table all the same.
    """
    group, options = runs.group, runs.group.options
    assert isinstance(options, SearchOptions)
    summaries = list(_summaries(runs, summarize_search).values())
    if summaries:
        best = max(summaries, key=lambda row: row.valid_acc)
        copy_result(runs.finished[f"seed-{best.seed}"], group.folder / "best")
        table = seeds_table(summaries, best.seed, options.make_space().derived_name)
        write_json(group.folder / "seeds.json", {"best": best.seed, "seeds": [asdict(row) for row in summaries]})
        write_text(group.folder / "table.md", table)
        for line in table.splitlines():
            group.log(line)
        group.log(f"best seed {best.seed}: {group.folder / 'best' / 'genotype.json'}")
    runs.close(after_search(group.folder, options))
    return group.folder


def train_seeds(kind: type[TrainingMethod[Any]], options: NetworkTrainingOptions) -> Path:
    """One training by the method ``kind``, or one for each of the seeds or settings and the table of all.

    Returns the run's folder, or that of them all.
    """
    run = partial(train, kind)
    if not options.parts():
        return run(options)
    return report_evaluations(run_seeds(options, kind.folder, run, result="result.json"))


def report_evaluations(runs: SeedRuns) -> Path:
    """Write ``table.md`` over all seeds or settings of an evaluation; there is no best one to choose by its test error.

    Returns the folder of them all.

    Raises:
        UserError: when one has failed; the others are in the table all the same.
    """
    group = runs.group
    summaries = _summaries(runs, lambda seed, folder: summarize_evaluation(folder))
    if summaries:
        of_seeds = f"{evaluations_table(list(summaries.values())).body()}\n"
        table = of_seeds if group.options.seeds else settings_table(summaries)
        write_text(group.folder / "table.md", table)
        for name, row in summaries.items():
            group.log(f"{in_words(name)} test_error {row.test_error:.6f}")
        for line in table.splitlines():
            group.log(line)
    first = in_order(runs.finished)[:1]
    runs.close([command for name in first for command in after_training(runs.finished[name])])
    return group.folder


def _summaries(runs: SeedRuns, summarize: Callable[[int, Path], Summary]) -> dict[str, Summary]:
    """Of the runs that have ended, by name, but for those whose files are damaged, which have failed."""
    summaries = {}
    for name in in_order(runs.finished):
        folder = runs.finished[name]
        try:
            summaries[name] = summarize(int(name.rpartition("-")[2]), folder)
        except UserError as error:
            runs.failed[name] = f"{error}; remove {folder} to run it anew"
            runs.group.log(f"{in_words(name)} failed: {runs.failed[name]}")
    return summaries


def copy_result(run: Path, best: Path) -> None:
    """The files of a result, genotype.json last: while it is there, it belongs to the others."""
    best.mkdir(exist_ok=True)
    (best / "genotype.json").unlink(missing_ok=True)
    for path in sorted([*run.glob("*.png"), *run.glob("*.svg"), run / "weights.pt"]):
        with replacing(best / path.name) as temporary:
            shutil.copyfile(path, temporary)
    with replacing(best / "genotype.json") as temporary:
        shutil.copyfile(run / "genotype.json", temporary)

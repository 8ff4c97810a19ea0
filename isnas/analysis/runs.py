"""Tables over run folders: searches with the spread of searching, trainings with the spread of training."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from isnas.analysis.language_summary import (
    LanguageSearch,
    LanguageTraining,
    language_searches_table,
    language_trainings_table,
)
from isnas.analysis.options.runs import SummaryOptions
from isnas.analysis.pages import kind_of_options, page_of
from isnas.analysis.report import Report, left_out
from isnas.analysis.summary import EvaluationSummary, SearchSummary, evaluations_table, finished_runs, searches_table
from isnas.analysis.tables import Table
from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.base.text import printable
from isnas.engine.run_files import RunFiles

FAULTS_TITLE = "Left out of the tables:"


def analyse(options: SummaryOptions) -> Report:
    """Read the folders and put them into tables; a run that is in several of them counts once.

    A run whose files are damaged is left out of the tables, and named below them and in the end.

    Raises:
        UserError: when no run is left.
    """
    searches: dict[str, list[SearchSummary]] = {}
    evaluations: list[EvaluationSummary] = []
    on_text: dict[str, list[LanguageSearch]] = {}
    models: list[LanguageTraining] = []
    seen: set[Path] = set()
    faults: list[str] = []
    named: dict[str, Path] = {}
    for name in bar(options.runs, "reading runs", delay=SOON):
        summaries = {folder: s for folder, s in finished_runs(Path(name)).items() if folder not in seen}
        seen |= summaries.keys()
        for folder, summary in summaries.items():
            if not isinstance(summary, UserError):
                named[name if folder == Path(name).resolve() else str(Path(name, folder.name))] = folder
        faults += [str(summary) for summary in summaries.values() if isinstance(summary, UserError)]
        evaluations += [summary for summary in summaries.values() if isinstance(summary, EvaluationSummary)]
        if found := [summary for summary in summaries.values() if isinstance(summary, SearchSummary)]:
            searches[name] = found
        models += [summary for summary in summaries.values() if isinstance(summary, LanguageTraining)]
        if text_found := [summary for summary in summaries.values() if isinstance(summary, LanguageSearch)]:
            on_text[name] = text_found
    parts: list[Table | str] = []
    if searches:
        parts.append(searches_table(searches))
    if evaluations:
        seconds = {row.hash: row.seconds for rows in searches.values() for row in rows}
        parts.append(evaluations_table(evaluations, seconds))
    if on_text:
        parts.append(language_searches_table(on_text))
    if models:
        seconds = {row.hash: row.seconds for each in on_text.values() for row in each}
        parts.append(language_trainings_table(models, seconds))
    if faults and not parts:
        raise UserError(left_out(faults))
    if faults:
        parts += ["\n".join([FAULTS_TITLE, "", *(f"- {printable(fault)}" for fault in faults)])]
    values = {
        "searches": {name: [asdict(row) for row in rows] for name, rows in searches.items()},
        "trainings": [asdict(row) for row in evaluations],
        "language_searches": {name: [asdict(row) for row in each] for name, each in on_text.items()},
        "language_trainings": [asdict(row) for row in models],
        "left_out": faults,
    }
    report = Report.of(parts, values)
    files = {name: RunFiles(folder, kind_of_options(folder)) for name, folder in named.items()}
    page = partial(page_of, files, report.tables)
    answer = replace(report, faults=tuple(faults), page=page)
    if not options.curves:
        return answer
    alone = ("one run has no others to lie over; its own folder has its curves",) if len(files) == 1 else ()
    metrics = {name: each.metrics for name, each in files.items()}
    return replace(answer, draw=partial(draw_curves, metrics), warnings=alone)


def draw_curves(metrics: dict[str, list[dict[str, Any]]], folder: Path) -> list[Path]:
    """Write ``curves.png`` and ``curves.svg``: the runs over one another, as far as they have figures in common."""
    from isnas.draw.training_curves import draw_overlay  # matplotlib is slow to import

    return draw_overlay(metrics, folder)

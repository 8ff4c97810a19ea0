"""Tables over run folders: searches with the spread of searching, trainings with the spread of training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from isnas.analysis.language_summary import (
    LanguageSearch,
    LanguageTraining,
    language_searches_table,
    language_trainings_table,
)
from isnas.analysis.report import Report, RunsOptions, left_out
from isnas.analysis.summary import EvaluationSummary, SearchSummary, evaluations_table, finished_runs, searches_table
from isnas.analysis.tables import Table
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.text import printable

FAULTS_TITLE = "Left out of the tables:"


@dataclass(frozen=True)
class SummaryOptions(RunsOptions):
    """What is summarised."""

    runs: tuple[str, ...] = option(
        (), "run folders of searches and evaluations, in any order", positional=True, path=True
    )


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
    for name in options.runs:
        summaries = {folder: s for folder, s in finished_runs(Path(name)).items() if folder not in seen}
        seen |= summaries.keys()
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
    return replace(Report.of(parts, values), faults=tuple(faults))

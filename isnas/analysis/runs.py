"""Tables over run folders: searches with the spread of searching, trainings with the spread of training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from isnas.analysis.report import Report, RunsOptions
from isnas.analysis.summary import EvaluationSummary, SearchSummary, evaluations_table, finished_runs, searches_table
from isnas.base.options import option

SEARCHES_TITLE = "Searches: mean ± standard deviation over the seeds of the search."
TRAININGS_TITLE = "Trainings: test error after the last epoch, mean ± standard deviation over trainings of a cell."


@dataclass(frozen=True)
class SummaryOptions(RunsOptions):
    """What is summarised."""

    runs: tuple[str, ...] = option((), "run folders of searches and evaluations, in any order", positional=True)


def analyse(options: SummaryOptions) -> Report:
    """Read the folders and put them into tables; a run that is in several of them counts once."""
    searches: dict[str, list[SearchSummary]] = {}
    evaluations: list[EvaluationSummary] = []
    seen: set[Path] = set()
    for name in options.runs:
        summaries = {folder: s for folder, s in finished_runs(Path(name)).items() if folder not in seen}
        seen |= summaries.keys()
        evaluations += [summary for summary in summaries.values() if isinstance(summary, EvaluationSummary)]
        if found := [summary for summary in summaries.values() if isinstance(summary, SearchSummary)]:
            searches[name] = found
    parts = []
    if searches:
        parts += [SEARCHES_TITLE, searches_table(searches)]
    if evaluations:
        seconds = {row.hash: row.seconds for rows in searches.values() for row in rows}
        parts += [TRAININGS_TITLE, evaluations_table(evaluations, seconds)]
    values = {
        "searches": {name: [asdict(row) for row in rows] for name, rows in searches.items()},
        "trainings": [asdict(row) for row in evaluations],
    }
    return Report("\n\n".join(part.rstrip("\n") for part in parts) + "\n", values)

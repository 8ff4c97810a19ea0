"""Tables over run folders: searches with the spread of searching, trainings with the spread of training."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.analysis.summary import (
    EvaluationSummary,
    SearchSummary,
    evaluations_table,
    finished_runs,
    searches_table,
)
from isnas.base.errors import UserError, run_tool
from isnas.base.options import option, parse


@dataclass(frozen=True)
class SummarizeOptions:
    """What is summarised."""

    runs: tuple[str, ...] = option((), "run folders of searches and evaluations, in any order", positional=True)


def main(argv: list[str]) -> None:
    """Print the tables of the folders in ``argv``."""
    options = parse(SummarizeOptions, argv, "Summarise searches and evaluations.")
    if not options.runs:
        raise UserError("give one run folder or more, of train_search.py or evaluate.py")
    searches: dict[str, list[SearchSummary]] = {}
    evaluations: list[EvaluationSummary] = []
    seen: set[Path] = set()
    for name in options.runs:
        summaries = {folder: s for folder, s in finished_runs(Path(name)).items() if folder not in seen}
        seen |= summaries.keys()
        evaluations += [summary for summary in summaries.values() if isinstance(summary, EvaluationSummary)]
        if found := [summary for summary in summaries.values() if isinstance(summary, SearchSummary)]:
            searches[name] = found
    if searches:
        print("Searches: mean ± standard deviation over the seeds of the search.\n")
        print(searches_table(searches))
    if evaluations:
        seconds = {row.hash: row.seconds for rows in searches.values() for row in rows}
        print("Trainings: test error after the last epoch, mean ± standard deviation over trainings of a cell.\n")
        print(evaluations_table(evaluations, seconds))


if __name__ == "__main__":
    run_tool(main)

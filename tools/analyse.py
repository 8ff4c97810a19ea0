"""Questions to run folders: ``python tools/analyse.py COMMAND RUN...`` prints a table and, with --output, keeps it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.analysis import epsilon
from isnas.analysis.report import Report, ReportOptions
from isnas.base.errors import run_tool
from isnas.base.files import output_folder, write_json, write_text
from isnas.base.options import parse, parse_command


@dataclass(frozen=True)
class Analysis:
    """A command: what it answers, its options, and what makes the report of them."""

    question: str
    options: type[ReportOptions]
    analyse: Callable[[Any], Report]


ANALYSES = {
    "epsilon": Analysis(
        "what epsilon and the learning rates do to one-stage runs: terminations and architectures",
        epsilon.EpsilonOptions,
        epsilon.analyse,
    )
}


def main(argv: list[str]) -> None:
    """Answer the question that ``argv`` names."""
    questions = {name: analysis.question for name, analysis in ANALYSES.items()}
    command, flags = parse_command(questions, argv, "Questions to run folders.")
    analysis = ANALYSES[command]
    options = parse(analysis.options, flags, f"Answers {analysis.question}.", command)
    report = analysis.analyse(options)
    print(report.text)
    if options.output:
        folder = output_folder(options.output)
        pictures = report.draw(folder)
        write_json(folder / f"{command}.json", report.values)
        write_text(folder / "table.md", report.text)
        print(f"written to {folder}: table.md {command}.json {' '.join(path.name for path in pictures)}")


if __name__ == "__main__":
    run_tool(main)

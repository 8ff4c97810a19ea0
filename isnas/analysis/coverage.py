"""How many different architectures a search passes in its epochs (ISTA-NAS, rebuttal to reviewer 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from isnas.analysis.options.coverage import CoverageOptions
from isnas.analysis.report import Report
from isnas.analysis.search_runs import SearchRun, grouped, paper_name, read_all, require
from isnas.analysis.tables import Table, with_spread
from isnas.base.errors import UserError

#: The rebuttal: means over 3 searches of 50 epochs on CIFAR-10. It does not say which order DARTS's is.
PAPER = {"DARTS (1st order)": 35.7, "Two-stage ISTA-NAS": 34.3}
TITLE = (
    "Distinct architectures among those to which the updates of each epoch led, {epochs} in all: the one before any "
    "update is not counted, and the order of a node's connections means nothing. Mean ± standard deviation over seeds; "
    "the paper's (rebuttal) are of 50 epochs on CIFAR-10, 3 searches."
)


@dataclass(frozen=True)
class Coverage:
    """Of every seed of a search, how many distinct architectures there were by the end of each epoch."""

    search: str
    images: str
    seeds: tuple[int, ...]
    distinct: tuple[tuple[int, ...], ...]
    paper: float | None

    @property
    def in_all(self) -> list[float]:
        """Per seed, those of all epochs."""
        return [float(counts[-1]) for counts in self.distinct]


def analyse(options: CoverageOptions) -> Report:
    """Count the architectures of the searches.

    Raises:
        UserError: when one has fewer epochs than are to be counted.
    """
    searches = read_all(options.runs).searches
    require(searches, "a search")
    shortest = min(searches, key=lambda run: len(run.learnt))
    epochs = options.epochs or len(shortest.learnt)
    if not 0 < epochs <= len(shortest.learnt):
        raise UserError(
            f"{shortest.folder} has {len(shortest.learnt)} epochs to count; give --epochs {len(shortest.learnt)} or "
            "fewer, or leave it out"
        )
    found = [cover(name, runs, epochs) for name, runs in grouped(searches).items()]
    rows = [
        [
            *(each.search, each.images, str(len(each.seeds)), with_spread(each.in_all, 1)),
            " ".join(f"{count:g}" for count in each.in_all),
            "" if each.paper is None else f"{each.paper:g}",
        ]
        for each in found
    ]
    header = ["search", "images", "n", f"distinct in {epochs} epochs", "each seed", "paper, 50 epochs"]
    table = Table("coverage", TITLE.format(epochs=epochs), header, rows, 2)
    return Report.of([table], {"epochs": epochs, "searches": [asdict(e) for e in found]}, partial(draw, found))


def cover(name: str, runs: Sequence[SearchRun], epochs: int) -> Coverage:
    """The counts of the seeds of a search."""
    distinct = tuple(_distinct([each.hash for each in run.learnt[:epochs]]) for run in runs)
    paper = PAPER.get(paper_name(runs[0].config))
    return Coverage(name, str(runs[0].config["dataset"]), tuple(run.seed for run in runs), distinct, paper)


def _distinct(hashes: Sequence[str]) -> tuple[int, ...]:
    return tuple(len(set(hashes[: number + 1])) for number in range(len(hashes)))


def draw(found: Sequence[Coverage], folder: Path) -> list[Path]:
    """Write ``coverage.png`` and ``coverage.svg``: the counts against the epochs, a line per seed."""
    from isnas.draw.lines import Line, LinePanel, draw_lines  # matplotlib is slow to import

    lines = [Line(each.search, range(1, len(counts) + 1), counts) for each in found for counts in each.distinct]
    return draw_lines([LinePanel("", lines, "epoch", "distinct architectures")], folder, "coverage")

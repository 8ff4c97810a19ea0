"""Figure 2 of ISTA-NAS: the accuracy of super-nets over their searches, and search and training as one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from isnas.analysis.options.figure2 import Figure2Options
from isnas.analysis.reading import cannot_read, number, percent, read_lines
from isnas.analysis.report import Report
from isnas.analysis.search_runs import Runs, SearchRun, grouped, read_all, require
from isnas.analysis.tables import Table, with_spread

if TYPE_CHECKING:
    from isnas.draw.lines import Line

#: Methods that have no super-net apart from the networks they train.
NO_SUPER_NET = ("one_stage", "random")
LEFT_TITLE = (
    "Figure 2, left: accuracy of the super-net, in %, on the images that choose, after every epoch of the search; "
    "mean ± standard deviation over seeds. `largest fall`: from an epoch to the next, the less the steadier (the paper "
    "calls ISTA-NAS at batch 256 the most stable, without a figure)."
)
RIGHT_TITLE = (
    "Figure 2, right: a search and the training of what it found, one after the other, and one-stage runs, which are "
    "both in one; test accuracy at the end. The paper's one-stage search terminates after about 10 GPU-hours "
    "(section 4.2, GTX 1080Ti)."
)


@dataclass(frozen=True)
class Course:
    """Accuracies (percent) after the epochs of the seeds of a search, as far as all have come."""

    search: str
    images: str
    seeds: tuple[int, ...]
    accuracies: tuple[tuple[float, ...], ...]
    hours: float

    @property
    def falls(self) -> list[float]:
        """Per seed, the largest fall from an epoch to the next."""
        return [max([0.0, *(before - now for before, now in pairwise(values))]) for values in self.accuracies]


@dataclass(frozen=True)
class Process:
    """A search and a training, as accuracies (percent) against hours since the search began.

    ``searched``: hours of the search, after which the architecture was fixed; None while a one-stage run is open.
    ``distances``: (hours, mean distance of z between recoveries) of a one-stage search. ``end``: the test accuracy at
    the end.
    """

    name: str
    images: str
    search: tuple[tuple[float, float], ...]
    training: tuple[tuple[float, float], ...]
    distances: tuple[tuple[float, float], ...]
    searched: float | None
    end: float | None

    @property
    def hours(self) -> float:
        """Of all of it."""
        return [*self.search, *self.training][-1][0]


def analyse(options: Figure2Options) -> Report:
    """Read the courses of the runs."""
    runs = read_all(options.runs)
    require(runs.searches, "a search")
    groups = grouped(runs.searches)
    left = [_course(name, found) for name, found in groups.items() if found[0].method not in NO_SUPER_NET]
    right = [process for name, found in groups.items() if (process := _process(name, found, runs))]
    tables = []
    if left:
        header = ["search", "images", "n", "epochs", "last epoch", "best epoch", "largest fall", "hours"]
        rows = [
            [
                *(each.search, each.images, str(len(each.seeds)), str(len(each.accuracies[0]))),
                with_spread([values[-1] for values in each.accuracies]),
                *(with_spread(list(map(max, each.accuracies))), with_spread(each.falls), f"{each.hours:.3g}"),
            ]
            for each in left
        ]
        tables.append(Table("figure2_left", LEFT_TITLE, header, rows, 2))
    if right:
        header = ["process", "images", "hours of the search", "hours in all", "test accuracy (%)"]
        rows = [
            [
                *(each.name, each.images, "open" if each.searched is None else f"{each.searched:.3g}"),
                *(f"{each.hours:.3g}", "" if each.end is None else f"{each.end:.2f}"),
            ]
            for each in right
        ]
        tables.append(Table("figure2_right", RIGHT_TITLE, header, rows, 2))
    values = {"left": [asdict(each) for each in left], "right": [asdict(each) for each in right]}
    return Report.of(tables, values, partial(draw, left, right))


def _course(name: str, runs: Sequence[SearchRun]) -> Course:
    seeds = []
    for run in runs:
        seeds.append([accuracy for _, accuracy in _points(run, "valid/acc")])
    shortest = min(map(len, seeds))
    return Course(
        search=name,
        images=str(runs[0].config["dataset"]),
        seeds=tuple(run.seed for run in runs),
        accuracies=tuple(tuple(values[:shortest]) for values in seeds),
        hours=mean(run.seconds for run in runs) / 3600,
    )


def _process(name: str, runs: Sequence[SearchRun], runs_of_all: Runs) -> Process | None:
    """The process of the first seed that has been trained to the end, of a one-stage search of the first seed."""
    images = str(runs[0].config["dataset"])
    if runs[0].method == "one_stage":
        run = runs[0]
        points = _points(run, "test/acc")
        search = [point for point, row in zip(points, run.metrics) if row.get("searching")]
        moved = [(row, point[0]) for row, point in zip(run.metrics, points) if row.get("arch/distance")]
        distances = tuple((hours, _in(run.folder, row, "arch/distance")) for row, hours in moved)
        rest = points[len(search) :]
        fixed = search[-1][0] if rest and search else None
        finished = run.folder in runs_of_all.trained
        return Process(name, images, tuple(search), tuple(rest), distances, fixed, points[-1][1] if finished else None)
    for run in runs:
        for folder, training in runs_of_all.trained.items():
            if run.found and training.hash == run.found.hash and not training.is_one_stage:
                start = run.seconds / 3600
                search = _points(run, "valid/acc")
                after = [(start + hours, accuracy) for hours, accuracy in _trained(folder)]
                return Process(name, images, tuple(search), tuple(after), (), start, training.test_acc)
    return None


def _points(run: SearchRun, name: str) -> list[tuple[float, float]]:
    """Hours and accuracy after every epoch."""
    rows = [row for row in run.metrics if not row.get("final")]
    return [(number(row, "time/seconds") / 3600, _in(run.folder, row, name)) for row in rows]


def _trained(folder: Path) -> list[tuple[float, float]]:
    try:
        rows = read_lines(folder / "metrics.jsonl")
        return [(number(row, "time/seconds") / 3600, percent(row, "test/acc")) for row in rows]
    except (OSError, ValueError) as error:
        raise cannot_read(folder, error) from None


def _in(folder: Path, row: dict[str, object], name: str) -> float:
    try:
        return number(row, name) if name == "arch/distance" else percent(row, name)
    except ValueError as error:
        raise cannot_read(folder, error) from None


def draw(left: Sequence[Course], right: Sequence[Process], folder: Path) -> list[Path]:
    """Write ``figure2.png`` and ``figure2.svg``."""
    from isnas.draw.lines import Line, LinePanel, draw_lines  # matplotlib is slow to import

    panels = []
    if left:
        lines = []
        for course in left:
            epochs = list(zip(*course.accuracies))
            spread = (
                [[limit(values) for values in epochs] for limit in (min, max)] if len(course.seeds) > 1 else (None,) * 2
            )
            lines.append(Line(course.search, range(1, len(epochs) + 1), [mean(v) for v in epochs], *spread))
        panels.append(LinePanel("super-nets", lines, "epoch", "accuracy (%)"))
    if right:
        lines = [line for process in right for line in _lines(process)]
        marks = [process.searched for process in right if process.searched is not None]
        title = "search, and training after the dashed line"
        panels.append(LinePanel(title, lines, "hours", "accuracy (%)", "distance of z, mean of the nodes", marks))
    return draw_lines(panels, folder, "figure2")


def _lines(process: Process) -> list[Line]:
    from isnas.draw.lines import Line

    parts = [(points, False) for points in (process.search, process.training)] + [(process.distances, True)]
    return [
        Line(process.name, [hours for hours, _ in points], [y for _, y in points], second=second)
        for points, second in parts
        if points
    ]

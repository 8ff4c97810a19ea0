"""What epsilon and the learning rates do to one-stage runs: when nodes terminate, and which architecture is found.

ISTA-NAS's authors say that once ||z_new - z_old|| is below 1e-3 it stays close to 0 and the architecture does not
change, so that epsilon 1e-3 or 1e-4 makes little difference (rebuttal), and that a smaller learning rate terminates
earlier (README of their code).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from isnas.analysis.one_stage_runs import FREE, OneStageRun, Recovered, read_runs
from isnas.analysis.options.epsilon import EpsilonOptions
from isnas.analysis.report import Report
from isnas.base.files import markdown_table
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.space import CellSpace

#: Settings that are always said, whether or not the runs differ in them.
SETTINGS = ("epsilon", "learning_rate", "arch_learning_rate", "arch_lr_schedule", "distance", "termination_interval")
ARCHITECTURES_TITLE = (
    "`seen`: distinct architectures of all recoveries; `last change`: the last recovery that brought another one; "
    "`connections`, `predecessors`: how many the last architecture shares, node by node, with that of the first run. "
    "Test accuracy of the network as it was then, after the search and at the end."
)
REPLAY_TITLE = (
    "Replay: what an epsilon would have done on the distances that a run without terminations recorded. A run with "
    "that epsilon goes another way from its first termination on: that node's b stays, and gamma and beta of its "
    "candidates train. `above again`: nodes whose distance later exceeded that epsilon; `kept`: of the connections "
    "that the nodes had when they would have terminated, those that the run ended with."
)


@dataclass(frozen=True)
class Moment:
    """When a recovery came: before which step, and in which epoch."""

    step: int
    epoch: int

    def __str__(self) -> str:
        return f"epoch {self.epoch} (step {self.step})"


@dataclass(frozen=True)
class Course:
    """How the search of a run went.

    ``terminations``: per node, normal cell's first, None where it did not terminate. ``search_epochs``: how long the
    search was, or has been so far when ``open``. ``hit_bound``: whether ``max_search_epochs`` ended it.
    ``num_architectures``: distinct ones of all recoveries; ``last_change``: the last recovery that brought another one,
    None if none did. ``same_connections`` and ``same_edges``: how many
    connections (operation and predecessor), and predecessors, its last architecture shares with that of the first run
    in the table, of ``num_connections``. Accuracies in percent, on the test images.
    """

    name: str
    settings: dict[str, Any]
    terminations: tuple[Moment | None, ...]
    search_epochs: int
    open: bool
    hit_bound: bool
    hash: str
    num_architectures: int
    last_change: Moment | None
    same_connections: int
    same_edges: int
    num_connections: int
    search_acc: float
    end_acc: float | None


@dataclass(frozen=True)
class Replay:
    """What ``epsilon`` would have done on the recorded distances of a run in which no node terminated.

    ``num_above_again``: of the nodes that would have terminated, those whose distance was above ``epsilon`` again later
    in the run; ``largest_later``: the largest of their later distances, None without one. ``kept_connections``: of the
    ``num_connections`` that these nodes had at that moment (at the end of its epoch, where an epoch has several
    recoveries), those that the run's last architecture has too.
    """

    name: str
    epsilon: float
    terminations: tuple[Moment | None, ...]
    num_above_again: int
    largest_later: float | None
    kept_connections: int
    num_connections: int


def analyse(options: EpsilonOptions) -> Report:
    """Read the runs and compare them."""
    runs = read_runs(options.runs)
    courses = [describe(run, runs[0].genotype) for run in runs]
    replays = [
        replay(run, epsilon) for run in runs if not any(run.terminations) for epsilon in sorted(options.epsilons)[::-1]
    ]
    values = {"runs": [asdict(course) for course in courses], "replays": [asdict(part) for part in replays]}
    return Report(text(runs, courses, replays), values, partial(draw, runs))


def describe(run: OneStageRun, first: Genotype) -> Course:
    """The course of a run; ``first`` is the architecture to compare with."""
    changes = [now for before, now in pairwise(run.recoveries) if now.hash != before.hash]
    return Course(
        name=run.name,
        settings={key: value for key, value in run.config.items() if key not in FREE},
        terminations=tuple(map(_moment, run.terminations)),
        search_epochs=len(run.genotypes),
        open=run.fixed_after is None,
        hit_bound=run.fixed_after is not None and not run.all_terminated,
        hash=run.genotype.hash(),
        num_architectures=len({recovery.hash for recovery in run.recoveries}),
        last_change=_moment(changes[-1] if changes else None),
        same_connections=shared(_nodes(run.genotype), _nodes(first)),
        same_edges=shared(_edges(run.genotype), _edges(first)),
        num_connections=sum(map(len, _nodes(run.genotype))),
        search_acc=run.search_acc,
        end_acc=run.end_acc,
    )


def replay(run: OneStageRun, epsilon: float) -> Replay:
    """Let ``epsilon`` terminate the nodes of a run in which none did, by the run's ``patience``."""
    recoveries = [recovery for recovery in run.recoveries if recovery.distances is not None]
    patience = run.config["patience"]
    terminations: list[Moment | None] = []
    above, later, kept, connections = 0, [], 0, 0
    for node in range(run.num_nodes):
        distances = [recovery.distances[node] for recovery in recoveries if recovery.distances]
        place = next((i for i in range(len(distances)) if calm(distances[: i + 1], epsilon, patience)), None)
        terminations.append(None if place is None else _moment(recoveries[place]))
        if place is not None:
            after = distances[place + 1 :]
            above += any(distance > epsilon for distance in after)
            later += after
            then, end = (_nodes(genotype)[node] for genotype in (run.genotypes[recoveries[place].epoch], run.genotype))
            kept += shared([then], [end])
            connections += len(then)
    return Replay(run.name, epsilon, tuple(terminations), above, max(later, default=None), kept, connections)


def calm(distances: Sequence[float], epsilon: float, patience: int) -> bool:
    """Whether the last ``patience`` distances are at most ``epsilon``."""
    return len(distances) >= patience and all(distance <= epsilon for distance in distances[-patience:])


def shared(some: Sequence[Sequence[Any]], others: Sequence[Sequence[Any]]) -> int:
    """How many items two lists have in common, node by node, each as often as it occurs in both."""
    return sum((Counter(a) & Counter(b)).total() for a, b in zip(some, others))


def text(runs: Sequence[OneStageRun], courses: Sequence[Course], replays: Sequence[Replay]) -> str:
    """The tables, with the settings that all runs share in a sentence above."""
    options = list(dict.fromkeys([*SETTINGS, *(key for course in courses for key in course.settings)]))
    differing = [key for key in options if len({str(course.settings.get(key)) for course in courses}) > 1]
    columns = [key for key in options if key == "epsilon" or key in differing]
    common = [f"{key} {_shown(courses[0].settings.get(key))}" for key in SETTINGS if key not in columns]
    images = f"{courses[0].settings['dataset']}, steps_per_epoch {_range([run.steps_per_epoch for run in runs])}"
    header = ["run", *columns, "first termination", "last termination", "nodes terminated", "search"]
    rows = [
        [
            *(course.name, *(_shown(course.settings.get(key)) for key in columns)),
            *(*_first_last(course.terminations), _count(course.terminations), _ending(course)),
        ]
        for course in courses
    ]
    parts = [f"On {images}; {', '.join(common)}.", markdown_table(header, rows), ARCHITECTURES_TITLE]
    header = ["run", "architecture", "seen", "last change", "connections", "predecessors", "after the search", "end"]
    rows = [
        [
            *(course.name, f"`{course.hash}`", str(course.num_architectures), str(course.last_change or "never")),
            *(f"{same} of {course.num_connections}" for same in (course.same_connections, course.same_edges)),
            *(f"{course.search_acc:.2f} %", "" if course.end_acc is None else f"{course.end_acc:.2f} %"),
        ]
        for course in courses
    ]
    parts.append(markdown_table(header, rows, 2))
    if replays:
        header = ["run", "replayed epsilon", "first termination", "last termination", "nodes", "above again"]
        rows = [
            [
                *(part.name, f"{part.epsilon:g}", *_first_last(part.terminations), _count(part.terminations)),
                str(part.num_above_again),
                "" if part.largest_later is None else f"{part.largest_later:.1e}",
                f"{part.kept_connections} of {part.num_connections}" if part.num_connections else "",
            ]
            for part in replays
        ]
        parts += [REPLAY_TITLE, markdown_table([*header, "largest distance later", "kept"], rows)]
    return "\n\n".join(parts) + "\n"


def draw(runs: Sequence[OneStageRun], folder: Path) -> list[Path]:
    """Write ``epsilon.png`` and ``epsilon.svg``: the distance of every node against the epochs."""
    from isnas.draw.distances import DistancePanel, NodeCurve, draw_distances  # matplotlib is slow to import

    panels = []
    for run in runs:
        curves, names = [], CellSpace(num_nodes=int(run.config["num_nodes"])).node_names
        for node, at in enumerate(run.terminations):
            points = [
                (r.step / run.steps_per_epoch, r.distances[node])
                for r in run.recoveries
                if r.distances and (at is None or r.step <= at.step)
            ]
            cell, _, label = names[node].partition(" ")
            epochs, distances = [x for x, _ in points], [y for _, y in points]
            curves.append(NodeCurve(f"{cell} cell", label, epochs, distances, at is not None))
        config = run.config
        title = f"{run.name}: $\\epsilon$ {config['epsilon']:g}, lr {config['learning_rate']:g}"
        panels.append(DistancePanel(title, curves, config["epsilon"], run.fixed_after))
    return draw_distances(panels, folder, "epsilon")


def _nodes(genotype: Genotype) -> tuple[Any, ...]:
    return genotype.normal + genotype.reduce


def _edges(genotype: Genotype) -> list[list[int]]:
    return [[predecessor for _, predecessor in node] for node in _nodes(genotype)]


def _moment(recovery: Recovered | None) -> Moment | None:
    return None if recovery is None else Moment(recovery.step, recovery.epoch)


def _first_last(terminations: Sequence[Moment | None]) -> list[str]:
    """The first and the last so far."""
    done = sorted((at for at in terminations if at), key=lambda at: at.step)
    return [str(done[0]) if done else "none", str(done[-1]) if done else "none"]


def _count(terminations: Sequence[Moment | None]) -> str:
    return f"{sum(at is not None for at in terminations)} of {len(terminations)}"


def _ending(course: Course) -> str:
    if course.open:
        return f"open, {course.search_epochs} epochs so far"
    return f"{course.search_epochs} epochs" + (", the bound" if course.hit_bound else "")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(values: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))

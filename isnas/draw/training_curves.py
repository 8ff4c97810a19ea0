"""The course of a search or a training as panels over its epochs, from the rows of metrics.jsonl, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isnas.draw.curves import Panel, Series, draw_panels

Rows = Sequence[Mapping[str, Any]]

SPLITS = ("train", "valid", "test")
_PER_ROW = 2
_MOST = 1e15


class Figure(NamedTuple):
    """What stands above a panel and beside its y axis; with ``error`` it shows 100 minus an accuracy."""

    title: str
    ylabel: str
    log: bool = False
    error: bool = False


DISTANCE = Figure("distance between recoveries", "mean distance of z", log=True)
#: What runs are compared by, by the name in their metrics.
OVERLAID = {
    "test/acc": Figure("test error", "test error (%)", log=True, error=True),
    "valid/acc": Figure("validation error", "validation error (%)", log=True, error=True),
    "train/loss": Figure("training loss", "training loss (nats)"),
    "valid/perplexity": Figure("validation perplexity", "validation perplexity", log=True),
    "arch/distance": DISTANCE,
}


def draw_course(rows: Rows, folder: Path) -> list[Path]:
    """Write ``curves.png`` and ``curves.svg`` of a run with these rows of metrics; returns both paths, or nothing.

    The panels are those of :func:`course`.
    """
    return _draw(course(rows), folder)


def draw_overlay(runs: Mapping[str, Rows], folder: Path) -> list[Path]:
    """The same of several runs, by the names that the legend shows: the panels of :func:`overlay`."""
    shown = {f" {name}".replace("$", "\\$"): rows for name, rows in runs.items()}  # no formula, no hidden label
    return _draw(overlay(shown), folder)


def course(rows: Rows) -> list[Panel]:
    """Accuracy, error, loss, perplexity, and the distance of z, each where the rows have it, against the epoch.

    The error stands on a logarithmic axis, where the last percent shows. A vertical line is where a one-stage run fixed
    its architecture, or a language model began to average its weights.
    """
    rows = _numbered(rows)
    states = [(row.get("searching"), row.get("averaging")) for row in rows]
    mark = next((row["epoch"] - 0.5 for row, before, now in zip(rows[1:], states, states[1:]) if now != before), None)
    accuracies = {split: f"{split}/acc" for split in SPLITS}
    panels = [
        _panel(rows, Figure("accuracy", "accuracy (%)"), accuracies, mark),
        _panel(rows, Figure("error", "100 - accuracy (%)", log=True, error=True), accuracies, mark),
        _panel(rows, Figure("perplexity", "perplexity", log=True), {s: f"{s}/perplexity" for s in SPLITS}, mark),
        _panel(rows, Figure("loss", "loss (nats)"), {split: f"{split}/loss" for split in SPLITS}, mark),
        _panel(rows, DISTANCE, {"distance of z": "arch/distance"}, None),
    ]
    return [panel for panel in panels if panel is not None]


def overlay(runs: Mapping[str, Rows]) -> list[Panel]:
    """The same of several runs over one another, a line per run: a panel for each figure that two of them have."""
    panels = []
    for key, figure in OVERLAID.items():
        panels_of = {name: _panel(_numbered(rows), figure, {name: key}, None) for name, rows in runs.items()}
        found = {name: panel for name, panel in panels_of.items() if panel is not None}
        if len(found) > 1:
            x = sorted({int(epoch) for panel in found.values() for epoch in panel.x})
            known = {name: dict(zip(panel.x, panel.series[0].y)) for name, panel in found.items()}
            series = [Series(name, [values.get(epoch, math.nan) for epoch in x]) for name, values in known.items()]
            panels.append(Panel(figure.title, x, series, "epoch", figure.ylabel, log=figure.log))
    return panels


def _draw(panels: Sequence[Panel], folder: Path) -> list[Path]:
    rows = [panels[i : i + _PER_ROW] for i in range(0, len(panels), _PER_ROW)]
    return draw_panels(rows, folder, "curves") if rows else []


def _panel(rows: Rows, figure: Figure, keys: Mapping[str, str], mark: float | None) -> Panel | None:
    """The curves of these keys by their labels; None where there is nothing to be seen."""
    present = {label: key for label, key in keys.items() if any(_number(row, key) is not None for row in rows)}
    there = [row for row in rows if any(_number(row, key) is not None for key in present.values())]
    series = []
    for label, key in present.items():
        values = [math.nan if (value := _number(row, key)) is None else value for row in there]
        series.append(Series(label, [100.0 - value for value in values] if figure.error else values))
    if not any(value > 0.0 or not figure.log for each in series for value in each.y):
        return None
    epochs = [row["epoch"] for row in there]
    judged = [value for each in series if each.label != "train" for value in each.y if value > 0.0]
    floor = min(judged) / 2 if judged and figure.error else None  # the training error may fall far below
    return Panel(figure.title, epochs, series, "epoch", figure.ylabel, log=figure.log, mark=mark, floor=floor)


def _numbered(rows: Rows) -> Rows:
    return [row for row in rows if type(row.get("epoch")) is int and 0 <= row["epoch"] < _MOST]


def _number(row: Mapping[str, Any], key: str) -> float | None:
    """A number of a row, within what can be drawn, or None."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST < value < _MOST:
        return None
    return float(value)

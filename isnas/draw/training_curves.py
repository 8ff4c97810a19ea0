"""The course of a training as a picture: accuracies, loss and learning rate against the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isnas.draw.curves import Panel, Series, draw_panels


def draw_training(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``curves.png`` and ``curves.svg`` from the rows of metrics.jsonl; returns both paths."""
    epochs = [row["epoch"] for row in rows]
    splits = [split for split in ("train", "valid", "test") if f"{split}/acc" in rows[0]]

    def panel(title: str, key: str) -> Panel:
        series = [Series(split, [row[f"{split}/{key}"] for row in rows]) for split in splits]
        return Panel(title, epochs, series, xlabel="epoch")

    return draw_panels([[panel("accuracy (%)", "acc"), panel("loss", "loss")]], folder, "curves")


def draw_one_stage(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``curves.png`` and ``curves.svg`` of a one-stage run; returns both paths.

    Accuracies against the epochs, as in the paper's Figure 2, with a line where the architecture was fixed, and the
    distance between neighbouring recoveries while it was not.
    """
    epochs = [row["epoch"] for row in rows]
    searching = [row for row in rows if row["searching"] and row.get("arch/distance")]
    accuracies = [
        Series(split, [row[f"{split}/acc"] for row in rows])
        for split in ("train", "valid", "test")
        if f"{split}/acc" in rows[0]
    ]
    fixed = next((row["epoch"] - 0.5 for row in rows if not row["searching"]), None)
    panels = [Panel("accuracy (%)", epochs, accuracies, xlabel="epoch", mark=fixed)]
    if searching:
        distances = [Series("", [row["arch/distance"] for row in searching])]
        title = "distance of z, mean of the nodes"
        panels.append(Panel(title, [row["epoch"] for row in searching], distances, xlabel="epoch", log=True))
    return draw_panels([panels], folder, "curves")


def draw_language(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``curves.png`` and ``curves.svg`` of a language model; returns both paths.

    Perplexities against the epochs, on a logarithmic scale, with a line where the averaging of the weights began.
    """
    epochs = [row["epoch"] for row in rows]
    series = [
        Series(split, [float("nan") if (y := row[f"{split}/perplexity"]) is None else y for row in rows])
        for split in ("train", "valid")
    ]
    begun = next((row["epoch"] - 0.5 for row in rows if row.get("averaging")), None)
    panel = Panel("perplexity", epochs, series, xlabel="epoch", mark=begun, log=True)
    return draw_panels([[panel]], folder, "curves")

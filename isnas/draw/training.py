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

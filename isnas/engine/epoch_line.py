"""The one line that a terminal shows of an epoch, from the rows that its end has left in the files of the run."""

from __future__ import annotations

from collections.abc import Sequence

from isnas.engine.progress import duration
from isnas.engine.run_files import Connection, Row, connections, figure

#: The figures of metrics.jsonl that it has, as far as they are there.
_FIGURES = {
    "train/loss": "train loss {:.4f}",
    "train/acc": "acc {:.2f} %",
    "train/perplexity": "perplexity {:.2f}",
    "valid/acc": "valid acc {:.2f} %",
    "valid/perplexity": "valid perplexity {:.2f}",
    "test/acc": "test acc {:.2f} %",
    "lr": "lr {:.4g}",
}


def epoch_line(epoch: int, metrics: Sequence[Row], genotypes: Sequence[Row], left: str | None) -> str:
    """The epoch's figures, what it changed of the architecture, the time since the start, and that which is ``left``.

    Args:
        epoch: Its number.
        metrics: The rows of metrics.jsonl; "" is returned where the last one is not of this epoch.
        genotypes: The rows of genotypes.jsonl, none where nothing is searched.
        left: As ``h:mm:ss``, or None.
    """
    row = metrics[-1] if metrics else {}
    if row.get("epoch") != epoch:
        return ""
    parts = [form.format(value) for name, form in _FIGURES.items() if (value := figure(row, name)) is not None]
    parts += _changes(row, [set(connections(each.get("genotype"))) for each in genotypes[-2:]])
    if (seconds := figure(row, "time/seconds")) is not None:
        parts.append(f"time {duration(seconds)}")
    return f"epoch {epoch}: {', '.join(parts)}" + (f", left {left}" if left else "")


def _changes(row: Row, sets: Sequence[set[Connection]]) -> list[str]:
    """Of the connections of the epoch before and of this one, and of the nodes of a one-stage search."""
    if not sets or row.get("searching") == 0.0:
        return []
    parts = [f"{len(sets[1] - sets[0])} of {len(sets[1])} connections new"] if len(sets) == 2 else []
    if (terminated := figure(row, "terminated")) is not None:
        nodes = {(each.cell, each.node) for each in sets[-1]}
        parts.append(f"{terminated:.0f} of {len(nodes)} nodes terminated")
    return parts

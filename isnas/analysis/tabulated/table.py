"""The table of a tabulated benchmark: a file of JSON lines, the first one of facts, then one for each architecture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from isnas.analysis.tabulated.benchmarks import BENCHMARKS, Benchmark
from isnas.base.errors import UserError
from isnas.base.files import write_text
from isnas.base.text import brief, one_line, read_text, shown

#: Where the tables of this package are.
TABLES = Path(__file__).parent / "tables"

_LARGEST = 10_000_000  # bytes; a row has 100
_MOST = (1e6, 100.0, 1e9)  # what losses, accuracies and seconds can be


def table_path(name: str) -> Path:
    """The file of a benchmark's table in this package."""
    return TABLES / f"{name}.jsonl"


@dataclass(frozen=True, eq=False)
class Table:
    """What the trained architectures of a benchmark reach: for each a row of one network per seed.

    ``cells`` are their numbers in ``benchmark.supports``, ascending; ``losses`` and ``accs`` (len(cells), seeds) the
    mean cross-entropy on the test images, and the accuracy (percent); ``seconds`` (len(cells),) what training took.
    """

    benchmark: Benchmark
    facts: dict[str, Any]
    cells: tuple[int, ...]
    losses: np.ndarray
    accs: np.ndarray
    seconds: np.ndarray

    @property
    def is_complete(self) -> bool:
        """Whether every architecture of the space is there."""
        return len(self.cells) == len(self.benchmark.supports)

    @property
    def scores(self) -> np.ndarray:
        """The mean loss of each row's seeds, by which architectures are compared: less is better."""
        return self.losses.mean(axis=1)


def read_table(path: Path) -> Table:
    """The table in a file.

    Raises:
        UserError: when it cannot be read, or is not such a table.
    """
    return _parsed(_read(path), path)


def _read(path: Path) -> str:
    try:
        return read_text(path, _LARGEST)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"cannot read the table {brief(str(path))}: {reason}") from None


def _parsed(text: str, path: Path) -> Table:
    try:
        facts, *rows = (json.loads(line) for line in text.splitlines())
        benchmark = BENCHMARKS[facts["benchmark"]]
        rows.sort(key=lambda row: row["cell"])
        cells = tuple(index(row["cell"]) for row in rows)
        shape = (len(rows), benchmark.seeds)
        losses, accs = (
            np.array([row[key] for row in rows], dtype=np.float64).reshape(shape) for key in ("loss", "acc")
        )
        seconds = np.array([row["seconds"] for row in rows], dtype=np.float64).reshape(len(rows))
        if len(set(cells)) < len(cells) or not all(0 <= cell < len(benchmark.supports) for cell in cells):
            raise ValueError("it has a cell twice, or one that is not in the space")
        if not all(((values >= 0) & (values <= most)).all() for values, most in zip((losses, accs, seconds), _MOST)):
            raise ValueError("it has numbers that no loss, accuracy or time can be")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"it has no {shown(error.args[0])}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{brief(str(path))} is not the table of a benchmark: {reason}") from None
    return Table(benchmark, facts, cells, losses, accs, seconds)


class TableFile:
    """A table that grows: rows are appended one by one, and what was cut off while it was written is dropped.

    Raises:
        UserError: when the file holds something else, which is left as it is.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(facts) + "\n")
        text = _read(path)
        whole = text[: text.rfind("\n") + 1]
        table = _parsed(whole, path)
        for key in ("benchmark", "train_digest", "test_digest", "quick"):
            if table.facts.get(key) != facts.get(key):
                found, wanted = shown(table.facts.get(key)), shown(facts.get(key))
                raise UserError(f"{brief(str(path))} has {key} {found}, not {wanted}; give another --table")
        if whole != text:
            os.truncate(path, len(whole.encode()))
        self.cells, self._size = set(table.cells), path.stat().st_size

    def append(self, row: dict[str, Any]) -> None:
        """Add an architecture's row.

        Raises:
            UserError: when another process writes to the file, which would give it the same architectures twice.
        """
        with self.path.open("a", encoding="utf-8") as file:
            if file.tell() != self._size:
                raise UserError(f"another process writes to {brief(str(self.path))}; let one fill a table at a time")
            file.write(json.dumps(row) + "\n")
            self._size = file.tell()
        self.cells.add(row["cell"])


def row_of(cell: int, losses: list[float], accs: list[float], seconds: float) -> dict[str, Any]:
    """A row, with as many digits as tell something."""
    rounded = {"loss": [round(loss, 5) for loss in losses], "acc": [round(acc, 3) for acc in accs]}
    return {"cell": cell, **rounded, "seconds": round(seconds, 2)}


def missing(order: list[int], there: set[int], count: int) -> Iterator[int]:
    """The cells of the first ``count`` in order that are not there."""
    yield from (cell for cell in order[:count] if cell not in there)

"""The table of a tabulated benchmark: a file of JSON lines, the first one of facts, then one for each architecture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isnas.analysis.tabulated.benchmarks import BENCHMARKS, Benchmark
from isnas.base.errors import UserError
from isnas.base.text import shown

#: Where the tables of this package are.
TABLES = Path(__file__).parent / "tables"


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
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the table {shown(path)}: {error}") from None
    try:
        facts, *rows = (json.loads(line) for line in lines)
        benchmark = BENCHMARKS[facts["benchmark"]]
        rows.sort(key=lambda row: row["cell"])
        cells = tuple(int(row["cell"]) for row in rows)
        shape = (len(rows), benchmark.seeds)
        losses, accs = (
            np.array([row[key] for row in rows], dtype=np.float64).reshape(shape) for key in ("loss", "acc")
        )
        seconds = np.array([row["seconds"] for row in rows], dtype=float)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{shown(path)} is not the table of a benchmark: {type(error).__name__}: {error}") from None
    if len(set(cells)) < len(cells) or not all(0 <= cell < len(benchmark.supports) for cell in cells):
        raise UserError(f"{shown(path)} is not the table of a benchmark: it has a cell twice, or one that is not there")
    return Table(benchmark, facts, cells, losses, accs, seconds)


class TableFile:
    """A table that grows: rows are appended one by one, and what was cut off while it was written is dropped.

    Raises:
        UserError: when the file holds something else.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        if path.exists():
            text = path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                path.write_text(whole, encoding="utf-8")
        if not path.exists() or not path.stat().st_size:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        table = read_table(path)
        for key in ("benchmark", "train_digest", "test_digest"):
            if table.facts.get(key) != facts[key]:
                found, wanted = shown(table.facts.get(key)), shown(facts[key])
                raise UserError(f"{shown(path)} has {key} {found}, not {wanted}; give another --table")
        self.cells = set(table.cells)

    def append(self, row: dict[str, Any]) -> None:
        """Add an architecture's row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.cells.add(row["cell"])


def row_of(cell: int, losses: list[float], accs: list[float], seconds: float) -> dict[str, Any]:
    """A row, with as many digits as tell something."""
    rounded = {"loss": [round(loss, 5) for loss in losses], "acc": [round(acc, 3) for acc in accs]}
    return {"cell": cell, **rounded, "seconds": round(seconds, 2)}


def missing(order: list[int], there: set[int], count: int) -> Iterator[int]:
    """The cells of the first ``count`` in order that are not there."""
    yield from (cell for cell in order[:count] if cell not in there)

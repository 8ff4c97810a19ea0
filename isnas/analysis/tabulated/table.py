"""The table of a tabulated benchmark: a file of JSON lines, the first one of facts, then one for each architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from isnas.analysis.tabulated.benchmarks import BENCHMARKS, Benchmark
from isnas.analysis.tabulated.rows import RowFile, is_row, read_rows
from isnas.base.errors import UserError
from isnas.base.text import brief, one_line, shown

#: Where the tables of this package are.
TABLES = Path(__file__).parent / "tables"

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
    return _parsed(read_rows(path)[0], path)


def _parsed(lines: list[dict[str, Any]], path: Path) -> Table:
    try:
        facts, *rows = filter(is_row, lines)
        benchmark = BENCHMARKS[facts["benchmark"]]
        rows = sorted(rows, key=lambda row: row["cell"])
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


class TableFile(RowFile):
    """A table that grows."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        super().__init__(path, facts, ("benchmark", "train_digest", "test_digest", "quick"))

    def check(self) -> None:
        _parsed([self.facts, *self.rows], self.path)

    @property
    def cells(self) -> set[int]:
        """The architectures that are there."""
        return {row["cell"] for row in self.rows}


def row_of(cell: int, losses: list[float], accs: list[float], seconds: float) -> dict[str, Any]:
    """A row, with as many digits as tell something."""
    rounded = {"loss": [round(loss, 5) for loss in losses], "acc": [round(acc, 3) for acc in accs]}
    return {"cell": cell, **rounded, "seconds": round(seconds, 2)}


def missing(order: list[int], there: set[int], count: int) -> Iterator[int]:
    """The cells of the first ``count`` in order that are not there."""
    yield from (cell for cell in order[:count] if cell not in there)

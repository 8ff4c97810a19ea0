"""Queries to a tabulated benchmark: what an architecture reaches, and what that is worth among the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from isnas.analysis.tabulated.benchmarks import BENCHMARKS, SPARSENESS
from isnas.analysis.tabulated.rows import is_number
from isnas.analysis.tabulated.table import Table, read_table, table_path
from isnas.base.errors import UserError
from isnas.base.text import brief, shown
from isnas.space.cells.genotype import Genotype
from isnas.space.connections import Support


@dataclass(frozen=True)
class Answer:
    """What an architecture of a table reaches on the test images, and its place there by the mean loss of its seeds.

    ``loss`` (mean cross-entropy) and ``acc`` (percent) are means over the seeds, ``losses`` and ``accs`` those of each.
    ``rank`` counts from 1, the best; equal losses have one rank. ``percentile``: the share (percent) of the other
    architectures whose loss is larger, equal ones half; 100 is the best, and random ones have 50 on average.
    ``regret`` is how far ``acc`` is below the most accurate architecture's (percent points), and ``loss_regret`` how
    far ``loss`` is above the least loss.
    """

    loss: float
    acc: float
    losses: tuple[float, ...]
    accs: tuple[float, ...]
    rank: int
    percentile: float
    regret: float
    loss_regret: float


def percentiles(losses: np.ndarray) -> np.ndarray:
    """Of each loss, the share (percent) of the others that are larger, equal ones half."""
    order = np.sort(losses)
    better, up_to = (np.searchsorted(order, losses, side) for side in ("left", "right"))
    return np.asarray(100.0 * (len(losses) - up_to + (up_to - better - 1) / 2) / (len(losses) - 1))


class TabulatedBenchmark:
    """A table of trained architectures, all those of a small space or a uniform sample of them.

    ``space`` is the space, ``supports`` are the architectures of the table.

    Raises:
        UserError: when the table has fewer than two, which cannot be compared.
    """

    def __init__(self, table: Table) -> None:
        if len(table.cells) < 2:
            raise UserError(f"the table of {table.benchmark.name} has {len(table.cells)} architectures; it takes two")
        self.table, self.name, self.space = table, table.benchmark.name, table.benchmark.space
        every = table.benchmark.supports
        self._all = frozenset(every)
        self.supports: tuple[Support, ...] = tuple(every[cell] for cell in table.cells)
        self._rows = {support: row for row, support in enumerate(self.supports)}
        self._scores, self._accs = table.scores, table.accs.mean(axis=1)
        self._sorted, self._percentiles = np.sort(self._scores), percentiles(self._scores)

    def __len__(self) -> int:
        """How many architectures the table has."""
        return len(self.supports)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.table.benchmark.shown}; {len(self)} in the table>"

    def genotypes(self) -> list[Genotype]:
        """The architectures of the table, in the order of ``supports``."""
        return [self.space.genotype(support) for support in self.supports]

    @property
    def best(self) -> Genotype:
        """The architecture of the least loss."""
        return self.space.genotype(self.supports[int(self._scores.argmin())])

    def random(self, generator: torch.Generator) -> Genotype:
        """An architecture of the table, each as likely as any other."""
        place = torch.randint(len(self), (), generator=generator, device=generator.device)
        return self.space.genotype(self.supports[int(place)])

    def query(self, architecture: Genotype | Iterable[Iterable[int]]) -> Answer:
        """What an architecture reaches: a genotype, or a support, the flat indices of each node's connections.

        Raises:
            UserError: when it is not in the space, or not in the table.
        """
        row = self._row(self._support(architecture))
        loss, acc = float(self._scores[row]), float(self._accs[row])
        return Answer(
            loss=loss,
            acc=acc,
            losses=tuple(self.table.losses[row].tolist()),
            accs=tuple(self.table.accs[row].tolist()),
            rank=1 + int(np.searchsorted(self._sorted, loss)),
            percentile=float(self._percentiles[row]),
            regret=float(self._accs.max()) - acc,
            loss_regret=loss - float(self._sorted[0]),
        )

    def percentile_of(self, loss: float) -> float:
        """The share (percent) of the architectures of the table whose loss is larger, equal ones half.

        For a mean test loss that was measured elsewhere, of networks trained as those of the table.

        Raises:
            UserError: when it is no finite number.
        """
        if not is_number(loss):
            raise UserError(f"{shown(loss)} is not a loss, a finite number")
        better, up_to = (int(np.searchsorted(self._sorted, loss, side)) for side in ("left", "right"))
        return 100.0 * (len(self) - up_to + (up_to - better) / 2) / len(self)

    def _support(self, architecture: Genotype | Iterable[Iterable[int]]) -> Support:
        space, wanted = self.space, f"{SPARSENESS} different connections for each node"
        if isinstance(architecture, Genotype):
            support = space.support(architecture)
            if support not in self._all or space.genotype(support) != architecture:
                raise UserError(
                    f"{shown(str(architecture))} is not in the space of {self.name}: its normal and reduction cell are "
                    f"alike, have {wanted}, and put out all nodes"
                )
            return support
        try:
            support = tuple(tuple(sorted(node)) for node in architecture)
            known = support in self._all
        except TypeError:
            support, known = (), False
        if not known:
            sizes = " and ".join(f"0 to {size - 1}" for size in space.sizes)
            raise UserError(
                f"{shown(architecture)} is no support of {self.name}: that is {wanted}, numbers from {sizes}"
            )
        return support

    def _row(self, support: Support) -> int:
        if support not in self._rows:
            raise UserError(
                f"the table of {self.name} has {len(self):,} of {len(self._all):,} architectures, and not this one; "
                "genotypes() has those it has, percentile_of(loss) places a loss measured elsewhere"
            )
        return self._rows[support]


def open_benchmark(name: str, file: str = "") -> TabulatedBenchmark:
    """The benchmark of this name, with the package's table or the one in ``file``.

    Raises:
        UserError: when there is no such benchmark, or its table is not there, not readable or another one's.
    """
    return TabulatedBenchmark(open_table(name, file))


def open_table(name: str, file: str = "") -> Table:
    """The table of the benchmark of this name: the package's, or the one in ``file``.

    Raises:
        UserError: as :func:`open_benchmark` does.
    """
    if not isinstance(name, str) or name not in BENCHMARKS:
        raise UserError(f"there is no benchmark {shown(name)}; choose from {', '.join(BENCHMARKS)}")
    if not file and not table_path(name).exists():
        raise UserError(f"this package has no table of {name}; python benchmarks/mini/table.py {name} makes it")
    table = read_table(Path(file) if file else table_path(name))
    if table.benchmark.name != name:
        raise UserError(f"{brief(file)} is the table of {table.benchmark.name}, not of {name}; name that one")
    return table

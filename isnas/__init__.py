"""Neural architecture search by sparse coding: ISTA-NAS and its relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isnas.analysis.tabulated.queries import TabulatedBenchmark


def benchmark(name: str = "mini", file: str = "") -> TabulatedBenchmark:
    """The tabulated benchmark of this name, to try a search on in seconds; see docs/tabulated.md.

    ``file`` is a table of it elsewhere, in place of the package's own.

    Raises:
        isnas.base.errors.UserError: when there is none of the name, or its table cannot be read.
    """
    from isnas.analysis.tabulated.queries import open_benchmark  # ``import isnas`` alone loads nothing

    return open_benchmark(name, file)

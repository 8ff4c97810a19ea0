"""Neural architecture search by sparse coding: ISTA-NAS and its relatives.

What Python calls is described in docs/api.md. All of it is imported when it is used: ``import isnas`` takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isnas.analysis.tabulated.queries import TabulatedBenchmark
    from isnas.api.cells import Drawing, draw, network, published
    from isnas.api.loaded import ExportedFile, LanguageModel, Prediction, TestResult, TrainedNetwork, load
    from isnas.api.results import SearchResult, TrainResult
    from isnas.api.running import one_stage, search, train
    from isnas.base.errors import UserError
    from isnas.space.cells.genotype import Genotype

__all__ = [
    "Drawing",
    "ExportedFile",
    "Genotype",
    "LanguageModel",
    "Prediction",
    "SearchResult",
    "TestResult",
    "TrainResult",
    "TrainedNetwork",
    "UserError",
    "benchmark",
    "draw",
    "load",
    "network",
    "one_stage",
    "published",
    "search",
    "train",
]

#: Where each name is that is not defined here. The folders ``train`` and ``draw`` are called as functions themselves.
_PLACES = {
    "Drawing": "isnas.api.cells",
    "ExportedFile": "isnas.api.loaded",
    "Genotype": "isnas.space.cells.genotype",
    "LanguageModel": "isnas.api.loaded",
    "Prediction": "isnas.api.loaded",
    "SearchResult": "isnas.api.results",
    "TestResult": "isnas.api.loaded",
    "TrainResult": "isnas.api.results",
    "TrainedNetwork": "isnas.api.loaded",
    "UserError": "isnas.base.errors",
    "load": "isnas.api.loaded",
    "network": "isnas.api.cells",
    "one_stage": "isnas.api.running",
    "published": "isnas.api.cells",
    "search": "isnas.api.running",
}


def __getattr__(name: str) -> Any:
    """A public name, imported at its first use."""
    from importlib import import_module

    if name in ("train", "draw"):
        return import_module(f"isnas.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'isnas' has no attribute {name!r}")
    found = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


def benchmark(name: str = "mini", file: str = "") -> TabulatedBenchmark:
    """The tabulated benchmark of this name, to try a search on in seconds; see docs/tabulated.md.

    ``file`` is a table of it elsewhere, in place of the package's own.

    Raises:
        isnas.base.errors.UserError: when there is none of the name, or its table cannot be read.
    """
    from isnas.analysis.tabulated.queries import open_benchmark  # ``import isnas`` alone loads nothing

    return open_benchmark(name, file)

"""The options of the question what the stages of CoNAS measured."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import RunsOptions
from isnas.base.options import option


@dataclass(frozen=True)
class ConasOptions(RunsOptions, title="Polynomials"):
    """Which searches, and how what polynomials explain is measured."""

    runs: tuple[str, ...] = option((), "run folders of searches of CoNAS", positional=True, path=True)
    explain: bool = option(True, "fit polynomials to the measurements, seconds to a minute for every stage")
    folds: int = option(5, "parts of the measurements, each held out once", minimum=2, maximum=100)
    inner_folds: int = option(3, "parts of the others, by which the LASSO's weight is chosen", minimum=2, maximum=100)
    weights: int = option(10, "weights of the LASSO that are tried", minimum=2, maximum=1000)
    seed: int = option(0, "decides the parts", minimum=0, maximum=2**63 - 1)

"""A search of which every step is watched: which connections ran in the steps of b, and how far b moved in these."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from isnas.analysis.tabulated.benchmarks import Benchmark
from isnas.analysis.tabulated.searching import settings_of
from isnas.analysis.tabulated.suite import Search
from isnas.data.small.datasets import Dataset
from isnas.engine.in_memory import search_in_memory
from isnas.methods.registry import SEARCHES, make_options
from isnas.methods.sampled_recovery import SampledRecovery
from isnas.methods.two_stage import TwoStage
from isnas.space.connections import Support
from isnas.sparse.lasso import Array


class Watch:
    """Follows b, to be shown the method before every step and after the last one.

    For each node j, over its n_j candidates k: ``ran[j]`` counts the steps of b in which k ran, ``own[j]`` and
    ``others[j]`` are a_k^T (b - b_0) as the sum over the steps in which k ran and over those in which it did not.
    ``supports`` are the architectures that ran in steps of b, ``steps`` is how many there were.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.supports: set[Support] = set()
        self.ran: list[np.ndarray] = []
        self.own: list[Array] = []
        self.others: list[Array] = []
        self._running: Support = ()
        self._b: list[Array] = []

    def __call__(self, method: TwoStage | SampledRecovery) -> None:
        """Note what the last step did, and what the next one runs."""
        matrices = method.architecture.matrices
        b = [part.detach().cpu().numpy().copy() for part in method.architecture.b]
        if not self.ran:
            self.ran = [np.zeros(A.shape[1], dtype=np.int64) for A in matrices]
            self.own, self.others = ([np.zeros(A.shape[1]) for A in matrices] for _ in range(2))
        for j, active in enumerate(self._running):
            runs = np.isin(np.arange(len(self.ran[j])), active)
            moved = matrices[j].T @ (b[j] - self._b[j])
            self.ran[j] += runs
            self.own[j] += np.where(runs, moved, 0.0)
            self.others[j] += np.where(runs, 0.0, moved)
        if self._running:
            self.steps += 1
            self.supports.add(self._running)
        self._b = b
        if isinstance(method, TwoStage):
            self._running = () if method.b_waits else tuple(method.architecture.support)
        else:
            self._running = () if method.warming_up else method.measured


@dataclass(frozen=True)
class Watched:
    """What is known of a search in the end: lists over the nodes of arrays (n_j,) over their candidates.

    ``ran``, ``own`` and ``others`` are :class:`Watch`'s, ``z`` is recovered from the last b, ``scores`` (2, n_j) are
    those of sampled recovery, of even and of odd steps. ``supports`` is how many architectures ran in steps of b.
    """

    search: str
    budget: int
    seed: int
    steps: int
    supports: int
    ran: list[Array]
    own: list[Array]
    others: list[Array]
    z: list[Array]
    scores: list[Array] | None

    @classmethod
    def of_row(cls, row: dict[str, Any], sizes: tuple[int, ...]) -> Watched:
        """What a row says.

        Raises:
            ValueError, KeyError, TypeError: when it says something else.
        """
        budget, seed, steps, supports = (int(row[key]) for key in ("budget", "seed", "steps", "supports"))
        ran, own, others, z = (
            [np.array(row[key][j], dtype=np.float64).reshape(n) for j, n in enumerate(sizes)]
            for key in ("ran", "own", "others", "z")
        )
        scores = None
        if row["scores"] is not None:
            scores = [np.array(row["scores"][j], dtype=np.float64).reshape(2, n) for j, n in enumerate(sizes)]
        if not all(np.isfinite(part).all() for parts in (ran, own, others, z, scores or []) for part in parts):
            raise ValueError("it has a number that is not finite")
        return cls(str(row["search"]), budget, seed, steps, supports, ran, own, others, z, scores)


def watched_row(search: Search, benchmark: Benchmark, dataset: Dataset, trainings: int, seed: int) -> dict[str, Any]:
    """Carry out a search by two-stage or by sampled recovery; its row."""
    start, watch = time.perf_counter(), Watch()
    values, budget = settings_of(search, benchmark, len(dataset.train), trainings, seed)
    options = make_options(search.method, **values, budget=budget)
    done = search_in_memory(SEARCHES[search.method], options, dataset, watch)
    method = done.method
    scores = None
    if isinstance(method, SampledRecovery):
        scores = [_rounded(half) for half in method.architecture.halves()]
        z = [solution.z for solution in method.solutions]
    else:
        assert isinstance(method, TwoStage)
        z = method.architecture.z
    return {
        "search": search.name,
        "budget": trainings,
        "seed": seed,
        "steps": watch.steps,
        "supports": len(watch.supports),
        "ran": [counts.tolist() for counts in watch.ran],
        "own": [_rounded(part) for part in watch.own],
        "others": [_rounded(part) for part in watch.others],
        "z": [_rounded(part) for part in z],
        "scores": scores,
        "found": done.setting.space.support(method.genotype()),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _rounded(values: Array) -> list[Any]:
    """With six digits, which are enough for ranks."""
    return [float(f"{value:.6g}") if np.ndim(value) == 0 else _rounded(value) for value in values]

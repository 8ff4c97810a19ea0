"""What a table of trained architectures is like: its noise, what its seeds agree on, and what connections do.

``values`` are (n, K): n architectures, K seeds of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from isnas.analysis.explained import Fit, explained, lasso_fit
from isnas.analysis.kendall import kendall, resampled
from isnas.sparse.boolean.parities import Array, Bits, Parities

#: Parts of the architectures, each of which is predicted from the others; and weights of the LASSO that are tried.
FOLDS, WEIGHTS = 10, 20


@dataclass(frozen=True)
class Components:
    """Variances of y_ij = mean + architecture_i + seed_j + rest_ij, and ``within``, that of an architecture's seeds.

    ``noise`` is the rest's in a mean of all seeds, rest / K, and ``reliability`` the architectures' share of the
    variance of these means: what of it can be explained. The seed's part is the same for all and changes no rank.
    """

    architectures: float
    seeds: float
    rest: float
    within: float
    noise: float
    reliability: float


def components(values: Array) -> Components:
    """From the mean squares of the analysis of variance, without bias; a component of less than 0 is 0."""
    n, seeds = values.shape
    means, of_seeds = values.mean(axis=1), values.mean(axis=0)
    rest = float(np.square(values - means[:, None] - of_seeds + values.mean()).sum() / ((n - 1) * (seeds - 1)))
    variance, noise = float(means.var(ddof=1)), rest / seeds
    architectures = max(variance - noise, 0.0)
    return Components(
        architectures=architectures,
        seeds=max(float(of_seeds.var(ddof=1)) - rest / n, 0.0),
        rest=rest,
        within=float(values.var(axis=1, ddof=1).mean()),
        noise=noise,
        reliability=architectures / variance if variance else 0.0,
    )


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between means of ``size`` seeds and means of as many others, a mean over all ``pairs`` of such.

    ``low`` to ``high``: the interval over architectures drawn with replacement, the same for all pairs.
    """

    size: int
    pairs: int
    tau: float
    low: float
    high: float


def agreement(values: Array, size: int, counts: np.ndarray, level: float) -> Agreement:
    """The tau of seeds with seeds; ``counts`` are the samples of :func:`isnas.analysis.kendall.resamples_of`."""
    sets = list(combinations(range(values.shape[1]), size))
    means = [
        (values[:, a].mean(axis=1), values[:, b].mean(axis=1)) for a, b in combinations(sets, 2) if not {*a} & {*b}
    ]
    taus = [kendall(x, y)[1] for x, y in means]
    samples = np.mean([resampled(x, y, counts) for x, y in means], axis=0)
    low, high = np.nanquantile(samples, [(1.0 - level) / 2, (1.0 + level) / 2])
    return Agreement(
        size, len(means), float(np.mean([tau for tau in taus if tau is not None])), float(low), float(high)
    )


@dataclass(frozen=True)
class Effect:
    """What a connection does: ``with_it``, the mean of the ``count`` architectures that have it, minus that of all.

    ``fitted``: its coefficient in the least-squares sum of effects, whose sum over a node's candidates is 0. Where all
    architectures are there, it is (n - 1) / (n - 2) times ``with_it`` for a node of n candidates of which two are kept.
    """

    node: int
    candidate: int
    count: int
    with_it: float
    fitted: float


def effects(active: np.ndarray, sizes: Sequence[int], scores: Array) -> list[Effect]:
    """Of all candidates, node by node; ``active`` (n, sum of sizes) says which each architecture has."""
    places = [(node, candidate) for node, size in enumerate(sizes) for candidate in range(size)]
    kept = active.sum(axis=1, dtype=np.float64)[:, None] / len(sizes) / np.repeat(sizes, sizes)
    design = np.hstack([np.ones((len(scores), 1)), active - kept])
    # the least-norm solution lies in the span of the rows, which have the sum 0 at every node
    fitted = np.linalg.lstsq(design, scores, rcond=None)[0][1:]
    found = []
    for (node, candidate), has, value in zip(places, active.T.astype(bool), fitted):
        with_it = float(scores[has].mean() - scores.mean()) if has.any() else 0.0
        found.append(Effect(node, candidate, int(has.sum()), with_it, float(value)))
    return found


@dataclass(frozen=True)
class Degree:
    """What polynomials of a degree explain of the variance of the architectures' means over their seeds (shares of 1).

    ``terms``: the constant and linearly independent ones. ``fitted``: by least squares, of the architectures they are
    fitted to. ``held_out``: of others, over :data:`FOLDS` parts, with ``held_out_deviation``; ``lasso`` the same with
    coefficients drawn to 0, which takes more terms than least squares can. ``of_explainable``: ``fitted`` with the
    seeds' noise taken off both variances, where all architectures of the space are there; otherwise the larger of the
    held-out ones, of what of their variance is not noise. Least squares tell nothing of more terms than half of the
    architectures.
    """

    degree: int
    terms: int
    fitted: float
    held_out: float
    held_out_deviation: float
    lasso: float
    of_explainable: float


def degree_share(alpha: Bits, values: Array, degree: int, complete: bool, seed: int) -> Degree:
    """The shares that polynomials of the connections' bits ``alpha`` (n, sum of sizes), -1 or +1, explain."""
    scores, parts = values.mean(axis=1), components(values)
    columns = Parities(alpha, degree).dense()
    solution, _, rank, _ = np.linalg.lstsq(columns, scores, rcond=None)
    n, residual = len(scores), float(np.square(scores - columns @ solution).sum())
    total = float(np.square(scores - scores.mean()).sum())
    held_out, lasso = (
        explained(fit, alpha, scores, FOLDS, seed) for fit in (squares_fit(degree), lasso_fit(degree, WEIGHTS, FOLDS))
    )
    explainable = total - (n - 1) * parts.noise
    if explainable <= 0.0:
        share = 0.0
    elif complete:
        share = 1.0 - max(residual - (n - int(rank)) * parts.noise, 0.0) / explainable
    else:
        largest = max(lasso.mean, held_out.mean if 2 * rank <= n else 0.0)
        share = min(max(largest, 0.0) / parts.reliability, 1.0)
    deviation = float(np.std(held_out.shares, ddof=1))
    fitted = 1.0 - residual / total if total else 0.0
    return Degree(degree, int(rank), fitted, held_out.mean, deviation, lasso.mean, share)


def squares_fit(degree: int) -> Fit:
    """Least squares over all parities up to ``degree``; of several solutions the least."""

    def fit(alpha: Bits, y: Array, other: Bits) -> Array:
        solution = np.linalg.lstsq(Parities(alpha, degree).dense(), y, rcond=None)[0]
        return np.asarray(Parities(other, degree).dense() @ solution)

    return fit

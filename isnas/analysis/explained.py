"""How much of the variance of a function of bits a sparse polynomial explains on samples it was not fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
import torch

from isnas.base.bars import SOON, bar
from isnas.base.random import generator
from isnas.sparse.boolean.parities import Array, Bits, Parities
from isnas.sparse.boolean.recovery import RecoverySettings, recover

#: The least weight of the LASSO that is tried, as a share of the least one at which the solution is constant.
LEAST_WEIGHT = 1e-2

#: From training samples (m, n) and their values (m,) to a prediction at other samples.
Fit = Callable[[Bits, Array, Bits], Array]


@dataclass(frozen=True)
class Explained:
    """Shares of the variance, one for each fold: R^2 = 1 - sum (y - g)^2 / sum (y - mean of the training values)^2."""

    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the folds."""
        return mean(self.shares)

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * stdev(self.shares):.1f} %"


def explained(fit: Fit, alpha: Bits, y: Array, folds: int, seed: int, *name: str | int) -> Explained:
    """The shares on each of ``folds`` parts of the samples, fitted to the others.

    ``seed`` and ``name`` decide the parts, alike for every ``fit``. Where the values of a part do not vary, its share
    is 0.
    """
    order = torch.randperm(len(y), generator=generator(seed, "folds", *name)).numpy()
    shares = []
    for part in bar(np.array_split(order, folds), "held-out parts", delay=SOON):
        rest = order[~np.isin(order, part)]
        errors = y[part] - fit(alpha[rest], y[rest], alpha[part])
        variance = float(np.square(y[part] - y[rest].mean()).sum())
        shares.append(1.0 - float(errors @ errors) / variance if variance else 0.0)
    return Explained(tuple(shares))


def lasso_fit(degree: int, weights: int, folds: int) -> Fit:
    """The LASSO over all parities up to ``degree`` beside a free constant, its weight chosen by cross-validation.

    ``weights``: how many are tried, from the least at which the solution is constant down to :data:`LEAST_WEIGHT` of
    it, by ``folds`` parts of the training samples.
    """

    def fit(alpha: Bits, y: Array, other: Bits) -> Array:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LassoCV  # slow to import

        parities, centred = Parities(alpha, degree), y - y.mean()
        columns = parities.dense()[:, 1:]
        largest = float(np.abs(parities.correlate(centred)[1:]).max()) / len(y)
        if largest == 0.0:
            return np.full(len(other), y.mean())
        alphas = np.geomspace(largest, LEAST_WEIGHT * largest, weights)
        model = LassoCV(alphas=alphas, cv=folds, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # at small weights, which are not the best then
            model.fit(columns, y)
        return np.asarray(model.intercept_ + Parities(other, degree).times(np.concatenate([[0.0], model.coef_])))

    return fit


def sparse_fit(settings: RecoverySettings) -> Fit:
    """The polynomial that a search recovers, of its few terms."""

    def fit(alpha: Bits, y: Array, other: Bits) -> Array:
        found = recover(alpha, y, settings)
        return found.polynomial(other) + found.intercept

    return fit

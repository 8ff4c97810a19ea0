"""Parity features of +-1 bits: the Fourier basis of functions on the cube {-1, +1}^n, up to a degree.

    chi_S(alpha) = prod_{i in S} alpha_i,    chi_{} = 1,    A[l, S] = chi_S(alpha_l)    (CoNAS, Def. 2.1, Eq. 3.1)

Of bits that are +1 with a probability p other than 1/2 the parities of (alpha_i - mu) / sigma are orthonormal, with
mu = 2 p - 1 and sigma^2 = 4 p (1 - p), and A is of those.

A has 1 + n + n (n - 1) / 2 columns at degree 2, 9871 for n = 140. Products with it are blocks of matrix products with
the m x n samples, so that it is never held whole in float64.
"""

from __future__ import annotations

from functools import cache, cached_property
from itertools import combinations
from math import comb, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bits = NDArray[np.int8]

#: A set of bits by their numbers, ascending.
Monomial = tuple[int, ...]

#: Columns that are multiplied at a time.
_BLOCK = 1024


@cache
def monomials(num_bits: int, degree: int) -> tuple[Monomial, ...]:
    """All sets of at most ``degree`` of the bits: the empty one, single bits, pairs, ..., each kind in order."""
    return tuple(each for size in range(degree + 1) for each in combinations(range(num_bits), size))


def num_monomials(num_bits: int, degree: int) -> int:
    """How many there are, without making them."""
    return sum(comb(num_bits, size) for size in range(degree + 1))


class Parities:
    """The matrix A (m, p) of the parities up to ``degree`` of m samples ``alpha`` (m, n) of n bits, -1 or +1.

    Columns go by :func:`monomials`; vectors are float64. ``probability`` is that of a bit to be +1.
    """

    def __init__(self, alpha: Bits, degree: int = 2, probability: float = 0.5) -> None:
        assert alpha.ndim == 2 and bool((np.abs(alpha) == 1).all()) and degree >= 1
        self.alpha, self.degree = alpha.astype(np.int8), degree
        self.monomials = monomials(alpha.shape[1], degree)
        self.mean, self.deviation = 2 * probability - 1, 2 * sqrt(probability * (1 - probability))
        self._alpha = (alpha - self.mean) / self.deviation

    @property
    def shape(self) -> tuple[int, int]:
        """Samples m and parities p."""
        return len(self.alpha), len(self.monomials)

    @cached_property
    def matrix(self) -> Bits:
        """A transposed, int8 (p, m): a row per monomial; at p = 1/2, where it is of -1 and +1."""
        assert self.mean == 0.0
        m, p = self.shape
        rows = np.empty((p, m), dtype=np.int8)
        for first in range(0, p, _BLOCK):
            rows[first : first + _BLOCK] = self._products(self.alpha, np.arange(first, min(first + _BLOCK, p)))
        return rows

    def columns(self, places: NDArray[np.intp]) -> Array:
        """The columns of A at these places, (m, len(places)), in Fortran's order."""
        return self._products(self._alpha, places).T

    def dense(self) -> Array:
        """A whole, (m, p), in Fortran's order."""
        return self.columns(np.arange(self.shape[1]))

    def times(self, x: Array) -> Array:
        """A x, (m,); what x is zero at costs nothing."""
        places = np.flatnonzero(x)
        total = np.zeros(len(self.alpha))
        for first in range(0, len(places), _BLOCK):
            block = places[first : first + _BLOCK]
            total += self.columns(block) @ x[block]
        return total

    def correlate(self, r: Array) -> Array:
        """A^T r, (p,).

        The parities of size k + 2 that begin with the set T of k bits are pairs times chi_T, so their correlations are
        entries of alpha^T diag(r chi_T) alpha.
        """
        alpha, n = self._alpha, self.alpha.shape[1]
        parts = [np.array([r.sum()]), r @ alpha]
        for size in range(2, self.degree + 1):
            for head in combinations(range(n), size - 2):
                first = head[-1] + 1 if head else 0
                weighted = r * alpha[:, list(head)].prod(1) if head else r
                rest = alpha[:, first:]
                pairs = (rest * weighted[:, None]).T @ rest
                parts.append(pairs[np.triu_indices(n - first, 1)])
        return np.concatenate(parts)

    def expanded(self, monomial: Monomial) -> list[tuple[Monomial, float]]:
        """The column of a monomial as a sum of plain parities of the bits: each with its coefficient."""
        size, parts = len(monomial), []
        for kept in range(size, -1, -1) if self.mean else [size]:
            value = (-self.mean) ** (size - kept) / self.deviation**size
            parts += [(subset, value) for subset in combinations(monomial, kept)]
        return parts

    @cached_property
    def _factors(self) -> NDArray[np.intp]:
        """Of each monomial the numbers of its bits, (p, degree); n stands for none."""
        n = self.alpha.shape[1]
        table = np.full((self.shape[1], self.degree), n, dtype=np.intp)
        first = 1
        for size in range(1, self.degree + 1):
            count = comb(n, size)
            flat = (number for each in self.monomials[first : first + count] for number in each)
            table[first : first + count, :size] = np.fromiter(flat, np.intp, count * size).reshape(count, size)
            first += count
        return table

    def _products(self, alpha: NDArray, places: NDArray[np.intp]) -> NDArray:
        rows = np.vstack([alpha.T, np.ones((1, len(alpha)), alpha.dtype)])  # the last for none
        factors = self._factors[places]
        product = rows[factors[:, 0]]
        for position in range(1, self.degree):
            product *= rows[factors[:, position]]
        return product

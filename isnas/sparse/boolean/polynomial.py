"""Sparse polynomials of +-1 bits, and the exact places of their least values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isnas.base.errors import UserError
from isnas.sparse.boolean.parities import Array, Bits, Monomial

#: Bits that terms connect with one another, at most: all their settings are tried, 2^24 numbers of 128 MiB.
MOST_CONNECTED = 24

#: Which of several equal minima is taken: the first when settings are counted with the lowest bit changing fastest and
#: +1 before -1 (CoNAS's released code), or among those with fewest bits at +1 the first.
TIES = ("first", "fewest_active")


class Term(NamedTuple):
    """``coefficient`` times the parity of ``bits``."""

    bits: Monomial
    coefficient: float


@dataclass(frozen=True)
class Polynomial:
    """g(alpha) = sum of the terms; terms of coefficient 0 are no terms."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        kept = tuple(term for term in self.terms if term.coefficient != 0.0)
        assert len({term.bits for term in kept}) == len(kept)
        object.__setattr__(self, "terms", kept)

    def __call__(self, alpha: Bits | Array) -> Array:
        """Values (...) at points (..., n)."""
        values = np.zeros(alpha.shape[:-1])
        for bits, coefficient in self.terms:
            values += coefficient * alpha[..., list(bits)].prod(-1, dtype=np.float64)
        return values

    @property
    def variables(self) -> tuple[int, ...]:
        """The bits that occur, ascending."""
        return tuple(sorted({bit for term in self.terms for bit in term.bits}))

    def components(self) -> tuple[tuple[int, ...], ...]:
        """The bits by components: two bits of one term are in one component. Ordered by their first bits."""
        found: list[set[int]] = []
        for bits, _ in self.terms:
            touched = [component for component in found if component.intersection(bits)]
            found = [component for component in found if component not in touched]
            if merged := set(bits).union(*touched):
                found.append(merged)
        return tuple(sorted(tuple(sorted(component)) for component in found))

    def minimiser(self, tie: str = "first") -> dict[int, int]:
        """The least value's place: -1 or +1 for each of ``variables``.

        Components are independent of one another, and in each all settings are tried. Values are equal that differ by
        1e-12 of the sum of all coefficients' sizes or less; ``tie``, one of :data:`TIES`, decides among those.

        Raises:
            UserError: when a component has more than :data:`MOST_CONNECTED` bits.
        """
        assert tie in TIES
        place: dict[int, int] = {}
        for component in self.components():
            if len(component) > MOST_CONNECTED:
                raise UserError(
                    f"the recovered polynomial connects {len(component)} bits with one another, and its minimum is "
                    f"sought among {MOST_CONNECTED} at most; take fewer monomials"
                )
            least = self._least_of(component)
            index = int(_with_fewest_active(least, len(component)) if tie == "fewest_active" else least[0])
            place |= {bit: -1 if index >> number & 1 else 1 for number, bit in enumerate(component)}
        return dict(sorted(place.items()))

    def num_minima(self) -> int:
        """How many settings of ``variables`` have the least value, up to the same tolerance."""
        return prod(len(self._least_of(component)) for component in self.components())

    def renumbered(self, numbers: Sequence[int]) -> Polynomial:
        """The same with bit i called ``numbers[i]``, which ascend."""
        return Polynomial(tuple(Term(tuple(numbers[bit] for bit in bits), value) for bits, value in self.terms))

    def restricted(self, fixed: Mapping[int, int]) -> Polynomial:
        """What is left of it where some bits are fixed (CoNAS, Definition 2.2); equal monomials are joined."""
        coefficients: dict[Monomial, float] = {}
        for bits, coefficient in self.terms:
            free = tuple(bit for bit in bits if bit not in fixed)
            sign = int(np.prod([fixed[bit] for bit in bits if bit in fixed]))
            coefficients[free] = coefficients.get(free, 0.0) + sign * coefficient
        return Polynomial(tuple(Term(bits, value) for bits, value in coefficients.items()))

    def _least_of(self, component: tuple[int, ...]) -> NDArray[np.intp]:
        """The settings of a component where its values are least, ascending, as :meth:`_values_of` numbers them."""
        values = self._values_of(component)
        tolerance = 1e-12 * sum(abs(term.coefficient) for term in self.terms)
        return np.flatnonzero(values <= values.min() + tolerance)

    def _values_of(self, component: tuple[int, ...]) -> Array:
        """Its values from a component's terms at all settings, (2^k,), by a fast Walsh-Hadamard transform.

        Bit j of an index says whether the component's bit j is -1, so the value there is
        sum_S c_S (-1)^popcount(index & S).
        """
        number = {bit: 1 << place for place, bit in enumerate(component)}
        values = np.zeros(1 << len(component))
        for bits, coefficient in self.terms:
            if bits and bits[0] in number:
                values[sum(number[bit] for bit in bits)] = coefficient
        for place in range(len(component)):
            halves = values.reshape(-1, 2, 1 << place)
            upper = halves[:, 0] - halves[:, 1]
            halves[:, 0] += halves[:, 1]
            halves[:, 1] = upper
        return values


def _with_fewest_active(indices: NDArray[np.intp], num_bits: int) -> np.intp:
    """Of indices, ascending, the first with most of its bits set, which stand for -1."""
    active = sum((indices >> place & 1 for place in range(num_bits)), start=np.zeros_like(indices))
    return indices[int(np.argmax(active))]

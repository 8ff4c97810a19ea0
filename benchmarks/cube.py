"""Accuracies of every choice of n bits, and the table of NAS-Bench-Graph as 15 of them."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from isnas.base.errors import UserError
from isnas.base.random import generator

#: Bits of a number that says which operation, or which list of links.
CODE_BITS = 3


@dataclass(frozen=True)
class Cube:
    """Validation and test accuracy (2^n,) in percent; the bits of an architecture are those of its row, highest first.

    A bit of 1 is +1, on, and one of 0 is -1, off.
    """

    valid: np.ndarray
    test: np.ndarray

    @property
    def num_bits(self) -> int:
        return len(self.valid).bit_length() - 1

    @cached_property
    def alpha(self) -> np.ndarray:
        """The bits of all rows as -1 and +1, int8 (2^n, n)."""
        rows = np.arange(len(self.valid))[:, None]
        return (2 * (rows >> np.arange(self.num_bits - 1, -1, -1) & 1) - 1).astype(np.int8)

    @cached_property
    def error(self) -> np.ndarray:
        """Validation errors (2^n,) in percent, what a search minimises."""
        return 100.0 - self.valid

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(self.error)

    def rows(self, alpha: np.ndarray) -> np.ndarray:
        """Which rows have these bits, (..., n) of -1 and +1."""
        return (alpha > 0) @ (1 << np.arange(self.num_bits - 1, -1, -1))

    def top(self, error: float) -> float:
        """The place of a validation error among all, in percent: 100 times (1 + how many are less) / 2^n."""
        return 100.0 * (1 + int(np.searchsorted(self._sorted, error))) / len(self.error)

    def recoded(self, seed: int) -> "Cube":
        """The same architectures with other numbers: those of every code of three bits in a random order of its own."""
        codes = self.num_bits // CODE_BITS
        rng = generator(seed, "codes")
        order = np.ix_(*[torch.randperm(1 << CODE_BITS, generator=rng).numpy() for _ in range(codes)])
        shape = (1 << CODE_BITS,) * codes
        return Cube(self.valid.reshape(shape)[order].ravel(), self.test.reshape(shape)[order].ravel())


def variance_by_degree(values: np.ndarray) -> np.ndarray:
    """What share of the variance of values (2^n,) the monomials of degree 1, 2, ..., n explain, (n,).

    The coefficient of a monomial is its mean product with the values (the Walsh-Hadamard transform has them all), and
    the variance is the sum of the squares of all but the constant's (Parseval).
    """
    num_bits = len(values).bit_length() - 1
    coefficients = values.reshape((2,) * num_bits)
    for axis in range(num_bits):
        off, on = np.take(coefficients, 0, axis), np.take(coefficients, 1, axis)
        coefficients = np.stack([off + on, on - off], axis) / 2
    degrees = np.array([row.bit_count() for row in range(len(values))])
    energy = np.bincount(degrees, coefficients.ravel() ** 2)[1:]
    return energy / energy.sum()


def read_table(dataset: str, left_out: int = 0) -> Cube:
    """The table that the package nas-bench-graph ships for a data set: three bits for the links and for each operation.

    Three bits are eight choices, and there are nine. Of the operations "skip" is left out: four of it are no network
    and have no entry. Of the lists of links it is the one of the number ``left_out``, which is the first unless told
    otherwise: in that no operation follows another. The others keep the package's order. The package unpickles a file
    of its own.

    Raises:
        UserError: when the package is not there.
    """
    try:
        from nas_bench_graph import Arch, gnn_list, light_read, link_list
    except ModuleNotFoundError:
        raise UserError("this needs the package nas-bench-graph: pip install nas-bench-graph") from None
    bench = light_read(dataset)
    links = [links for number, links in enumerate(link_list) if number != left_out]
    operations = [name for name in gnn_list if name != "skip"]
    found = [
        bench[Arch(list(chosen), list(names)).valid_hash()]
        for chosen, names in itertools.product(links, itertools.product(operations, repeat=4))
    ]
    valid, test = (np.array([100.0 * row[key] for row in found]).round(6) for key in ("valid_perf", "perf"))
    assert len(valid) == 1 << 5 * CODE_BITS
    return Cube(valid, test)


def planted_cube(num_bits: int, num_terms: int) -> Cube:
    """A small one that needs no package: a random polynomial of degree 3, and noise in what the test says."""
    rng = np.random.default_rng(0)
    rows = np.arange(1 << num_bits)[:, None] >> np.arange(num_bits) & 1
    valid = np.full(len(rows), 75.0)
    for _ in range(num_terms):
        bits = rng.choice(num_bits, rng.integers(1, 4), replace=False)
        valid += rng.normal() * np.prod(2 * rows[:, bits] - 1, axis=1)
    return Cube(valid, valid + rng.normal(size=len(valid)))

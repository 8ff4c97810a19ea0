"""The options of the study of the matrix of parities."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import KEPT, ReportOptions
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.sparse.boolean.parities import num_monomials

#: Sets of bits of which every sum over the samples is held, in float32.
MOST_SETS = 10**8


@dataclass(frozen=True)
class ParityMatrixOptions(ReportOptions, title="Matrix of parities"):
    """What is measured."""

    output: str = option("runs/parity_matrix", KEPT, path=True)
    cube_bits: int = option(
        10, "the parities of 1 bit up to so many are compared over whole cubes", minimum=1, maximum=12
    )
    num_bits: int = option(140, "bits n of the sampled matrix", minimum=2, maximum=200)
    degree: int = option(2, "largest degree d of a parity", minimum=1, maximum=4)
    measurements: tuple[int, ...] = option((250, 500, 1000, 2000, 4000, 8000), "samples m", minimum=1, maximum=100_000)
    monomials: int = option(10, "entries s of a sparse vector", minimum=2, maximum=100)
    vectors: int = option(1000, "random supports, each with a random vector", minimum=1, maximum=10**6)
    starts: int = option(10, "searches for a vector whose length is changed most", minimum=1, maximum=10**4)
    seed: int = option(0, "decides everything that is random", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not self.measurements:
            raise UserError("give one number of measurements or more")
        if self.degree > self.num_bits:
            raise UserError(f"degree {self.degree} is more than the {self.num_bits} bits; lower --degree")
        if num_monomials(self.num_bits, 2 * self.degree) > MOST_SETS:
            raise UserError(
                f"{self.num_bits} bits at degree {self.degree} have more than {MOST_SETS:,} products of two parities; "
                "lower --num_bits or --degree"
            )
        parities = num_monomials(self.num_bits, self.degree)
        if 2 * self.monomials > parities:
            raise UserError(
                f"{2 * self.monomials} different parities are asked for, twice --monomials, and {self.num_bits} bits "
                f"at degree {self.degree} have {parities}; lower --monomials"
            )

"""The options of the study of planted polynomials."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.analysis.report import KEPT, ReportOptions
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.sparse.boolean.lasso import FORMS
from isnas.sparse.boolean.parities import num_monomials
from isnas.sparse.boolean.polynomial import MOST_CONNECTED
from isnas.sparse.boolean.recovery import CONSTANTS, METHODS

#: Monomials per bit, at most, so that the planted ones connect few bits with one another.
MOST_PER_BIT = 1 / 4


@dataclass(frozen=True)
class PlantedOptions(ReportOptions, title="Planted polynomials"):
    """What is planted, measured and recovered."""

    output: str = option("runs/planted", KEPT, path=True)
    num_bits: int = option(140, "bits n", minimum=2, maximum=200)
    degree: int = option(2, "largest degree d of a monomial", minimum=1, maximum=3)
    measurements: tuple[int, ...] = option(
        (50, 100, 150, 200, 250, 300, 400, 1000), "samples m", minimum=2, maximum=100_000
    )
    monomials: tuple[int, ...] = option((5, 10, 15, 20, 25, 30, 35), "monomials s", minimum=1, maximum=1000)
    noises: tuple[float, ...] = option(
        (0.0, 0.1), "standard deviations of normal noise, in those of the polynomial", minimum=0.0, maximum=1000.0
    )
    trials: int = option(10, "polynomials of every s", minimum=1, maximum=10_000)
    planted_constant: float = option(
        0.0, "constant that is added to every polynomial and counts as one more monomial", minimum=-1e3, maximum=1e3
    )
    recovery: str = option("lasso", "how a polynomial is recovered", choices=METHODS)
    lasso_lambda: float = option(1.0, "weight of the l1 norm", above=0.0, maximum=1e6)
    lasso_form: str = option("paper", "objective that the weight belongs to", choices=FORMS)
    constant: str = option("penalised", "the constant: one of the monomials, or beside them", choices=CONSTANTS)
    seed: int = option(0, "decides everything that is random", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        for name in ("measurements", "monomials", "noises"):
            if not getattr(self, name):
                raise UserError(f"give one value or more after --{name}")
        if self.degree > self.num_bits:
            raise UserError(f"degree {self.degree} is more than the {self.num_bits} bits; lower --degree")
        if self.num_bits <= MOST_CONNECTED:
            most = num_monomials(self.num_bits, self.degree) - 1
        else:
            most = int(MOST_PER_BIT * self.num_bits)
        if max(self.monomials) > most:
            raise UserError(
                f"{max(self.monomials)} monomials are too many for the exact minimum of {self.num_bits} bits; "
                f"at most {most}"
            )

"""The options of CoNAS's stages, whatever is measured in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isnas.base.errors import UserError
from isnas.base.options import Component, option
from isnas.sparse.boolean.lasso import FORMS
from isnas.sparse.boolean.polynomial import MOST_CONNECTED, TIES
from isnas.sparse.boolean.recovery import CONSTANTS, METHODS

if TYPE_CHECKING:
    from isnas.sparse.boolean.parities import Array
    from isnas.sparse.boolean.recovery import RecoverySettings


@dataclass(frozen=True)
class StageOptions(Component, title="CoNAS"):
    """How measurements become bits; the defaults are the paper's."""

    bernoulli_p: float = option(
        0.5, "probability of a connection to run, in steps and measurements", above=0.0, below=1.0
    )
    max_loss: float = option(0.0, "leave out measurements of a larger loss; 0: none", minimum=0.0, maximum=1e30)
    clip_quantile: float = option(
        1.0, "losses above this quantile of a stage's count as that; 1: as they are", above=0.0, maximum=1.0
    )
    monomials: int = option(10, "s, terms of the polynomial that is minimised", minimum=1, maximum=10**4)
    degree: int = option(2, "d, bits in a term at most", minimum=1, maximum=3)
    recovery: str = option("lasso", "how it is recovered: lasso, or iterative hard thresholding", choices=METHODS)
    lasso_lambda: float = option(1.0, "weight of the l1 norm in the LASSO", above=0.0, maximum=1e9)
    lasso_form: str = option(
        "paper",
        "the LASSO's squared error: whole (paper, ||y - Ax||^2), half of it (half), or half of its mean (mean, as "
        "scikit-learn has it)",
        choices=FORMS,
    )
    constant: str = option(
        "penalised", "whether the constant is one of the terms, or an intercept beside them", choices=CONSTANTS
    )
    tie: str = option(
        "first", "which of equal minima is taken: the first one counted, or one of fewest connections", choices=TIES
    )
    debias: bool = option(False, "fit the terms' coefficients again by least squares")

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        connected = 1 + self.monomials * (self.degree - 1)
        if connected > MOST_CONNECTED:
            most = (MOST_CONNECTED - 1) // (self.degree - 1)
            raise UserError(
                f"--monomials {self.monomials} of degree {self.degree} can connect {connected} bits, and a minimum is "
                f"sought among {MOST_CONNECTED}; give {most} or fewer"
            )
        defaults = StageOptions.lasso_lambda, StageOptions.lasso_form
        if self.recovery == "iht" and (self.lasso_lambda, self.lasso_form) != defaults:
            raise UserError("--lasso_lambda and --lasso_form have no effect with --recovery iht; leave them out")

    def settings(self) -> RecoverySettings:
        """How the polynomial is recovered."""
        from isnas.sparse.boolean.recovery import RecoverySettings

        return RecoverySettings(
            monomials=self.monomials,
            degree=self.degree,
            weight=self.lasso_lambda,
            form=self.lasso_form,
            method=self.recovery,
            constant=self.constant,
            debias=self.debias,
            probability=self.bernoulli_p,
        )


@dataclass(frozen=True)
class StagesOptions(StageOptions, title="CoNAS"):
    """How many stages there are, and what is measured in each."""

    stages: int = option(1, "t, rounds of measuring and fixing bits; the paper has 1 and 4", minimum=1, maximum=100)
    measurements: int = option(1000, "m, architectures that are measured in a stage", minimum=1, maximum=10**6)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if self.measurements < self.monomials:
            raise UserError(
                f"--measurements {self.measurements} are fewer than the --monomials {self.monomials} that they are to "
                "tell; give more of them, or fewer monomials"
            )

    def of_stage(self, stage: int) -> StageOptions:
        """The options of a stage, counted from 1."""
        return self

    def measured_of(self, losses: Array) -> Array:
        """What a stage recovers, of its losses (m,) in nats."""
        return losses

"""A stage of CoNAS: from losses of random architectures to the bits that are fixed (Algorithm 1, lines 10 to 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.sparse.boolean.lasso import FORMS
from isnas.sparse.boolean.parities import Array
from isnas.sparse.boolean.polynomial import MOST_CONNECTED, TIES
from isnas.sparse.boolean.recovery import CONSTANTS, METHODS, RecoverySettings, recover


@dataclass(frozen=True)
class StageOptions:
    """How measurements become bits; the defaults are the paper's."""

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
        return RecoverySettings(
            self.monomials,
            self.degree,
            self.lasso_lambda,
            self.lasso_form,
            self.recovery,
            self.constant,
            self.debias,
        )


def usable(losses: Array, options: StageOptions) -> tuple[NDArray[np.bool_], Array]:
    """Which of the losses (m,) a recovery takes, and those, clipped as ``options`` say."""
    kept = np.isfinite(losses)
    if options.max_loss:
        kept &= losses <= options.max_loss
    taken = losses[kept]
    return kept, np.minimum(taken, np.quantile(taken, options.clip_quantile)) if len(taken) else taken


def end_stage(
    encoders: NDArray[np.bool_], losses: Array, mask: Sequence[int], options: StageOptions
) -> tuple[list[int], dict[str, Any]]:
    """The bits that are fixed after a stage, and its figures by name.

    ``mask`` has -1 or +1 for a bit that was fixed before, 0 for a free one; all of ``encoders`` (m, n) have the fixed
    ones. ``losses`` (m,) in nats; those that are not finite are left out. Parities are of the free bits alone: with the
    fixed ones among them each would have others that are equal to it.

    Raises:
        UserError: when too few losses are left.
    """
    kept, y = usable(losses, options)
    if len(y) < options.monomials:
        raise UserError(
            f"{len(y)} of {len(losses)} measured losses are left, fewer than the --monomials "
            f"{options.monomials}; train the one-shot network for longer, or give a larger --max_loss"
        )
    free = [place for place, bit in enumerate(mask) if not bit]
    alpha = np.where(encoders[kept][:, free], 1, -1).astype(np.int8)
    recovered = recover(alpha, y, options.settings())
    polynomial = recovered.polynomial
    minimum = polynomial.minimiser(options.tie)
    after = list(mask)
    for bit, value in minimum.items():
        after[free[bit]] = value
    at = np.array([minimum.get(bit, 1) for bit in range(len(free))], dtype=np.int8)
    return after, {
        "measured": len(losses),
        "missing": int((~np.isfinite(losses)).sum()),
        "left_out": int((~kept).sum()),
        "loss_mean": float(y.mean()),
        "loss_std": float(y.std()),
        "loss_best": float(losses[kept].min()),
        "relative_gap": recovered.relative_gap if np.isfinite(recovered.relative_gap) else None,
        "nonzeros": recovered.nonzeros,
        "terms": len(polynomial.terms),
        "minima": polynomial.num_minima(),
        "predicted": float(polynomial(at)) + recovered.intercept,
        "fixed_on": after.count(1),
        "fixed_off": after.count(-1),
    }

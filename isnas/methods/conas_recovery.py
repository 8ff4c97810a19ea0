"""A stage of CoNAS: from losses of random architectures to the bits that are fixed (Algorithm 1, lines 10 to 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from isnas.base.errors import UserError
from isnas.methods.options.stages import StageOptions
from isnas.sparse.boolean.parities import Array
from isnas.sparse.boolean.recovery import RecoverySettings, recover, weight_share


@dataclass(frozen=True)
class StageFigures:
    """What there is to say of a stage.

    ``measured`` architectures, of which ``left_out`` tell nothing, ``missing`` of them as their loss is not finite; of
    the other losses (nats, clipped) mean, standard deviation and so on. ``relative_gap`` certifies the LASSO, in which
    lambda is ``weight_share`` of the least one that leaves no coefficient; without one both are None. The polynomial
    has ``terms``, ``minima`` places where it is least, and is ``predicted`` there; ``fixed`` bits are fixed by it, and
    so far ``fixed_on`` and ``fixed_off``.
    """

    measured: int
    missing: int
    left_out: int
    loss_mean: float
    loss_std: float
    loss_best: float
    loss_median: float
    loss_worst: float
    relative_gap: float | None
    weight_share: float | None
    nonzeros: int
    terms: int
    minima: int
    predicted: float
    fixed: int
    fixed_on: int
    fixed_off: int

    def __post_init__(self) -> None:
        if not all(value is None or isinstance(value, int | float) for value in asdict(self).values()):
            raise ValueError("figures of a stage are no numbers")

    def lines(self, stage: int) -> list[str]:
        """What the log says of it; warnings where the figures tell little."""
        left_out = f" ({self.left_out} left out, {self.missing} of them not finite)" if self.left_out else ""
        lines = [
            f"stage {stage}: {self.measured} architectures{left_out}, loss {self.loss_mean:.4f} +- {self.loss_std:.4f}"
            f", least {self.loss_best:.4f}; terms {self.terms}, least at {self.predicted:.4f}; bits on {self.fixed_on}"
            f", off {self.fixed_off}"
        ]
        if self.weight_share is not None:
            lines[0] += f"; lambda is {self.weight_share:.1e} of the largest that leaves a term"
        if not self.fixed:
            remedy = "give more --measurements, more --monomials or a smaller --lasso_lambda"
            lines.append(f"WARNING: stage {stage} fixed nothing; {remedy}")
        if self.relative_gap is not None and self.relative_gap > RecoverySettings.tolerance:
            lines.append(f"WARNING: stage {stage}'s LASSO was given up at a relative gap of {self.relative_gap:.1e}")
        if self.loss_worst > self.loss_median + 10 * (self.loss_median - self.loss_best):
            lines.append(
                f"WARNING: the largest loss, {self.loss_worst:.4g}, is far above the median {self.loss_median:.4f} and "
                "may decide what is recovered; --max_loss or --clip_quantile takes such losses out"
            )
        return lines


def usable(losses: Array, options: StageOptions) -> tuple[NDArray[np.bool_], Array]:
    """Which of the losses (m,) a recovery takes, and those, clipped as ``options`` say."""
    kept = np.isfinite(losses)
    if options.max_loss:
        kept &= losses <= options.max_loss
    taken = losses[kept]
    return kept, np.minimum(taken, np.quantile(taken, options.clip_quantile)) if len(taken) else taken


def end_stage(
    encoders: NDArray[np.bool_], losses: Array, mask: Sequence[int], options: StageOptions
) -> tuple[list[int], StageFigures]:
    """The bits that are fixed after a stage, and its figures.

    ``mask`` has -1 or +1 for a bit that was fixed before, 0 for a free one; all of ``encoders`` (m, n) have the fixed
    ones. ``losses`` (m,) in nats; those that are not finite are left out. Parities are of the free bits alone: with the
    fixed ones among them each would have others that are equal to it.

    Raises:
        UserError: when too few losses are left.
    """
    kept, y = usable(losses, options)
    if len(y) < options.monomials:
        raise UserError(
            f"{len(y)} of {len(losses)} measured losses are left, fewer than the --monomials {options.monomials}; "
            "start a new run that trains the one-shot network for longer, or with a larger --max_loss"
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
    return after, StageFigures(
        measured=len(losses),
        missing=int((~np.isfinite(losses)).sum()),
        left_out=int((~kept).sum()),
        loss_mean=float(y.mean()),
        loss_std=float(y.std()),
        loss_best=float(y.min()),
        loss_median=float(np.median(y)),
        loss_worst=float(y.max()),
        relative_gap=recovered.relative_gap if np.isfinite(recovered.relative_gap) else None,
        weight_share=weight_share(recovered, y, options.settings()),
        nonzeros=recovered.nonzeros,
        terms=len(recovered.chosen),
        minima=polynomial.num_minima(),
        predicted=float(polynomial(at)) + recovered.intercept,
        fixed=len(minimum),
        fixed_on=after.count(1),
        fixed_off=after.count(-1),
    )

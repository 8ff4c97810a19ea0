"""The running mean of a language model's loss, kept on the device so that no step waits for it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from isnas.base.precision import ExactSums


def perplexity(loss: float) -> float:
    """exp(loss) of a mean cross-entropy in nats per word; infinite where that is too large for a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


class WordScores(NamedTuple):
    """Mean loss (nats per word)."""

    loss: float

    @property
    def perplexity(self) -> float:
        """Its exponential."""
        return perplexity(self.loss)

    @property
    def finite_perplexity(self) -> float | None:
        """The same for a file: None where it is not finite."""
        return self.perplexity if math.isfinite(self.perplexity) else None

    def named(self, split: str) -> dict[str, float | None]:
        """Loss and perplexity by name, for metrics; None where one is not finite."""
        loss = self.loss if math.isfinite(self.loss) else None
        return {f"{split}/loss": loss, f"{split}/perplexity": self.finite_perplexity}

    def __str__(self) -> str:
        return f"loss {self.loss:.6f} ppl {self.perplexity:.4f}"


class WordAverages(ExactSums):
    """Sums over this process's words of the loss, and their number, in float64."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(2, device)

    @torch.no_grad()
    def add(self, loss: Tensor, count: int) -> None:
        """Count a window: its mean loss () and the number of its words."""
        self.include(loss.detach() * count, float(count))

    def scores(self) -> WordScores:
        """The average over all processes so far; this waits for the device, and every process must ask."""
        loss, count = self.total().tolist()
        return WordScores(loss / count)

"""Running averages of loss and accuracy, kept on the device so that no step waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from isnas.base.precision import ExactSums


class Scores(NamedTuple):
    """Mean loss (nats) and accuracies (percent) over the images seen."""

    loss: float
    top1: float
    top5: float

    def named(self, split: str) -> dict[str, float]:
        """The scores by name, for metrics."""
        return {f"{split}/loss": self.loss, f"{split}/acc": self.top1, f"{split}/acc_top5": self.top5}

    def __str__(self) -> str:
        return f"{self.loss:.6e} {self.top1:.6f} {self.top5:.6f}"


def above_guess(loss: float, guess: float, epoch: int) -> bool:
    """Whether the mean training loss of an epoch (nats, counted from 0) says that the training has diverged.

    ``guess`` is the loss of scores that are all equal, ln(classes). A network that learns little stays beside it, a
    tenth or two above in small batches, so half as much again is clearly above; in the first epoch, twice as much is.
    """
    return loss > guess * (1.5 if epoch else 2.0)


class Averages(ExactSums):
    """Sums over this process's images of loss, top-1 hits, top-5 hits and their number, in float64."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(4, device)

    @torch.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: its mean loss (), scores (B, num_classes) and labels (B,), or shares of classes as the scores.

        Of shares what is found counts as its share.
        """
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices
        ranked = labels.gather(1, best) if labels.is_floating_point() else best == labels[:, None]
        size = float(len(labels))
        self.include(loss.detach() * size, ranked[:, 0].sum(), ranked.sum(), size)

    def scores(self) -> Scores:
        """The averages over all processes so far; this waits for the device, and every process must ask."""
        loss, top1, top5, count = self.total().tolist()
        return Scores(loss / count, 100.0 * top1 / count, 100.0 * top5 / count)


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> Scores:
    """Scores of ``predict`` (images -> class scores) over all batches; the caller has set eval mode."""
    averages = Averages(device)
    for x, labels in batches:
        if not len(labels):  # another process has the last few images
            continue
        logits = predict(x)
        averages.add(F.cross_entropy(logits, labels), logits, labels)
    return averages.scores()

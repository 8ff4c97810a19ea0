"""What the loss of a training batch descends to: labels, or shares of classes where images are mixed or weighted.

MixUp (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019) with the draws of torchvision's transforms. Images
are mixed in pairs, the first with the second and so on, which in a batch that is shuffled are random pairs; so a pair
never spans two processes. Classes are weighted in inverse proportion to their number of training images.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from isnas.base.random import global_draws
from isnas.train.train_options import MixingOptions


class Batch(NamedTuple):
    """Images (B, C, S, S), what their loss descends to, and what their accuracy is measured against.

    The latter are labels, int64 (B,), or shares of the classes (B, K).
    """

    x: Tensor
    target: Tensor
    labels: Tensor


class Targets:
    """Makes batches to train on, each a function of the seed, the epoch and the step.

    Args:
        options: What is mixed and how classes are weighted.
        smoothing: Share of a label that is spread over all classes.
        labels: Those of all training images, int64 (N,).
        num_classes: K.
        seed: The run's seed.
        device: Where the batches are.
    """

    def __init__(
        self,
        options: MixingOptions,
        smoothing: float,
        labels: Tensor,
        num_classes: int,
        seed: int,
        device: torch.device,
    ) -> None:
        from torchvision.transforms import v2  # slow to import

        self.options, self.smoothing, self.num_classes, self.seed = options, smoothing, num_classes, seed
        transforms = {v2.MixUp: options.mixup, v2.CutMix: options.cutmix}
        self._transforms = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in transforms.items() if alpha]
        self._partners: dict[int, Tensor] = {}
        self._weights: Tensor | None = None
        if options.class_weights == "balanced":
            counts = torch.bincount(labels, minlength=num_classes).clamp(min=1)
            self._weights = (len(labels) / (num_classes * counts)).to(device)

    def batch(self, x: Tensor, labels: Tensor, epoch: int, step: int) -> Batch:
        """The batch of a step; ``labels`` int64 (B,)."""
        if not self._transforms and self._weights is None:
            return Batch(x, labels, labels)
        shares = F.one_hot(labels, self.num_classes).to(x.dtype)
        if self._transforms:
            x, shares = self._mixed(x, shares, epoch, step)
        target = shares if self._weights is None else shares * self._weights
        if self.smoothing:
            target = (1.0 - self.smoothing) * target + self.smoothing / self.num_classes * target.sum(1, keepdim=True)
        return Batch(x, target, shares if self._transforms else labels)

    def _mixed(self, x: Tensor, shares: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        with global_draws(self.seed, "mixing", epoch, step):
            number = int(torch.randint(len(self._transforms), ())) if len(self._transforms) > 1 else 0
            drawn = self._transforms[number].make_params([x])
        partner = self._partner(len(x), x.device)
        others = x.index_select(0, partner)
        if "box" in drawn:
            left, top, right, bottom = drawn["box"]
            x[..., top:bottom, left:right] = others[..., top:bottom, left:right]
            kept = drawn["lam_adjusted"]
        else:
            kept = drawn["lam"]
            x = others.mul_(1.0 - kept).add_(x.mul(kept))
        return x, shares.index_select(0, partner).mul_(1.0 - kept).add_(shares.mul(kept))

    def _partner(self, count: int, device: torch.device) -> Tensor:
        """Whom each of so many images is mixed with: 1, 0, 3, 2, ...; of an odd number the last with itself."""
        if count not in self._partners:
            partner = torch.arange(count) ^ 1
            self._partners[count] = partner.clamp_(max=count - 1).to(device)
        return self._partners[count]

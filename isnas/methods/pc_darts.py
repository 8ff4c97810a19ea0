"""PC-DARTS (ICLR 2020): DARTS on a part of the channels, with edges that have weights of their own.

A node is the sum of its edges weighted by ``softmax(beta)`` over them. Of every edge the operations see the first of K
parts of the channels, and the others pass by. The architecture waits for the first epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.methods.mixed import MixedOptions, MixedSearch
from isnas.space.space import Network, Space
from isnas.train.stepping import StepResult


@dataclass(frozen=True)
class PCDartsOptions(MixedOptions):
    """The original's settings for CIFAR-10."""

    arch_learning_rate: float = option(6e-4, "Adam's learning rate for alpha and beta", above=0.0, maximum=1e6)
    arch_start_epoch: int = option(15, "epochs before the first step of alpha and beta", minimum=0, maximum=10**6)
    partial_channels: int = option(
        4, "K: operations see the first of K parts of the channels, the others pass by", minimum=1, maximum=10**4
    )

    def validate(self) -> None:
        """See that the channels can be divided, and that alpha and beta take a step."""
        if self.has_space:
            self.check_parts(self.partial_channels)
        if not self.budget:  # which decides the number of epochs
            self.check_start(self.epochs)

    def check_start(self, epochs: int) -> None:
        """See that alpha and beta take a step in so many epochs.

        Raises:
            UserError: when they do not, and what is found would be what was drawn at the start.
        """
        if self.arch_start_epoch >= epochs:
            raise UserError(
                f"--arch_start_epoch {self.arch_start_epoch} leaves alpha and beta none of {epochs} epochs; lower it"
            )


class PCDarts(MixedSearch[PCDartsOptions]):
    """The mixture; ``beta`` (edges,) has a value per edge."""

    Options = PCDartsOptions
    learns_architecture = True

    @classmethod
    def make_network(cls, options: PCDartsOptions, space: Space, sizes: dict[str, Any]) -> Network:
        return space.super_net(partial=options.partial_channels, **sizes)

    @classmethod
    def passes_of_step(cls, options: PCDartsOptions, epoch: int) -> float:
        return 1.0 if epoch < options.arch_start_epoch else super().passes_of_step(options, epoch)

    @classmethod
    def within_budget(
        cls, options: PCDartsOptions, num_images: int, steps_per_epoch: int
    ) -> tuple[PCDartsOptions, int]:
        planned, steps = super().within_budget(options, num_images, steps_per_epoch)
        planned.check_start(planned.epochs)
        return planned, steps

    def variables(self) -> dict[str, tuple[int, ...]]:
        return super().variables() | {"beta": (sum(self.edges),)}

    def mixture(self) -> tuple[Tensor, Tensor]:
        of_candidates, _ = super().mixture()
        of_edges = torch.cat([node.softmax(dim=0) for node in self.architecture["beta"].split(self.edges)])
        return of_edges[:, None] * of_candidates, of_edges

    def begin_epoch(self, epoch: int) -> float:
        self.learns_architecture = epoch >= self.options.arch_start_epoch
        return super().begin_epoch(epoch)

    def step(self, *batches: tuple[Tensor, Tensor]) -> StepResult:
        return super().step(*batches) if self.learns_architecture else self.update_w(*batches[0])

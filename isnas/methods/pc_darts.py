"""PC-DARTS (ICLR 2020): DARTS on a part of the channels, with edges that have weights of their own.

A node is the sum of its edges weighted by ``softmax(beta)`` over them. Of every edge the operations see the first of K
parts of the channels, and the others pass by. The architecture waits for the first epochs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isnas.methods.mixed import MixedSearch
from isnas.methods.options.pc_darts import PCDartsOptions
from isnas.space.space import Network, Space
from isnas.train.stepping import StepResult


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

"""The options of PC-DARTS."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.methods.options.mixed import MixedOptions


@dataclass(frozen=True)
class PCDartsOptions(MixedOptions, title="PC-DARTS"):
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

"""The options that DARTS and its kin share."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.engine.harness_options import SearchOptions
from isnas.train.train_options import ArchAdamOptions


@dataclass(frozen=True)
class MixedOptions(ArchAdamOptions, SearchOptions, title="DARTS and PC-DARTS"):
    """The settings that DARTS and PC-DARTS share."""

    draws_distinct = True
    arch_init_scale: float = option(
        1e-3, "standard deviation of the architecture's variables at first", above=0.0, maximum=1e6
    )
    arch_moves_statistics: bool = option(
        False, "let the architecture's passes move batch normalisations' running statistics, as the originals' do"
    )
    unrolled: bool = option(False, "second order: the architecture's loss is taken after a step of W")

    def validate(self) -> None:
        """Check what second order cannot have."""
        if self.unrolled and self.amp == "fp16":
            raise UserError("--unrolled needs gradients that are not scaled; leave out --amp fp16, or take bf16")
        if self.unrolled and self.nesterov:
            raise UserError("--unrolled takes a step with plain momentum ahead; leave out --nesterov")

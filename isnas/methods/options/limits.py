"""The options of a limit on the size of architectures."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.options import Component, option


@dataclass(frozen=True)
class LimitOptions(Component, title="Largest network"):
    """How large the network of an architecture may be; 0 is off."""

    max_params: float = option(
        0.0,
        "million parameters from which on an architecture is too large, as the network in which papers compare (20 "
        "cells, C = 36); 0 is off",
        minimum=0.0,
        maximum=1e6,
    )
    max_macs: float = option(
        0.0, "the same for million multiply-adds of convolutions and linear layers", minimum=0.0, maximum=1e9
    )

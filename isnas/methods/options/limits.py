"""The options of a limit on the size of architectures."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.options import Component, option


@dataclass(frozen=True)
class LimitOptions(Component, title="Largest network"):
    """How large the network of an architecture may be; 0 is off."""

    max_params: float = option(
        0.0,
        "million parameters from which on an architecture is too large, as the network in which papers compare (of "
        "cells 20, C = 36); 0 is off",
        minimum=0.0,
        maximum=1e6,
    )
    max_macs: float = option(
        0.0, "the same for million multiply-adds of convolutions and linear layers", minimum=0.0, maximum=1e9
    )


@dataclass(frozen=True)
class TargetOptions(Component, title="Target of multiply-adds"):
    """How many multiply-adds the network of an architecture is to have; 0 is off."""

    target_macs: float = option(
        0.0,
        "million multiply-adds of convolutions and linear layers that the architecture is to have, within 5 %, in the "
        "network in which papers compare; a space of one connection per node (chain). 0 is off",
        minimum=0.0,
        maximum=1e9,
    )
    target_macs_strength: float = option(
        1.0, "weight, in the loss of b, of how far the network that runs is from it", minimum=0.0, maximum=1e6
    )

"""DARTS (ICLR 2019), first order and second: the mixture of :mod:`isnas.methods.mixed` with alpha alone."""

from __future__ import annotations

from isnas.methods.mixed import MixedSearch
from isnas.methods.options.darts import DartsOptions


class Darts(MixedSearch[DartsOptions]):
    """The mixture."""

    Options = DartsOptions

"""Published chains by name, each with its source, the widths of its network, and what papers report."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.text import shown
from isnas.space.chain.genotype import ChainGenotype


@dataclass(frozen=True)
class Reported:
    """Size of a chain's network in a paper, and its errors on ImageNet in percent, of one guess and of five."""

    params_millions: float
    multiply_adds_millions: int
    top1_error: float
    top5_error: float
    source: str

    def __str__(self) -> str:
        size = f"{self.params_millions:g} M, {self.multiply_adds_millions} M"
        return f"{size}, {self.top1_error:g} / {self.top5_error:g} % ({self.source})"


@dataclass(frozen=True)
class Published:
    """A chain from a paper; ``widths`` are its network's, a row of :data:`isnas.space.chain.widths.WIDTHS`."""

    genotype: ChainGenotype
    widths: str
    source: str
    reported: tuple[Reported, ...] = ()


def published(name: str) -> Published:
    """The published chain with this name.

    Raises:
        UserError: for a name that is not in :data:`PUBLISHED`.
    """
    if name not in PUBLISHED:
        raise UserError(f"unknown architecture {shown(name)}; published chains are {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _chain(*stages: str) -> ChainGenotype:
    return ChainGenotype(tuple(tuple((block,) for block in stage.split()) for stage in stages))


_MOBILE = _chain(
    "k5_e3 k3_e3 skip skip",
    "k7_e3 k3_e3 k5_e3 k5_e3",
    "k7_e6 k5_e3 k5_e3 k5_e3",
    "k5_e6 k5_e3 k5_e3 k5_e3",
    "k7_e6 k7_e6 k7_e3 k7_e3",
    "k7_e6",
)

PUBLISHED = {
    "ProxylessNAS_GPU": Published(
        _chain(
            "k5_e3 skip skip skip",
            "k7_e3 skip skip k3_e3",
            "k7_e6 skip skip k5_e3",
            "k5_e6 skip k3_e3 k5_e3",
            "k7_e6 k7_e6 k7_e6 k5_e6",
            "k7_e6",
        ),
        "gpu",
        "ProxylessNAS (ICLR 2019), for latency on a GPU",
        (Reported(7.1, 465, 24.9, 7.5, "ISTA-NAS, Table 4"),),
    ),
    "ProxylessNAS_CPU": Published(
        _chain(
            "k3_e6 k3_e3 k3_e3 k3_e3",
            "k3_e6 k3_e3 k3_e3 k5_e3",
            "k3_e6 skip skip k3_e3",
            "k5_e6 k3_e3 k3_e3 k3_e3",
            "k5_e6 k5_e3 k5_e3 k3_e3",
            "k5_e6",
        ),
        "cpu",
        "ProxylessNAS (ICLR 2019), for latency on a CPU",
    ),
    "ProxylessNAS_Mobile": Published(_MOBILE, "mobile", "ProxylessNAS (ICLR 2019), for latency on a phone"),
    "ProxylessNAS_Mobile14": Published(_MOBILE, "mobile14", "ProxylessNAS (ICLR 2019), the same blocks, 1.4 as wide"),
}

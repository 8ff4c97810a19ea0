"""Published cells by name, each with its source and the sizes that papers report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from isnas.base.errors import UserError
from isnas.base.text import shown
from isnas.space.cells.genotype import Genotype
from isnas.space.pairs import Node


@dataclass(frozen=True)
class Reported:
    """Size of a cell's network in a paper: millions of parameters and of multiply-adds (None where not given).

    ``network`` is ``cifar`` or ``imagenet``; ``source`` names the paper's table.
    """

    network: str
    params_millions: float
    multiply_adds_millions: int | None
    source: str

    def __str__(self) -> str:
        adds = self.multiply_adds_millions
        return f"{self.params_millions:g} M{'' if adds is None else f', {adds} M'} ({self.source})"


@dataclass(frozen=True)
class Published:
    """A cell pair from a paper, with the sizes that papers report for networks of it.

    The papers' networks have C = 36 and 20 cells on CIFAR-10, C = 48 and 14 cells on ImageNet; ImageNet networks are
    built without extra BNs, as the papers' were.
    """

    genotype: Genotype
    source: str
    reported: tuple[Reported, ...] = ()


def published(name: str) -> Published:
    """The published cell with this name.

    Raises:
        UserError: for a name that is not in :data:`PUBLISHED`.
    """
    name = _ALIASES.get(name, name)
    if name not in PUBLISHED:
        raise UserError(f"unknown architecture {shown(name)}; published names are {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def on_imagenet(genotype: Genotype) -> Genotype:
    """The genotype as the papers carry it over to ImageNet: without extra BNs."""
    return replace(genotype, extra_bn="none")


def _cell(*nodes: str) -> tuple[Node, ...]:
    pairs = ([pair.split() for pair in node.split(", ")] for node in nodes)
    return tuple(tuple((operation, int(predecessor)) for operation, predecessor in node) for node in pairs)


def _genotype(
    normal: tuple[Node, ...],
    reduce: tuple[Node, ...],
    concat: tuple[tuple[int, ...], tuple[int, ...]] = ((2, 3, 4, 5), (2, 3, 4, 5)),
    extra_bn: str = "none",
) -> Genotype:
    return Genotype(normal, concat[0], reduce, concat[1], extra_bn)


_ALIASES = {"DARTS": "DARTS_V2", "PCDARTS": "PC_DARTS_cifar"}

PUBLISHED = {
    "ISTA_twostage": Published(
        _genotype(
            _cell(
                "skip_connect 0, dil_conv_3x3 1",
                "sep_conv_5x5 0, dil_conv_3x3 2",
                "dil_conv_3x3 1, sep_conv_3x3 0",
                "sep_conv_3x3 2, skip_connect 0",
            ),
            _cell(
                "avg_pool_3x3 0, sep_conv_5x5 1",
                "dil_conv_5x5 2, max_pool_3x3 1",
                "dil_conv_5x5 3, sep_conv_3x3 1",
                "dil_conv_5x5 4, sep_conv_5x5 1",
            ),
        ),
        "ISTA-NAS (NeurIPS 2020), two-stage on CIFAR-10",
        (Reported("cifar", 3.32, None, "ISTA-NAS, Table 3"),),
    ),
    "ISTA_onestage": Published(
        _genotype(
            _cell(
                "skip_connect 0, dil_conv_3x3 1",
                "sep_conv_3x3 1, dil_conv_5x5 2",
                "avg_pool_3x3 3, sep_conv_3x3 1",
                "sep_conv_5x5 1, sep_conv_3x3 2",
            ),
            _cell(
                "avg_pool_3x3 0, max_pool_3x3 1",
                "skip_connect 0, max_pool_3x3 1",
                "sep_conv_5x5 1, avg_pool_3x3 0",
                "max_pool_3x3 0, dil_conv_5x5 2",
            ),
            extra_bn="all",
        ),
        "ISTA-NAS (NeurIPS 2020), one-stage on CIFAR-10",
        (
            Reported("cifar", 3.37, None, "ISTA-NAS, Table 3"),
            Reported("imagenet", 4.78, 550, "ISTA-NAS, Table 4"),
        ),
    ),
    "ISTA_ImageNet": Published(
        _genotype(
            _cell(
                "sep_conv_3x3 1, sep_conv_3x3 0",
                "sep_conv_3x3 1, skip_connect 2",
                "sep_conv_3x3 1, sep_conv_3x3 0",
                "sep_conv_3x3 1, dil_conv_5x5 4",
            ),
            _cell(
                "skip_connect 0, sep_conv_3x3 1",
                "dil_conv_5x5 2, sep_conv_3x3 0",
                "sep_conv_3x3 0, skip_connect 2",
                "sep_conv_3x3 2, skip_connect 3",
            ),
        ),
        "ISTA-NAS (NeurIPS 2020), one-stage on ImageNet",
        (Reported("imagenet", 5.65, 638, "ISTA-NAS, Table 4"),),
    ),
    "DARTS_V1": Published(
        _genotype(
            _cell(
                "sep_conv_3x3 1, sep_conv_3x3 0",
                "skip_connect 0, sep_conv_3x3 1",
                "skip_connect 0, sep_conv_3x3 1",
                "sep_conv_3x3 0, skip_connect 2",
            ),
            _cell(
                "max_pool_3x3 0, max_pool_3x3 1",
                "skip_connect 2, max_pool_3x3 0",
                "max_pool_3x3 0, skip_connect 2",
                "skip_connect 2, avg_pool_3x3 0",
            ),
        ),
        "DARTS (ICLR 2019), first order",
    ),
    "DARTS_V2": Published(
        _genotype(
            _cell(
                "sep_conv_3x3 0, sep_conv_3x3 1",
                "sep_conv_3x3 0, sep_conv_3x3 1",
                "sep_conv_3x3 1, skip_connect 0",
                "skip_connect 0, dil_conv_3x3 2",
            ),
            _cell(
                "max_pool_3x3 0, max_pool_3x3 1",
                "skip_connect 2, max_pool_3x3 1",
                "max_pool_3x3 0, skip_connect 2",
                "skip_connect 2, max_pool_3x3 1",
            ),
        ),
        "DARTS (ICLR 2019), second order",
        (
            Reported("cifar", 3.3, 548, "CoNAS, Table 1"),
            Reported("imagenet", 4.7, 574, "ISTA-NAS, Table 4"),
        ),
    ),
    "PC_DARTS_cifar": Published(
        _genotype(
            _cell(
                "sep_conv_3x3 1, skip_connect 0",
                "sep_conv_3x3 0, dil_conv_3x3 1",
                "sep_conv_5x5 0, sep_conv_3x3 1",
                "avg_pool_3x3 0, dil_conv_3x3 1",
            ),
            _cell(
                "sep_conv_5x5 1, max_pool_3x3 0",
                "sep_conv_5x5 1, sep_conv_5x5 2",
                "sep_conv_3x3 0, sep_conv_3x3 3",
                "sep_conv_3x3 1, sep_conv_3x3 2",
            ),
        ),
        "PC-DARTS (ICLR 2020), on CIFAR-10",
        (Reported("cifar", 3.6, None, "ISTA-NAS, Table 3"),),
    ),
    "PC_DARTS_image": Published(
        _genotype(
            _cell(
                "skip_connect 1, sep_conv_3x3 0",
                "sep_conv_3x3 0, skip_connect 1",
                "sep_conv_3x3 1, sep_conv_3x3 3",
                "sep_conv_3x3 1, dil_conv_5x5 4",
            ),
            _cell(
                "sep_conv_3x3 0, skip_connect 1",
                "dil_conv_5x5 2, max_pool_3x3 1",
                "sep_conv_3x3 2, sep_conv_3x3 1",
                "sep_conv_5x5 0, sep_conv_3x3 3",
            ),
        ),
        "PC-DARTS (ICLR 2020), on ImageNet",
        (Reported("imagenet", 5.3, 597, "ISTA-NAS, Table 4"),),
    ),
    "NASNet": Published(
        _genotype(
            _cell(
                "sep_conv_5x5 1, sep_conv_3x3 0",
                "sep_conv_5x5 0, sep_conv_3x3 0",
                "avg_pool_3x3 1, skip_connect 0",
                "avg_pool_3x3 0, avg_pool_3x3 0",
                "sep_conv_3x3 1, skip_connect 1",
            ),
            _cell(
                "sep_conv_5x5 1, sep_conv_7x7 0",
                "max_pool_3x3 1, sep_conv_7x7 0",
                "avg_pool_3x3 1, sep_conv_5x5 0",
                "skip_connect 3, avg_pool_3x3 2",
                "sep_conv_3x3 2, max_pool_3x3 1",
            ),
            concat=((2, 3, 4, 5, 6), (4, 5, 6)),
        ),
        "NASNet-A (CVPR 2018)",
        (
            Reported("cifar", 3.3, None, "ISTA-NAS, Table 3"),
            Reported("imagenet", 5.3, 564, "ISTA-NAS, Table 4"),
        ),
    ),
    "AmoebaNet": Published(
        _genotype(
            _cell(
                "avg_pool_3x3 0, max_pool_3x3 1",
                "sep_conv_3x3 0, sep_conv_5x5 2",
                "sep_conv_3x3 0, avg_pool_3x3 3",
                "sep_conv_3x3 1, skip_connect 1",
                "skip_connect 0, avg_pool_3x3 1",
            ),
            _cell(
                "avg_pool_3x3 0, sep_conv_3x3 1",
                "max_pool_3x3 0, sep_conv_7x7 2",
                "sep_conv_7x7 0, avg_pool_3x3 1",
                "max_pool_3x3 0, max_pool_3x3 1",
                "conv_7x1_1x7 0, sep_conv_3x3 5",
            ),
            concat=((4, 5, 6), (3, 4, 6)),
        ),
        "AmoebaNet-A (AAAI 2019)",
        (Reported("cifar", 3.2, None, "CoNAS, Table 2"),),
    ),
    "CoNAS_release": Published(
        _genotype(
            _cell(
                "max_pool_3x3 0, sep_conv_3x3 0, max_pool_3x3 1",
                "skip_connect 1",
                "sep_conv_3x3 0",
                "sep_conv_3x3 0, avg_pool_3x3 2",
            ),
            _cell(
                "max_pool_3x3 0, sep_conv_3x3 0, dil_conv_3x3 0",
                "dil_conv_5x5 0, skip_connect 1",
                "dil_conv_3x3 0, skip_connect 2",
                "skip_connect 1, sep_conv_3x3 1, dil_conv_5x5 1, sep_conv_3x3 4, sep_conv_5x5 4",
            ),
            extra_bn="pools",
        ),
        "CoNAS, cell of its later version",
    ),
}

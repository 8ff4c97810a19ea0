"""A limit on the size of the architectures that a search takes, as networks in which papers compare them.

Of a support that is too large single connections give way to others of their node, those first that lose least of what
the search values for each parameter that is saved, until it is within the limit. Not in the paper, whose one-stage
search has such a limit in the released code.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.architectures import derived_size
from isnas.methods.options.limits import LimitOptions
from isnas.nets.count import Counts, count_built
from isnas.space.connections import Support
from isnas.space.space import AnyGenotype, Space
from isnas.sparse.lasso import Array

#: Cells of the networks for which a C is advised.
_CELLS = (20, 14, 8)
_WIDEST = 256


class SizeLimit:
    """The limit of ``options`` in a space, for networks of the images of ``info``."""

    def __init__(self, options: LimitOptions, space: Space, info: DatasetInfo) -> None:
        self.options, self.space, self.info = options, space, info
        self.trimmed = 0
        self.lightest: list[tuple[int, ...]] = []

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return bool(self.options.max_params or self.options.max_macs)

    def admits(self, counts: Counts) -> bool:
        """Whether a network is within the limit."""
        params, macs = self.options.max_params or torch.inf, self.options.max_macs or torch.inf
        return counts.params_millions < params and counts.conv_linear_multiply_adds / 1e6 < macs

    def fits(self, support: Support) -> bool:
        """Whether the architecture of a support is."""
        return not self.is_set or self.admits(self.size(support))

    def size(self, support: Support) -> Counts:
        """The size of the architecture of a support."""
        genotype: Any = self.space.genotype(support)
        return derived_size(self.space, genotype, self.info)

    def require(self, sparseness: int, groups: Sequence[Sequence[int] | None]) -> None:
        """See that there is an architecture within the limit.

        Raises:
            UserError: when the one of the lightest connections is not.
        """
        if not self.is_set:
            return
        for weights, group in zip(self.weights, groups):
            kept: list[int] = []
            for k in sorted(range(len(weights)), key=lambda k: (weights[k], k)):
                if len(kept) < sparseness and _may_join(k, kept, group):
                    kept.append(k)
            self.lightest.append(tuple(sorted(kept)))
        size = self.size(tuple(self.lightest))
        if not self.admits(size):
            smaller = ", and train a network of fewer --init_channels or --layers" if self._is_of_cells else ""
            raise UserError(f"{self} is less than the smallest architecture has ({size}); raise it{smaller}")

    @property
    def _is_of_cells(self) -> bool:
        """Whether networks have so many cells of so many channels."""
        return {"layers", "init_channels"} <= self.space.derived_sizes.keys()

    @cached_property
    def weights(self) -> list[list[int]]:
        """The parameters of each node's candidates, one of each kind of cell, to tell the heavy from the light."""
        sizes = self.space.derived_sizes | {"in_channels": self.info.channels, "num_classes": self.info.num_classes}
        with torch.device("meta"):
            network = self.space.super_net(**(sizes | ({"layers": 3} if sizes.get("layers", 0) >= 3 else {})))
        found = [[0] * size for size in self.space.sizes]
        for node, weights in enumerate(found):
            for operations in network.operations(node):
                for k, operation in enumerate(operations):
                    weights[k] += sum(parameter.numel() for parameter in operation.parameters())
        return found

    def within(
        self, support: Sequence[tuple[int, ...]], values: Sequence[Array], groups: Sequence[Sequence[int] | None]
    ) -> list[tuple[int, ...]]:
        """The support, or if it is too large one that is not; ``trimmed`` is then how many connections gave way.

        Args:
            support: The connections that the search would take.
            values: What it values of each candidate, the more the better.
            groups: Per node the group of each candidate, of which one at most may be kept, or None.
        """
        found, swaps = list(support), 0
        while not self.fits(tuple(found)):
            swaps += 1
            swap = min(self._swaps(found, values, groups), default=None)
            if swap is None:  # lighter still are connections that leave an input unread
                found = list(self.lightest)
                break
            _, node, old, new = swap
            found[node] = tuple(sorted({*found[node]} - {old} | {new}))
        self.trimmed = swaps
        return found

    def _swaps(
        self, support: Sequence[tuple[int, ...]], values: Sequence[Array], groups: Sequence[Sequence[int] | None]
    ) -> list[tuple[float, int, int, int]]:
        """What each exchange for a lighter connection loses per parameter, and node, old and new connection."""
        swaps = []
        for node, (active, weights, group) in enumerate(zip(support, self.weights, groups)):
            for old in active:
                others = [k for k in active if k != old]
                for new in range(len(weights)):
                    saved = weights[old] - weights[new]
                    if saved > 0 and new not in active and _may_join(new, others, group):
                        swaps.append((float(values[node][old] - values[node][new]) / saved, node, old, new))
        return swaps

    def lines(self) -> list[str]:
        """What is to be said of the last recovery."""
        if not self.is_set or not self.trimmed:
            return []
        word = "connection gave" if self.trimmed == 1 else "connections gave"
        return [f"{self.trimmed} {word} way to lighter ones, as the architecture was too large for {self}"]

    def advice(self, genotype: AnyGenotype) -> list[str]:
        """The widest networks of an architecture that are within the limit, for some numbers of cells."""
        if not self.is_set or not self._is_of_cells:
            return []
        widths = [(cells, self._widest(genotype, cells)) for cells in _CELLS]
        told = ", ".join(f"--layers {cells} --init_channels {C}" for cells, C in widths if C)
        return [f"within {self} are networks of this architecture up to {told}"] if told else []

    def _widest(self, genotype: AnyGenotype, cells: int) -> int:
        """The largest C that is within the limit, 0 where none is."""
        sizes: dict[str, Any] = self.space.derived_sizes | {"layers": cells}
        sizes |= {"in_channels": self.info.channels, "num_classes": self.info.num_classes}

        def is_too_large(C: int) -> bool:
            build = partial(self.space.target_network, genotype, **(sizes | {"init_channels": C}))
            return not self.admits(count_built(build, self.info.channels, self.info.image_size))

        return bisect_left(range(1, _WIDEST + 1), True, key=is_too_large)

    def __str__(self) -> str:
        flags = [("max_params", self.options.max_params), ("max_macs", self.options.max_macs)]
        return " ".join(f"--{name} {value:g}" for name, value in flags if value)


def _may_join(k: int, others: Sequence[int], group: Sequence[int] | None) -> bool:
    return group is None or group[k] not in {group[other] for other in others}

"""The contract of a space: nodes with candidate connections, and networks that hold all of them or a found few.

Whoever searches knows a space as numbers alone: how many candidates each node has (``sizes``), which of them exclude
one another (``groups``), and the networks that take :class:`isnas.space.connections.Connections`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from isnas.space.connections import Connections, Support


class Output(NamedTuple):
    """Class scores (B, num_classes) and, in training, those of the auxiliary head if there is one."""

    logits: Tensor
    auxiliary: Tensor | None


class AnyGenotype(Protocol):
    """An architecture of some space, as data."""

    def to_json(self) -> dict[str, Any]:
        """Plain lists and strings."""
        ...

    def hash(self) -> str:
        """Digits that two genotypes share if and only if they are the same architecture."""
        ...

    def lines(self) -> tuple[str, ...]:
        """What a log says of it: ``genotype = `` and text, and on further lines what DARTS has no field for."""
        ...


class _Places(NamedTuple):
    """A network's parameters in order; the numbers of those that always run, and of each node's candidates'."""

    parameters: list[nn.Parameter]
    always: list[int]
    of_candidates: list[dict[int, list[int]]]


class Network(nn.Module, ABC):
    """A super-net, which holds every candidate, or a target network, which holds an architecture's connections.

    ``classifier`` is called once, and gives the scores; ``auxiliary`` is the head that helps in training alone, None
    without. With ``recompute`` the inner values of its parts are computed again in the backward pass, where a network
    can.
    """

    classifier: nn.Linear
    auxiliary: nn.Module | None
    recompute: bool = False
    _places: _Places | None = None

    @abstractmethod
    def forward(self, x: Tensor, connections: Connections | None = None, drop_path: Tensor | None = None) -> Output:
        """Scores of a batch; without ``connections`` every connection that the network holds runs, unweighted.

        ``drop_path`` (B, number of connections that run, wherever they stand) scales each of them per image.
        """

    @abstractmethod
    def operations(self, node: int) -> Iterator[nn.ModuleList]:
        """The operations of a node's connections, once for every place in the network that has this node."""

    @abstractmethod
    def parts(self) -> Iterator[nn.Module]:
        """Modules that run whole or not at all, which can be compiled each for itself."""

    @abstractmethod
    def num_connections(self, connections: Connections | None = None) -> int:
        """How many connections ``forward(x, connections)`` runs in the whole network."""

    @abstractmethod
    def extract_state(self, state: Mapping[str, Tensor], support: Support) -> dict[str, Tensor]:
        """The part of this super-net's ``state`` that the connections use, under the target network's names.

        ``state`` may be any tensors under this network's names, the optimiser's momentum for one.
        """

    def running_parameters(self, connections: Connections) -> list[nn.Parameter]:
        """The parameters that take part in ``forward(x, connections)``, in the order of ``parameters()``."""
        if self._places is None:
            self._places = self._find_places(len(connections.support))
        places = list(self._places.always)
        for node, active in zip(self._places.of_candidates, connections.support):
            for k in active:
                places += node[k]
        return [self._places.parameters[place] for place in sorted(places)]

    def _find_places(self, num_nodes: int) -> _Places:
        parameters = list(self.parameters())
        place = {parameter: number for number, parameter in enumerate(parameters)}
        of_candidates: list[dict[int, list[int]]] = []
        for node in range(num_nodes):
            found: dict[int, list[int]] = {}
            for operations in self.operations(node):
                for k, operation in enumerate(operations):
                    found.setdefault(k, []).extend(place[parameter] for parameter in operation.parameters())
            of_candidates.append(found)
        optional = {number for node in of_candidates for numbers in node.values() for number in numbers}
        return _Places(parameters, [n for n in range(len(parameters)) if n not in optional], of_candidates)


class Space(Hashable, Protocol):
    """A space as a value."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidate connections of each node."""
        ...

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Per node the group of each candidate; where inputs are to be distinct, one of a group at most is kept."""
        ...

    @property
    def node_names(self) -> tuple[str, ...]:
        """What log, metrics and plots call the nodes, by the numbers that genotype and pictures give them."""
        ...

    @property
    def candidate_names(self) -> tuple[tuple[str, ...], ...]:
        """What the log calls each node's candidates."""
        ...

    @property
    def mixes_none(self) -> bool:
        """Whether a mixture of all candidates has `none` beside them, which gives nothing; a skip says that already."""
        ...

    @property
    def derived_sizes(self) -> dict[str, Any]:
        """Sizes of the network in which papers compare architectures of this space."""
        ...

    @property
    def derived_name(self) -> str:
        """What to call that network."""
        ...

    def random(
        self, rng: torch.Generator, connections: int = 2, distinct_inputs: bool = False, none: bool = False
    ) -> Support:
        """A uniformly random support: per node so many candidates, or so many groups and a candidate of each.

        With ``none``, which goes with ``distinct_inputs``, each is left out as often as it is any one operation, unless
        a candidate says that already, as the skip of a chain does.
        """
        ...

    def connected(self, support: Support) -> Support:
        """The same support, but that a node without any connection has the one that stands in for them.

        Raises:
            UserError: when a node has none and the space no candidate to stand in.
        """
        ...

    def genotype(self, support: Support, one_stage: bool = False, pool_bn: bool = False) -> AnyGenotype:
        """The architecture with these connections; of a one-stage search every connection ends in a BN.

        With ``pool_bn`` the pools do, as in the released code of CoNAS, where there are any.
        """
        ...

    def support(self, genotype: Any) -> Support:
        """The flat indices of a genotype of this space."""
        ...

    def super_net(self, one_stage: bool = False, **sizes: Any) -> Network:
        """The network of all candidates; in a one-stage search all of them end in a batch normalisation that trains.

        With ``partial`` = K among the sizes, operations see the first of K parts of the channels.
        """
        ...

    def target_network(self, genotype: Any, **sizes: Any) -> Network:
        """The network of an architecture."""
        ...

    def heaviest(self, sparseness: int, value_bytes: int = 4) -> Support:
        """The connections of which most is kept for the backward pass, for a bound on the memory of a step."""
        ...

    def operation_counts(self, genotype: Any) -> dict[str, int]:
        """How often each candidate operation occurs in an architecture."""
        ...

    def draw(self, genotype: Any, folder: Path) -> list[Path]:
        """Pictures of an architecture, as PNG and SVG."""
        ...

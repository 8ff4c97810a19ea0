"""Searches for a recurrent cell in a language model whose weights all architectures share: CoNAS, and random search.

A step trains the connections that are drawn for it. After the last epoch architectures are measured on the whole text
that validates, in many columns, by their loss in nats per word, the logarithm of the perplexity.
Sources: CoNAS (ICLR 2020 submission), section 4.3; Li and Talwalkar (UAI 2019) for the training and random search.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from torch.optim import SGD

from isnas.base.errors import UserError
from isnas.base.random import generator, initialising
from isnas.engine.language.options import MeasuringOptions
from isnas.engine.method import Report
from isnas.engine.progress import progress
from isnas.methods.options.language_search import LanguageSearchOptions, RecurrentConasOptions, RecurrentRandomOptions
from isnas.methods.stages import Stages
from isnas.space.connections import Connections, Support, support_of
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.train.language import Descent
from isnas.train.stepping import Stepping

#: The loss (nats per word) of an architecture on the text that measures.
Judge = Callable[[Support], float]


Settings = TypeVar("Settings", bound=LanguageSearchOptions)


class LanguageSearch(ABC, Generic[Settings]):
    """The network of all candidates, the descent of its weights, and the connections that run now."""

    Options: ClassVar[type[MeasuringOptions]]
    support: Support = ()

    def __init__(self, options: Settings, sizes: dict[str, Any], stepping: Stepping) -> None:
        self.options, self.space, self.stepping = options, options.make_space(), stepping
        with initialising(options.seed, "weights"):
            self.network = self.space.super_net(**sizes)
        self.network.to(stepping.device)
        self.optimizer = SGD(self.network.parameters(), options.learning_rate, weight_decay=options.weight_decay)
        self.descent = Descent(self.network, options, stepping)

    @abstractmethod
    def before_step(self, step: int) -> None:
        """Draw what runs in a step, counted over the whole run."""

    @abstractmethod
    def choose(self, judge: Judge) -> Iterator[dict[str, Any] | None]:
        """Measure and choose; it yields after every piece of work that ``state_dict`` keeps, a row or None."""

    def begin_epoch(self) -> None:
        """Start the walk over the text anew."""
        self.descent.state = None

    def step(self, words: tuple[Tensor, Tensor], rate: float, epoch: int, step: int) -> Tensor:
        """One update on a window; its mean cross-entropy ()."""
        rng = generator(self.options.seed, "dropout", epoch, step)
        return self.descent.step(words, rate, rng, self.optimizer, Connections(self.support))

    def genotype(self) -> RecurrentGenotype:
        """The cell that runs now."""
        return self.space.genotype(self.space.connected(self.support))

    def report(self) -> Report:
        """What there is to say in the end."""
        return Report([], {})

    def beside(self) -> dict[str, RecurrentGenotype]:
        """Cells to hold against the chosen one, by the names of the files in which they are kept."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything the search needs to go on."""
        return {
            "network": self.network.state_dict(),
            "descent": self.descent.state_dict(),
            "support": self.support,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.descent.load_state_dict(state["descent"])
        self.support = state["support"]


class RecurrentConas(LanguageSearch[RecurrentConasOptions]):
    """CoNAS: bits are drawn in every step; in the stages those that matter are fixed.

    In a step a node without any connection gets a random one; in a measurement it is zero.
    """

    Options: ClassVar[type[MeasuringOptions]] = RecurrentConasOptions

    def __init__(self, options: RecurrentConasOptions, sizes: dict[str, Any], stepping: Stepping) -> None:
        super().__init__(options, sizes, stepping)
        self.stages = Stages(options, options.seed, sum(self.space.sizes))

    def before_step(self, step: int) -> None:
        drawn = support_of(self.stages.draw("step", step), self.space.sizes)
        rng = generator(self.options.seed, "conas", "empty node", step)
        spare = [int(torch.randint(size, (), generator=rng)) for size in self.space.sizes]
        self.support = tuple(node or (k,) for node, k in zip(drawn, spare))

    def choose(self, judge: Judge) -> Iterator[dict[str, Any] | None]:
        def measured(bits: list[bool], number: int) -> dict[str, Any]:
            return {"loss": judge(support_of(bits, self.space.sizes))}

        yield from self.stages.measure(measured)
        self.support = self.connected(self.stages.result)
        if self.stages.of_result is None:
            self.stages.of_result = judge(self.support)
            yield None

    def connected(self, bits: list[bool]) -> Support:
        """What runs for these bits, but that a node without any connection gets the one that stands in."""
        return self.space.connected(support_of(bits, self.space.sizes))

    def report(self) -> Report:
        return self.stages.report()

    def beside(self) -> dict[str, RecurrentGenotype]:
        return {name: self.space.genotype(self.connected(bits)) for name, bits in self.stages.beside().items()}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | self.stages.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.stages.load_state_dict(state)


class RecurrentRandomWS(LanguageSearch[RecurrentRandomOptions]):
    """Random search with shared weights: one connection per node is drawn in every step, and for each sample.

    ``losses`` are those that have been measured, in nats, NaN where they are not finite.
    """

    Options: ClassVar[type[MeasuringOptions]] = RecurrentRandomOptions

    def __init__(self, options: RecurrentRandomOptions, sizes: dict[str, Any], stepping: Stepping) -> None:
        super().__init__(options, sizes, stepping)
        self.losses: list[float] = []

    def sample(self, purpose: str, number: int) -> Support:
        """A random architecture, a function of the seed, what it is for and its number."""
        return self.space.random(generator(self.options.seed, "random_ws", purpose, number), connections=1)

    def before_step(self, step: int) -> None:
        self.support = self.sample("step", step)

    def choose(self, judge: Judge) -> Iterator[dict[str, Any] | None]:
        for number in progress(len(self.losses), self.options.samples, "measuring"):
            loss = judge(self.sample("choice", number))
            self.losses.append(loss)
            yield {"number": number, "loss": loss if math.isfinite(loss) else None}
        finite = [number for number, loss in enumerate(self.losses) if math.isfinite(loss)]
        if not finite:
            raise UserError(
                f"none of {len(self.losses)} measured losses is finite; start a new run with a smaller --learning_rate"
            )
        self.support = self.sample("choice", min(finite, key=lambda number: self.losses[number]))

    def report(self) -> Report:
        finite = sorted(loss for loss in self.losses if math.isfinite(loss))
        middle = finite[len(finite) // 2]
        line = (
            f"measured {len(self.losses)} random architectures: loss {finite[0]:.4f} the best, {middle:.4f} the median"
        )
        return Report([line], {"choice/best": finite[0], "choice/median": middle})

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"losses": list(self.losses)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.losses = state["losses"]

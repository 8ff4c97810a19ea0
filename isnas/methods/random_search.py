"""Random search: architectures drawn at random, each trained by itself; the best on the images that choose is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from isnas.base.errors import UserError
from isnas.base.random import generator, initialising
from isnas.engine.averages import Scores
from isnas.engine.method import Judge, Report, SearchMethod, Setting
from isnas.methods.options.random_search import RandomSearchOptions
from isnas.methods.size_limit import SizeLimit
from isnas.space.connections import Support
from isnas.space.space import AnyGenotype, Network, Output, Space
from isnas.train.optim import learning_rate_of, make_sgd, set_learning_rate
from isnas.train.stepping import StepResult

#: Draws of an architecture within a limit on its size at most.
_MOST_DRAWS = 300


class RandomSearch(SearchMethod[RandomSearchOptions]):
    """The network of architecture ``number``, which is trained now; accuracies (percent) so far, weights of the best.

    Architecture i is a function of the seed and i: per node distinct predecessors, and for each any operation; with a
    limit on the size, the first drawn so that is within it.
    """

    Options = RandomSearchOptions
    splits = ("train_w",)
    chosen = False

    def __init__(self, options: RandomSearchOptions, setting: Setting) -> None:
        self.options, self.setting, self.stepping = options, setting, setting.stepping
        self.limit = SizeLimit(options, setting.space, setting.info)
        self.limit.require(options.sparseness, setting.space.groups)
        self.accuracies: list[float] = []
        self.best_weights: dict[str, Tensor] = {}
        self.ends_training = False
        self.start(0)

    @classmethod
    def make_network(cls, options: RandomSearchOptions, space: Space, sizes: dict[str, Any]) -> Network:
        return space.target_network(space.genotype(space.heaviest(options.sparseness, options.value_bytes)), **sizes)

    @classmethod
    def heaviest(cls, options: RandomSearchOptions, space: Space) -> None:
        return None

    @classmethod
    def passes_of_step(cls, options: RandomSearchOptions, epoch: int) -> float:
        return 1.0

    @classmethod
    def within_budget(
        cls, options: RandomSearchOptions, num_images: int, steps_per_epoch: int
    ) -> tuple[RandomSearchOptions, int]:
        steps = options.epochs * steps_per_epoch
        of_one = steps * options.batch_size + num_images / 3
        samples = int(options.budget // of_one)
        if not samples:
            raise UserError(
                f"--budget {options.budget:g} is less than training one architecture costs; give {of_one:.0f} or more, "
                "or fewer --epochs"
            )
        return replace(options, samples=samples), samples * steps

    @property
    def num_epochs(self) -> int:
        return self.options.samples * self.options.epochs

    def genotype(self) -> AnyGenotype:
        return self.setting.space.genotype(self.draw(self.number)[0])

    def draw(self, number: int) -> tuple[Support, int]:
        """Architecture ``number``, and how many were drawn before it that were too large.

        Raises:
            UserError: when there are too many of them.
        """
        rng = generator(self.options.seed, "random_search", number)
        for before in range(_MOST_DRAWS):
            support = self.setting.space.random(rng, self.options.sparseness, distinct_inputs=True)
            if self.limit.fits(support):
                return support, before
        raise UserError(f"none of {_MOST_DRAWS} random architectures is within {self.limit}; raise the limit")

    def start(self, number: int) -> None:
        """Build the network of an architecture, with fresh weights."""
        self.number = number
        with initialising(self.options.seed, "weights", number):
            self.network = self.setting.space.target_network(self.genotype(), **self.setting.sizes)
        self.stepping.place(self.network)
        self.w_optimizer = make_sgd(self.network.parameters(), self.options)

    def begin_epoch(self, epoch: int) -> float:
        number, own = divmod(epoch, self.options.epochs)
        if number != self.number:
            self.start(number)
        self.ends_training = own == self.options.epochs - 1
        learning_rate = learning_rate_of(own, self.options.epochs, self.options)
        set_learning_rate(self.w_optimizer, learning_rate)
        return learning_rate

    def step(self, *batches: tuple[Tensor, Tensor]) -> StepResult:
        result = self.stepping.backward(self.loss, batches[0], self.network.parameters())
        self.stepping.update(self.w_optimizer, grad_clip=self.options.grad_clip)
        return result

    def loss(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy () of a batch, and its scores (B, num_classes)."""
        logits = self.predict(x).logits
        return F.cross_entropy(logits, labels), logits

    def predict(self, x: Tensor) -> Output:
        return self.stepping.forward(self.network, x)

    def validated(self, scores: Scores) -> bool:
        """At the end of a training its scores are those of the architecture."""
        if self.ends_training:
            self.accuracies.append(scores.top1)
            if scores.top1 > max(self.accuracies[:-1], default=-1.0):
                self.best_weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        return self.ends_training

    def report(self) -> Report:
        if len(self.accuracies) <= self.number:  # its training goes on
            return Report([], {})
        best = max(self.accuracies)
        line = (
            f"architecture {self.number} has {self.accuracies[self.number]:.2f} %; the best of {len(self.accuracies)}, "
            f"of {self.options.samples} in all, is {self.accuracies.index(best)} with {best:.2f} %"
        )
        lines = [line]
        if too_large := self.draw(self.number)[1]:
            lines.append(f"architecture {self.number} was drawn after {too_large} that were too large for {self.limit}")
        if self.chosen:
            lines += self.limit.advice(self.genotype())
        return Report(lines, {"choice/best": best})

    def choose(self, judge: Judge) -> Iterator[None]:
        self.start(self.accuracies.index(max(self.accuracies)))
        self.network.load_state_dict(self.best_weights)
        self.chosen = True
        yield from ()

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "w_optimizer": self.w_optimizer.state_dict(),
            "stepping": self.stepping.state_dict(),
            "number": self.number,
            "accuracies": list(self.accuracies),
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        number, accuracies = state["number"], state["accuracies"]
        counted = type(number) is int and isinstance(accuracies, list) and 0 <= number <= len(accuracies)
        if not counted or not all(isinstance(accuracy, float) for accuracy in accuracies):
            raise ValueError("it has no architectures and accuracies")
        self.start(number)
        self.network.load_state_dict(state["network"])
        self.w_optimizer.load_state_dict(state["w_optimizer"])
        self.stepping.load_state_dict(state["stepping"])
        self.accuracies, self.best_weights = accuracies, state["best_weights"]

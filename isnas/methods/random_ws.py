"""Random search with weight sharing (Li and Talwalkar, UAI 2019): train random sub-networks of a super-net, choose one.

Every step trains an architecture drawn anew. After the last epoch random ones are measured on a few batches of the
images that choose, the best of them on all, and the best of these is the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from isnas.base.random import generator
from isnas.engine.method import Judge, Report, Setting
from isnas.engine.progress import progress
from isnas.methods.options.random_ws import RandomWSOptions
from isnas.methods.super_net import SampledSearch
from isnas.space.connections import Support


def rounds_after(steps: int, options: RandomWSOptions) -> int:
    """Rounds of the choice after so many steps."""
    return options.rounds or max(1, steps // 10_000)


class RandomWS(SampledSearch[RandomWSOptions]):
    """The super-net, the architecture that runs, and the accuracies that have been measured (percent)."""

    Options = RandomWSOptions

    def __init__(self, options: RandomWSOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.rounds = rounds_after(sum(map(setting.steps_in, range(options.epochs))), options)
        self.measured: list[float] = []
        self.final: list[float] = []

    @classmethod
    def passes_of_choice(cls, options: RandomWSOptions, num_images: int, steps: int) -> float:
        a_sample = min(options.sample_batches * options.batch_size, num_images)
        finalists = min(options.finalists, options.samples)
        return rounds_after(steps, options) * (options.samples * a_sample + finalists * num_images) / 3

    def sample(self, purpose: str, number: int) -> Support:
        """A random architecture, a function of the seed, what it is for and its number."""
        rng, options = generator(self.options.seed, "random_ws", purpose, number), self.options
        return self.space.random(rng, options.sparseness, distinct_inputs=True, none=options.none_operation)

    def before_step(self, step: int) -> None:
        self.support = self.sample("step", step)

    def report(self) -> Report:
        if not self.final:
            return Report([], {})
        middle, best = sorted(self.measured)[len(self.measured) // 2], max(self.final)
        line = f"measured {len(self.measured)} random architectures: median {middle:.2f} %, best {best:.2f} %"
        return Report([line], {"choice/median": middle, "choice/best": best})

    @torch.no_grad()
    def choose(self, judge: Judge) -> Iterator[None]:
        def accuracy(number: int, num_batches: int | None) -> float:
            self.support = self.sample("choice", number)
            return judge(lambda x: self.predict(x).logits, num_batches).top1

        count = self.options.samples
        for number in progress(len(self.measured), self.rounds * count, "measuring"):
            self.measured.append(accuracy(number, self.options.sample_batches))
            yield
        finalists: list[int] = []
        for first in range(0, len(self.measured), count):
            ranked = sorted(range(first, first + count), key=lambda number: -self.measured[number])
            finalists += ranked[: self.options.finalists]
        for place in progress(len(self.final), len(finalists), "measuring the best"):
            self.final.append(accuracy(finalists[place], None))
            yield
        self.support = self.sample("choice", finalists[self.final.index(max(self.final))])

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"measured": list(self.measured), "final": list(self.final)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.measured, self.final = state["measured"], state["final"]

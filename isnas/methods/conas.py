"""CoNAS, neural architecture search by compressive sensing (ICLR 2020 submission, Algorithm 1).

An architecture is a string of bits alpha in {-1, +1}^n, one for each candidate connection: +1 runs it. A one-shot
network is trained while every step draws its bits anew. Then, in each of t stages, the losses of m random architectures
in it are measured; the loss as a function of the bits is recovered as a sparse polynomial of the parities of the bits
that are still free; and its s largest terms are minimised exactly, which fixes the bits in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from isnas.engine.averages import Scores
from isnas.engine.method import Judge, Report, Setting
from isnas.methods.options.conas import ConasOptions
from isnas.methods.stages import Stages
from isnas.methods.super_net import SampledSearch
from isnas.space.batch_norm import BatchNorm, still_statistics
from isnas.space.connections import Support, support_of
from isnas.space.space import AnyGenotype, Space


class CoNAS(SampledSearch[ConasOptions]):
    """The one-shot network, and what the stages so far have come to."""

    Options = ConasOptions

    def __init__(self, options: ConasOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.stages = Stages(options, options.seed, sum(self.space.sizes))
        self.norms = [module for module in self.network.modules() if isinstance(module, BatchNorm)]

    @classmethod
    def heaviest(cls, options: ConasOptions, space: Space) -> Support:
        return tuple(tuple(range(size)) for size in space.sizes)

    @classmethod
    def passes_of_choice(cls, options: ConasOptions, num_images: int, steps: int) -> float:
        images = min(options.measure_batches * options.batch_size, num_images) or num_images
        return (options.stages * options.measurements + 1) * images / 3

    def before_step(self, step: int) -> None:
        self.support = support_of(self.stages.draw("step", step), self.space.sizes)

    def genotype(self) -> AnyGenotype:
        return self.space.genotype(self.support, pool_bn=self.options.pool_bn)

    @torch.no_grad()
    def choose(self, judge: Judge) -> Iterator[dict[str, Any] | None]:
        def measured(bits: list[bool], number: int) -> dict[str, Any]:
            self.support = support_of(bits, self.space.sizes)
            scores = self.judged(judge, number)
            return {"loss": scores.loss, "acc": scores.top1}

        yield from self.stages.measure(measured)
        self.support = self.connected(self.stages.result)
        if self.stages.of_result is None:
            self.stages.of_result = self.judged(judge, 0).loss
            yield None

    def judged(self, judge: Judge, number: int) -> Scores:
        """Scores of the architecture that runs now, on the batches of a measurement."""
        batches = self.options.measure_batches
        first = 0 if self.options.same_batches else number * batches
        return judge(self.logits, batches or None, first, whole=self.options.measure_bn == "batch")

    def logits(self, x: Tensor) -> Tensor:
        """Class scores (B, num_classes) in a measurement."""
        if self.options.measure_bn == "running":
            return self.predict(x).logits
        with still_statistics(self.norms):
            self.network.train()
            logits = self.predict(x).logits
            self.network.eval()
        return logits

    def connected(self, bits: list[bool]) -> Support:
        """What runs for these bits, but that a node without any connection gets the one that stands in."""
        return self.space.connected(support_of(bits, self.space.sizes))

    def report(self) -> Report:
        return self.stages.report()

    def beside(self) -> dict[str, AnyGenotype]:
        pool_bn, bits = self.options.pool_bn, self.stages.beside()
        return {name: self.space.genotype(self.connected(each), pool_bn=pool_bn) for name, each in bits.items()}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | self.stages.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.stages.load_state_dict(state)

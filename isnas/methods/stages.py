"""The stages of CoNAS (Algorithm 1): measure random architectures, recover a polynomial of the loss, fix bits in it.

What an architecture is, and how its loss is measured, is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch

from isnas.base.distributed import from_main
from isnas.base.random import generator
from isnas.engine.method import Report
from isnas.engine.progress import progress
from isnas.methods.conas_recovery import StageFigures, end_stage
from isnas.methods.options.stages import StagesOptions


class Stages:
    """What the stages so far have come to.

    ``masks`` are the ``num_bits`` bits at the start and after each finished stage: -1 or +1 where one is fixed, 0 where
    it is free; ``figures`` are those stages' own. ``losses`` are those of the present stage so far, in nats and NaN
    where they are not finite. ``best`` is the least loss in the first stage, all of whose bits are random, and the bits
    that have it; ``of_result`` the result's loss, None before the caller has measured it.
    """

    def __init__(self, options: StagesOptions, seed: int, num_bits: int) -> None:
        self.options, self.seed = options, seed
        self.masks = [[0] * num_bits]
        self.losses: list[float] = []
        self.figures: list[StageFigures] = []
        self.best: tuple[float, str] = (math.inf, "")
        self.of_result: float | None = None

    def draw(self, purpose: str, *numbers: int) -> list[bool]:
        """Bits that are each on with probability p, but for those that are fixed: a function of the seed and these."""
        rng = generator(self.seed, "conas", purpose, *numbers)
        mask = self.masks[-1]
        drawn = torch.rand(len(mask), generator=rng, device=rng.device, dtype=torch.float64) < self.options.bernoulli_p
        return [bit > 0 if bit else each for bit, each in zip(mask, drawn.tolist())]

    @property
    def result(self) -> list[bool]:
        """The bits that are on in the end: those that a stage has fixed so."""
        return [bit > 0 for bit in self.masks[-1]]

    def measure(self, judge: Callable[[list[bool], int], dict[str, Any]]) -> Iterator[dict[str, Any] | None]:
        """Measure and fix until all stages are done, a piece of work at a time.

        ``judge(bits, number)`` gives the ``loss`` (nats) and what else a row of measurements.jsonl is to hold.
        """
        count = self.options.measurements
        while len(self.figures) < self.options.stages and not all(self.masks[-1]):
            stage = len(self.figures) + 1
            for number in progress(len(self.losses), count, f"measuring, stage {stage}"):
                yield self._measure(judge, stage, number)
            mask, figures = from_main(partial(self._end, stage))
            self.masks, self.figures, self.losses = [*self.masks, mask], [*self.figures, figures], []
            yield None

    def _measure(self, judge: Callable[[list[bool], int], dict[str, Any]], stage: int, number: int) -> dict[str, Any]:
        bits = self.draw("measurement", stage, number)
        found = judge(bits, number)
        written = "".join("01"[bit] for bit in bits)
        if stage == 1 and found["loss"] < self.best[0]:
            self.best = found["loss"], written
        self.losses.append(found["loss"])
        loss = found["loss"] if math.isfinite(found["loss"]) else None
        return {"stage": stage, "number": number, "bits": written} | found | {"loss": loss}

    def _end(self, stage: int) -> tuple[list[int], StageFigures]:
        encoders = np.array([self.draw("measurement", stage, number) for number in range(len(self.losses))])
        measured = self.options.measured_of(np.array(self.losses))
        return end_stage(encoders, measured, self.masks[-1], self.options.of_stage(stage))

    def report(self) -> Report:
        """The figures of the finished stages, and of the result."""
        lines: list[str] = []
        values: dict[str, float | None] = {}
        for stage, figures in enumerate(self.figures, start=1):
            values |= {f"stage_{stage}/{name}": value for name, value in asdict(figures).items()}
            lines += figures.lines(stage)
        if self.of_result is not None:
            lines.append(f"the result has loss {self.of_result:.4f}, the best of stage 1 has {self.best[0]:.4f}")
            loss = self.of_result if math.isfinite(self.of_result) else None
            values |= {"choice/loss": loss, "choice/best_sampled": self.best[0]}
        return Report(lines, values)

    def beside(self) -> dict[str, list[bool]]:
        """The bits to hold against the result's, by the names of the files in which they are kept."""
        bits = {"best_sampled": [bit == "1" for bit in self.best[1]]}
        stages = enumerate(self.masks[1:-1], start=1)
        return bits | {f"stage_{stage}": [bit > 0 for bit in mask] for stage, mask in stages}

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on, as plain values."""
        return {
            "masks": [list(mask) for mask in self.masks],
            "losses": list(self.losses),
            "figures": [asdict(figures) for figures in self.figures],
            "best": self.best,
            "of_result": self.of_result,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            ValueError: when it holds no stages.
        """
        masks, figures, losses, best = (state[name] for name in ("masks", "figures", "losses", "best"))
        num_bits, known = len(self.masks[0]), {-1, 0, 1}
        if len(masks) != len(figures) + 1 or any(len(mask) != num_bits or set(mask) - known for mask in masks):
            raise ValueError("it has no bits")
        if not all(isinstance(loss, float) for loss in [*losses, best[0]]) or len(best[1]) not in (0, num_bits):
            raise ValueError("it has no losses")
        self.masks, self.losses, self.best = masks, losses, (best[0], best[1])
        self.figures = [StageFigures(**each) for each in figures]
        self.of_result = state["of_result"]

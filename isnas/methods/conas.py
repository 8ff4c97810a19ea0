"""CoNAS, neural architecture search by compressive sensing (ICLR 2020 submission, Algorithm 1).

An architecture is a string of bits alpha in {-1, +1}^n, one for each candidate connection: +1 runs it. A one-shot
network is trained while every step draws its bits anew. Then, in each of t stages, the losses of m random architectures
in it are measured; the loss as a function of the bits is recovered as a sparse polynomial of the parities of the bits
that are still free; and its s largest terms are minimised exactly, which fixes the bits in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isnas.base.distributed import from_main
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.random import generator
from isnas.base.text import brief
from isnas.engine.averages import Scores
from isnas.engine.harness_options import SearchOptions
from isnas.engine.method import Judge, Report, Setting
from isnas.engine.progress import progress
from isnas.methods.conas_recovery import StageFigures, StageOptions, end_stage
from isnas.methods.super_net import SampledSearch
from isnas.space.batch_norm import BatchNorm, still_statistics
from isnas.space.cells.operations import CONAS_OPERATIONS, DARTS_OPERATIONS, OPERATIONS
from isnas.space.connections import Support, support_of
from isnas.space.space import AnyGenotype, Space

#: What the released code, that of a later version of the paper, does otherwise.
RELEASE: dict[str, Any] = {
    "operations": DARTS_OPERATIONS,
    "grad_clip": 0.25,
    "measurements": 3000,
    "monomials": 12,
    "lasso_form": "half",
    "lasso_lambda": 10.0,
    "max_loss": 1.5,
    "same_batches": False,
    "pool_bn": True,
}


@dataclass(frozen=True)
class ConasOptions(StageOptions, SearchOptions):
    """The paper's settings for CIFAR-10, those of the training taken from random search with weight sharing."""

    preset: str = option(
        "paper",
        "settings of the paper, or of the released code where that differs, beside which its settings cannot be others",
        presets={"paper": {}, "release": RELEASE},
    )
    operations: tuple[str, ...] = option(CONAS_OPERATIONS, "candidate operations", choices=OPERATIONS)
    epochs: int = option(100, "epochs of the one-shot training", minimum=1, maximum=10**6)
    batch_size: int = option(64, "images per step, and per batch of a measurement", minimum=1, maximum=10**6)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    learning_rate_min: float = option(0.001, "SGD's learning rate after the last epoch", minimum=0.0, maximum=1e6)
    grad_clip: float = option(1.0, "largest norm of the weights' gradient", above=0.0, maximum=1e30)
    stages: int = option(1, "t, rounds of measuring and fixing bits; the paper has 1 and 4", minimum=1, maximum=100)
    measurements: int = option(1000, "m, architectures that are measured in a stage", minimum=1, maximum=10**6)
    measure_batches: int = option(10, "batches of a measurement; 0: all images that choose", minimum=0, maximum=10**6)
    same_batches: bool = option(
        True, "measure all architectures on the same batches, --no_same_batches each on the next ones"
    )
    measure_bn: str = option(
        "running",
        "statistics of batch normalisation in a measurement: the running ones, or those of the batch (of its part in "
        "each process, unless --sync_bn)",
        choices=("running", "batch"),
    )
    pool_bn: bool = option(False, "batch normalisation after pools in the network of the cells that are found")

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        for name, value in RELEASE.items() if self.preset == "release" else ():
            if (given := vars(self)[name]) != value and name != "max_loss":  # which is of the images
                raise UserError(
                    f"--{name} {brief(given)} contradicts --preset release, which has {brief(value)}; leave one of "
                    "them out"
                )
        if self.sparseness != SearchOptions.sparseness:
            raise UserError("--sparseness has no effect on a node that has any number of connections; leave it out")
        if self.measurements < self.monomials:
            raise UserError(
                f"--measurements {self.measurements} are fewer than the --monomials {self.monomials} that they are to "
                "tell; give more of them, or fewer monomials"
            )
        space = self.make_space()
        try:
            space.connected(((),) * len(space.sizes))
        except UserError as error:
            raise UserError(f"a node may be left without connections: {error}") from None


class CoNAS(SampledSearch[ConasOptions]):
    """The one-shot network, and what the stages so far have come to.

    ``masks`` are the bits at the start and after each finished stage: -1 or +1 where one is fixed, 0 where it is free;
    ``figures`` are those stages' own. ``losses`` are those of the present stage so far, in nats and NaN where they are
    not finite. ``best`` is the least loss in the first stage, all of whose bits are random, and the bits that have it;
    ``of_result`` the result's loss, None before it is measured.
    """

    Options = ConasOptions

    def __init__(self, options: ConasOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.masks = [[0] * sum(self.space.sizes)]
        self.losses: list[float] = []
        self.figures: list[StageFigures] = []
        self.best: tuple[float, str] = (math.inf, "")
        self.of_result: float | None = None
        self.norms = [module for module in self.network.modules() if isinstance(module, BatchNorm)]

    @classmethod
    def heaviest(cls, options: ConasOptions, space: Space) -> Support:
        return tuple(tuple(range(size)) for size in space.sizes)

    @classmethod
    def passes_of_choice(cls, options: ConasOptions, num_images: int, steps: int) -> float:
        images = min(options.measure_batches * options.batch_size, num_images) or num_images
        return (options.stages * options.measurements + 1) * images / 3

    def draw(self, purpose: str, *numbers: int) -> list[bool]:
        """Bits that are each on with probability p, but for those that are fixed: a function of the seed and these."""
        rng = generator(self.options.seed, "conas", purpose, *numbers)
        mask = self.masks[-1]
        drawn = torch.rand(len(mask), generator=rng, device=rng.device, dtype=torch.float64) < self.options.bernoulli_p
        return [bit > 0 if bit else each for bit, each in zip(mask, drawn.tolist())]

    def before_step(self, step: int) -> None:
        self.support = support_of(self.draw("step", step), self.space.sizes)

    def genotype(self) -> AnyGenotype:
        return self.space.genotype(self.support, pool_bn=self.options.pool_bn)

    @torch.no_grad()
    def choose(self, judge: Judge) -> Iterator[dict[str, Any] | None]:
        count = self.options.measurements
        while len(self.figures) < self.options.stages and not all(self.masks[-1]):
            stage = len(self.figures) + 1
            for number in progress(len(self.losses), count, f"measuring, stage {stage}"):
                yield self.measure(judge, stage, number)
            mask, figures = from_main(partial(self.end_stage, stage))
            self.masks, self.figures, self.losses = [*self.masks, mask], [*self.figures, figures], []
            yield None
        self.support = self.connected([bit > 0 for bit in self.masks[-1]])
        if self.of_result is None:
            self.of_result = self.judged(judge, 0).loss
            yield None

    def measure(self, judge: Judge, stage: int, number: int) -> dict[str, Any]:
        """Measure an architecture of a stage; its row of measurements.jsonl."""
        bits = self.draw("measurement", stage, number)
        self.support = support_of(bits, self.space.sizes)
        scores = self.judged(judge, number)
        written = "".join("01"[bit] for bit in bits)
        if stage == 1 and scores.loss < self.best[0]:
            self.best = scores.loss, written
        self.losses.append(scores.loss)
        loss = scores.loss if math.isfinite(scores.loss) else None
        return {"stage": stage, "number": number, "bits": written, "loss": loss, "acc": scores.top1}

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

    def end_stage(self, stage: int) -> tuple[list[int], StageFigures]:
        """The bits after a stage, and its figures."""
        encoders = np.array([self.draw("measurement", stage, number) for number in range(len(self.losses))])
        return end_stage(encoders, np.array(self.losses), self.masks[-1], self.options)

    def connected(self, bits: list[bool]) -> Support:
        """What runs for these bits, but that a node without any connection gets the one that stands in."""
        return self.space.connected(support_of(bits, self.space.sizes))

    def report(self) -> Report:
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

    def beside(self) -> dict[str, AnyGenotype]:
        bits = {"best_sampled": [bit == "1" for bit in self.best[1]]}
        stages = enumerate(self.masks[1:-1], start=1)
        bits |= {f"stage_{stage}": [bit > 0 for bit in mask] for stage, mask in stages}
        pool_bn = self.options.pool_bn
        return {name: self.space.genotype(self.connected(each), pool_bn=pool_bn) for name, each in bits.items()}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "masks": [list(mask) for mask in self.masks],
            "losses": list(self.losses),
            "figures": [asdict(figures) for figures in self.figures],
            "best": self.best,
            "of_result": self.of_result,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        masks, figures, losses, best = (state[name] for name in ("masks", "figures", "losses", "best"))
        num_bits, known = len(self.masks[0]), {-1, 0, 1}
        if len(masks) != len(figures) + 1 or any(len(mask) != num_bits or set(mask) - known for mask in masks):
            raise ValueError("it has no bits")
        if not all(isinstance(loss, float) for loss in [*losses, best[0]]) or len(best[1]) not in (0, num_bits):
            raise ValueError("it has no losses")
        self.masks, self.losses, self.best = masks, losses, (best[0], best[1])
        self.figures = [StageFigures(**each) for each in figures]
        self.of_result = state["of_result"]

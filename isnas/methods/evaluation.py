"""Training of the target network of an architecture, and its test: the second stage, as the DARTS family does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

from torch import Tensor, nn

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.random import initialising
from isnas.engine.averages import Scores
from isnas.engine.harness_options import PRESET_HELP, NetworkTrainingOptions
from isnas.engine.method import Finished, Setting, TrainingMethod
from isnas.engine.run import Run
from isnas.space.space import AnyGenotype, Network, Output, Space
from isnas.train.fixed import Training, drop_path_probability
from isnas.train.optim import learning_rate_of, make_sgd, set_learning_rate
from isnas.train.stepping import StepResult

#: Of the nine settings of the confopt benchmark suite (AutoML 2025), in its order.
SUITE_LEARNING_RATES, SUITE_WEIGHT_DECAYS = (0.025, 0.1, 0.01), (1e-4, 3e-4, 1e-3)

#: What the released code does otherwise than the paper, be the schedule a cosine or linear.
RELEASED = {"cosine_ahead": True, "linear_tail_epochs": 5, "warmup_first": True}


@dataclass(frozen=True)
class EvaluationOptions(NetworkTrainingOptions):
    """All settings of the training of a target network; the defaults are the paper's and its code's for CIFAR-10."""

    preset: str = option("paper", PRESET_HELP, presets={"paper": {}, "released": RELEASED})
    arch: str = option(
        "", "published name, genotype.json, run folder of a search, Genotype(...) text, or random:SEED", path=True
    )
    onestage: bool | None = option(
        None, "insist on an architecture with BN after skips and pools, --no_onestage without; it says so itself"
    )

    settings_suite: bool = option(
        False,
        "train nine times, as the confopt benchmark suite does: learning rates 0.025, 0.1, 0.01 by weight decays 1e-4, "
        "3e-4, 1e-3; --jobs at a time",
    )

    def validate(self) -> None:
        """Check what contradicts ``settings_suite``."""
        if self.settings_suite and self.seeds:
            raise UserError("--settings_suite and --seeds are both several runs; give one of them, or --seed")
        given = {
            "learning_rate": self.learning_rate != EvaluationOptions.learning_rate,
            "weight_decay": self.weight_decay != EvaluationOptions.weight_decay,
        }
        for name, changed in given.items():
            if self.settings_suite and changed:
                raise UserError(f"--settings_suite sets {name} itself; leave --{name} out")

    def parts(self) -> dict[str, dict[str, Any]]:
        if not self.settings_suite:
            return super().parts()
        grid = product(SUITE_LEARNING_RATES, SUITE_WEIGHT_DECAYS)
        changes = [{"learning_rate": rate, "weight_decay": decay, "settings_suite": False} for rate, decay in grid]
        return {f"setting-{number}": change for number, change in enumerate(changes, 1)}

    def genotype(self) -> AnyGenotype:
        """The architecture to train.

        Raises:
            UserError: when there is none, or ``onestage`` contradicts it.
        """
        return self.resolve(self.arch, self.onestage)

    def self_contained(self) -> Self:
        """The same options, with the architecture itself in the place of a file, which may be gone on a resume."""
        self.genotype()
        return replace(self, arch=self.lasting(self.arch))


class Evaluation(TrainingMethod[EvaluationOptions]):
    """The target network, its training, and the average of its weights if there is one."""

    Options = EvaluationOptions
    folder = "eval"

    @classmethod
    def make_network(cls, options: EvaluationOptions, space: Space, sizes: dict[str, Any]) -> Network:
        return space.target_network(options.genotype(), **sizes, auxiliary=options.auxiliary)

    @classmethod
    def heaviest(cls, options: EvaluationOptions, space: Space) -> None:
        return None

    def __init__(self, options: EvaluationOptions, setting: Setting) -> None:
        self.options, self.stepping = options, setting.stepping
        with initialising(options.seed, "weights"):
            self.network = self.make_network(options, setting.space, setting.sizes)
        self.stepping.place(self.network)
        optimizer = make_sgd(self.network.parameters(), options, fused=self.stepping.device.type == "cuda")
        self.training = Training(self.network, optimizer, self.stepping, options, options.grad_clip)

    @property
    def num_epochs(self) -> int:
        return self.options.epochs

    @property
    def result(self) -> Network:
        return self.training.result

    def genotype(self) -> AnyGenotype:
        return self.options.genotype()

    def describe(self, run: Run) -> None:
        genotype = self.genotype()
        run.write_json("genotype.json", {"genotype": genotype.to_json(), "text": str(genotype)})
        run.log(f"genotype = {genotype}")

    def begin_epoch(self, epoch: int) -> tuple[float, float]:
        options = self.options
        learning_rate = learning_rate_of(epoch, options.epochs, options)
        set_learning_rate(self.training.optimizer, learning_rate)
        return learning_rate, drop_path_probability(epoch, options.epochs, options.drop_path_prob)

    def num_connections(self) -> int:
        return self.network.num_connections()

    def step(self, x: Tensor, labels: Tensor, drop_path: Tensor | None = None) -> StepResult:
        return self.training.step(x, labels, drop_path)

    def predict(self, x: Tensor) -> Output:
        return self.training.predict(x)

    def plain(self) -> Network:
        return self.result

    def finish(self, run: Run, score: Callable[[nn.Module, Callable[[Tensor], Tensor]], Scores]) -> Finished:
        return Finished(self.result, self.options.arch, {})

    def state_dict(self) -> dict[str, Any]:
        return self.training.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.training.load_state_dict(state)

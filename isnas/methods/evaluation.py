"""Training of the target network of an architecture, and its test: the second stage, as the DARTS family does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from isnas.base.random import initialising
from isnas.engine.architectures import log_genotype
from isnas.engine.averages import Scores
from isnas.engine.checkpoint import has_checkpoint
from isnas.engine.method import Finished, Setting, TrainingMethod
from isnas.engine.run import Run
from isnas.engine.trained import take_weights
from isnas.methods.options.evaluation import EvaluationOptions
from isnas.space.batch_norm import BatchNorm
from isnas.space.space import AnyGenotype, Network, Output, Space
from isnas.train.fixed import Training, drop_path_probability
from isnas.train.optim import learning_rate_of, make_sgd, set_learning_rate
from isnas.train.stepping import StepResult


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
        self.origin = ""
        if options.weights and not has_checkpoint(options.resume):
            sizes, info = setting.sizes, setting.info
            self.origin = take_weights(self.network, options.genotype(), sizes, info, options.weights)
        self.stepping.place(self.network)
        norms = (module for module in self.network.modules() if isinstance(module, BatchNorm))
        free = [] if options.decay_norms else [parameter for norm in norms for parameter in norm.parameters()]
        on_gpu = self.stepping.device.type == "cuda"
        optimizer = make_sgd(self.network.parameters(), options, fused=on_gpu, without_decay=free)
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
        log_genotype(run, genotype)
        if self.origin:
            run.log(self.origin)

    def begin_epoch(self, epoch: int) -> tuple[float, float]:
        options = self.options
        learning_rate = learning_rate_of(epoch, options.epochs, options)
        set_learning_rate(self.training.optimizer, learning_rate)
        return learning_rate, drop_path_probability(epoch, options.epochs, options.drop_path_prob)

    def num_connections(self) -> int:
        return self.network.num_connections()

    def step(
        self, x: Tensor, labels: Tensor, drop_path: Tensor | None = None, dropout: Tensor | None = None
    ) -> StepResult:
        return self.training.step(x, labels, drop_path, dropout)

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

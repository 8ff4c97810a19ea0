"""What searches in a super-net have in common: its weights W, and a step of them on a sub-network; sampled ones."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.base.errors import UserError
from isnas.base.random import initialising
from isnas.engine.budget import steps_within
from isnas.engine.harness_options import SearchOptions
from isnas.engine.method import SearchMethod, Setting
from isnas.space.connections import Connections, Support
from isnas.space.space import AnyGenotype, Network, Output, Space
from isnas.train.optim import learning_rate_of, make_sgd, set_learning_rate
from isnas.train.stepping import StepResult

Settings = TypeVar("Settings", bound=SearchOptions)


class SuperNetSearch(SearchMethod[Settings]):
    """A super-net and the SGD of its weights; a method says which connections run.

    A step updates the weights that run, and no others have a gradient.
    """

    def __init__(self, options: Settings, setting: Setting) -> None:
        self.options, self.space, self.stepping = options, setting.space, setting.stepping
        with initialising(options.seed, "weights"):
            self.network = self.make_network(options, setting.space, setting.sizes)
        self.stepping.place(self.network)
        self.w_optimizer = make_sgd(self.network.parameters(), options)

    @classmethod
    def make_network(cls, options: Settings, space: Space, sizes: dict[str, Any]) -> Network:
        return space.super_net(**sizes)

    @classmethod
    def heaviest(cls, options: Settings, space: Space) -> Support:
        return space.heaviest(options.sparseness, options.value_bytes)

    @property
    def num_epochs(self) -> int:
        return self.options.epochs

    @classmethod
    def within_budget(cls, options: Settings, num_images: int, steps_per_epoch: int) -> tuple[Settings, int]:
        steps = steps_within(
            options.budget,
            steps_per_epoch,
            lambda epoch: cls.passes_of_step(options, epoch) * options.batch_size,
            lambda steps: cls.passes_of_choice(options, num_images, steps),
        )
        if not steps:
            least = cls.passes_of_step(options, 0) * options.batch_size + cls.passes_of_choice(options, num_images, 1)
            raise UserError(
                f"--budget {options.budget:g} is less than a step and the choice cost; give {least:.0f} or more"
            )
        return replace(options, epochs=math.ceil(steps / steps_per_epoch)), steps

    @abstractmethod
    def connections(self) -> Connections:
        """What runs now."""

    def begin_epoch(self, epoch: int) -> float:
        learning_rate = learning_rate_of(epoch, self.options.epochs, self.options)
        set_learning_rate(self.w_optimizer, learning_rate)
        return learning_rate

    def update_w(self, x: Tensor, labels: Tensor) -> StepResult:
        """Descend the training loss in the weights of the active connections."""
        with torch.no_grad():
            connections = self.connections()
        running = self.running_parameters(connections)
        result = self.stepping.backward(partial(self.loss, connections), (x, labels), running)
        self.stepping.update(self.w_optimizer, grad_clip=self.options.grad_clip)
        return result

    def running_parameters(self, connections: Connections) -> list[nn.Parameter]:
        """The weights of the active connections."""
        return self.network.running_parameters(connections)

    def loss(self, connections: Connections, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy () of a sub-network on a batch, and its scores (B, num_classes)."""
        logits = self.stepping.forward(self.network, x, connections).logits
        return F.cross_entropy(logits, labels), logits

    def predict(self, x: Tensor) -> Output:
        """Scores of the sub-network that runs now; the caller has set eval mode."""
        return self.stepping.forward(self.network, x, self.connections())

    def genotype(self) -> AnyGenotype:
        """The architecture that runs now."""
        return self.space.genotype(self.connections().support)

    def state_dict(self) -> dict[str, Any]:
        """Everything the search needs to go on."""
        return {
            "network": self.network.state_dict(),
            "w_optimizer": self.w_optimizer.state_dict(),
            "stepping": self.stepping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.w_optimizer.load_state_dict(state["w_optimizer"])
        self.stepping.load_state_dict(state["stepping"])


class SampledSearch(SuperNetSearch[Settings]):
    """A search in which a support without coefficients runs, and a step is one of the weights alone."""

    splits: ClassVar[tuple[str, ...]] = ("train_w",)
    support: Support = ()

    @classmethod
    def passes_of_step(cls, options: Settings, epoch: int) -> float:
        return 1.0

    def connections(self) -> Connections:
        return Connections(self.support)

    def step(self, *batches: tuple[Tensor, Tensor]) -> StepResult:
        (batch,) = batches
        return self.update_w(*batch)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"support": self.support}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.support = state["support"]

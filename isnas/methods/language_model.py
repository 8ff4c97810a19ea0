"""Training of the language model of a recurrent architecture, as DARTS does it: SGD, then the average of its weights.

Once the validation loss has stopped falling the weights are averaged from step to step and the average is what is
validated (ASGD of Merity et al. 2018, with the same learning rate); the network of the least validation loss is the
result. A training that diverges goes back to it.
"""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import SGD
from torch.optim.swa_utils import get_swa_multi_avg_fn

from isnas.base.random import generator, initialising
from isnas.engine.language.options import ModelOptions
from isnas.methods.options.language_model import LanguageModelOptions
from isnas.space.recurrent.network import RecurrentNetwork, target_network
from isnas.train.language import Descent
from isnas.train.stepping import Stepping


class LanguageModel:
    """The network, its optimiser, the average of its weights once there is one, and the best network so far.

    ``losses`` are the validation losses (nats per word) of all epochs, ``best_epoch`` that of the least one.
    """

    Options: ClassVar[type[ModelOptions]] = LanguageModelOptions

    def __init__(self, options: LanguageModelOptions, sizes: dict[str, Any], stepping: Stepping) -> None:
        self.options, self.stepping = options, stepping
        self.architecture = options.genotype()
        with initialising(options.seed, "weights"):
            self.network = self.make_network(sizes)
        self.network.to(stepping.device)
        self.optimizer = SGD(self.network.parameters(), options.learning_rate, weight_decay=options.weight_decay)
        self.descent = Descent(self.network, options, stepping)
        self.average: RecurrentNetwork | None = None
        self.num_averaged = 0
        self.losses: list[float] = []
        self.best_epoch = -1
        self.best: dict[str, Tensor] = {}
        self.rolled_back = 0
        self._update_average = get_swa_multi_avg_fn()

    def make_network(self, sizes: dict[str, Any]) -> RecurrentNetwork:
        """The network, of new weights."""
        return target_network(self.architecture, **sizes)

    @property
    def result(self) -> RecurrentNetwork:
        """The network that is validated: the average if there is one."""
        return self.network if self.average is None else self.average

    def begin_epoch(self) -> None:
        """Start the walk over the text anew."""
        self.descent.state = None

    def step(self, words: tuple[Tensor, Tensor], rate: float, epoch: int, step: int) -> Tensor:
        """One update on a window; its mean cross-entropy ()."""
        rng = generator(self.options.seed, "dropout", epoch, step)
        loss = self.descent.step(words, rate, rng, self.optimizer)
        if self.average is not None:
            means, values = ([*network.parameters()] for network in (self.average, self.network))
            self._update_average(means, values, self.num_averaged)
            self.num_averaged += 1
        return loss

    def validated(self, loss: float, epoch: int) -> list[str]:
        """Take note of an epoch's validation loss; lines for the log."""
        lines = []
        if not self.losses or loss < min(self.losses):
            self.best_epoch, self.best = epoch, _copied(self.result)
            lines.append(f"the best so far, in epoch {epoch}")
        before = self.losses[: max(0, len(self.losses) - self.options.nonmono)]
        if self.average is None and before and loss > min(before):
            self.average = copy.deepcopy(self.network).requires_grad_(False)
            lines.append(
                "the validation loss does not fall any more: from now on the average of the weights is validated"
            )
        self.losses.append(loss)
        return lines

    def roll_back(self) -> bool:
        """Go back to the best network, where there is one, and average anew."""
        if not self.best:
            return False
        self.network.load_state_dict(self.best)
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.load_state_dict(self.best)
        self.num_averaged = 0
        self.rolled_back += 1
        return True

    def take_best(self) -> RecurrentNetwork:
        """The network of the least validation loss."""
        self.network.load_state_dict(self.best)
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """Everything the training needs to go on."""
        return {
            "network": self.network.state_dict(),
            "descent": self.descent.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "num_averaged": self.num_averaged,
            "losses": list(self.losses),
            "best_epoch": self.best_epoch,
            "best": dict(self.best),
            "rolled_back": self.rolled_back,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.descent.load_state_dict(state["descent"])
        if state["average"] is not None:
            self.average = copy.deepcopy(self.network).requires_grad_(False)
            self.average.load_state_dict(state["average"])
        if not all(isinstance(loss, float) and math.isfinite(loss) for loss in state["losses"]):
            raise ValueError("it has no losses")
        self.num_averaged, self.losses = state["num_averaged"], state["losses"]
        self.best_epoch, self.rolled_back = state["best_epoch"], state["rolled_back"]
        self.best = {name: tensor.to(self.stepping.device) for name, tensor in state["best"].items()}


def _copied(network: RecurrentNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

"""Two-stage ISTA-NAS, the search (NeurIPS 2020, Algorithm 1).

One step: recover the support when it is due (lines 2 and 3), update the weights W of the active connections on a
training batch (line 4), update b on a batch of the other half (line 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.methods.sparse_architecture import Recovery, SparseArchitecture
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import Network, Output
from isnas.space.connections import Connections
from isnas.train.stepping import Stepping, StepResult


@dataclass(frozen=True)
class TwoStageOptions:
    """Algorithm 1's own settings; the defaults are the paper's for CIFAR-10."""

    arch_learning_rate: float = option(6e-4, "Adam's learning rate for b", above=0.0, maximum=1e6)
    arch_weight_decay: float = option(1e-3, "l2 penalty on b (Adam, not AdamW)", minimum=0.0, maximum=1e6)
    arch_beta1: float = option(0.5, "Adam's first beta for b", minimum=0.0, below=1.0)
    arch_beta2: float = option(0.999, "Adam's second beta for b", minimum=0.0, below=1.0)
    train_portion: float = option(0.5, "share of training images that trains W; the rest trains b", above=0, below=1)
    held_out_portion: float = option(0.0, "share of the training images kept from both", minimum=0.0, below=1.0)
    recover_every: str = option("epoch", "when z is recovered: epoch (released code), step (Algorithm 1), or N steps")

    def validate(self) -> None:
        """Check the form of ``recover_every``."""
        steps_between_recoveries(self.recover_every, 1)


def steps_between_recoveries(recover_every: str, steps_per_epoch: int) -> int:
    """``recover_every`` as a number of steps."""
    if recover_every == "epoch":
        return steps_per_epoch
    if recover_every == "step":
        return 1
    if recover_every.isdecimal() and int(recover_every) > 0:
        return int(recover_every)
    raise UserError(f"recover_every must be epoch, step or a positive number of steps, not {recover_every!r}")


class TwoStage:
    """The search's state: network, architecture and their optimisers.

    ``w_optimizer`` must have one parameter group; it always holds exactly the parameters that run, so whatever leaves
    the support has no gradient, no momentum and no weight decay, and starts anew when it returns.
    """

    def __init__(
        self,
        network: Network,
        architecture: SparseArchitecture,
        w_optimizer: Optimizer,
        b_optimizer: Optimizer,
        stepping: Stepping,
        *,
        grad_clip: float,
        recover_interval: int,
    ) -> None:
        self.network = network
        self.architecture = architecture
        self.w_optimizer = w_optimizer
        self.b_optimizer = b_optimizer
        self.stepping = stepping
        self.grad_clip = grad_clip
        self.recover_interval = recover_interval

    def recovery_due(self, step: int) -> bool:
        """Whether the recovery comes before this step (counted from 0 over the whole run)."""
        return step % self.recover_interval == 0

    def recover(self) -> Recovery:
        """Recover z and the support from b, and let the W optimiser follow."""
        recovery = self.architecture.recover()
        if recovery.changed:
            self._follow_support()
        return recovery

    def step(self, batch_w: tuple[Tensor, Tensor], batch_b: tuple[Tensor, Tensor]) -> StepResult:
        """One update of W on ``batch_w``, then one of b on ``batch_b``; the result is that of ``batch_w``."""
        result = self.update_w(*batch_w)
        self.update_b(*batch_b)
        return result

    def update_w(self, x: Tensor, labels: Tensor) -> StepResult:
        """Descend the training loss in the weights of the active connections (line 4)."""
        with torch.no_grad():
            connections = self.architecture.connections()
        (group,) = self.w_optimizer.param_groups
        result = self.stepping.backward(partial(self._loss, connections), (x, labels), group["params"])
        self.stepping.update(self.w_optimizer, grad_clip=self.grad_clip)
        return result

    def update_b(self, x: Tensor, labels: Tensor) -> None:
        """Descend the validation loss in b (line 5); the weights get no gradient."""

        def loss(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            return self._loss(self.architecture.connections(), x, labels)

        self.stepping.backward(loss, (x, labels), self.architecture.b)
        self.stepping.update(self.b_optimizer)

    def predict(self, x: Tensor) -> Output:
        """Scores of the sub-network that runs now."""
        return self.stepping.forward(self.network, x, self.architecture.connections())

    def genotype(self) -> Genotype:
        """The architecture of the current support."""
        return self.architecture.connections().genotype()

    def state_dict(self) -> dict[str, Any]:
        """Everything the search needs to go on."""
        return {
            "network": self.network.state_dict(),
            "architecture": self.architecture.state_dict(),
            "w_optimizer": self.w_optimizer.state_dict(),
            "b_optimizer": self.b_optimizer.state_dict(),
            "stepping": self.stepping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.architecture.load_state_dict(state["architecture"])
        if self.architecture.recovered:
            self._follow_support()
        self.w_optimizer.load_state_dict(state["w_optimizer"])
        self.b_optimizer.load_state_dict(state["b_optimizer"])
        self.stepping.load_state_dict(state["stepping"])

    def _loss(self, connections: Connections, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.stepping.forward(self.network, x, connections).logits
        return F.cross_entropy(logits, labels), logits

    def _follow_support(self) -> None:
        (group,) = self.w_optimizer.param_groups
        running = self.network.running_parameters(self.architecture.connections())
        for parameter in set(group["params"]) - set(running):
            parameter.grad = None
            self.w_optimizer.state.pop(parameter, None)
        group["params"] = running

"""Two-stage ISTA-NAS, the search (NeurIPS 2020, Algorithm 1).

One step: recover the support when it is due (lines 2 and 3), update the weights W of the active connections on a
training batch (line 4), update b on a batch of the other half (line 5). The released code updates b first, and cuts the
norm of both gradients together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isnas.base.random import generator
from isnas.engine.method import Judge, Report, Setting
from isnas.methods.macs_target import MacsTarget
from isnas.methods.options.two_stage import TwoStageOptions, steps_between_recoveries
from isnas.methods.recovery_figures import Recovery, RecoveryTally
from isnas.methods.size_limit import SizeLimit
from isnas.methods.sparse_architecture import SparseArchitecture, drawn_support
from isnas.methods.super_net import SuperNetSearch
from isnas.space.connections import Connections
from isnas.train.optim import (
    keep_running,
    make_adam,
    set_arch_learning_rate,
)
from isnas.train.stepping import StepResult


class TwoStage(SuperNetSearch[TwoStageOptions]):
    """The search's state: super-net, architecture and their optimisers.

    ``w_optimizer`` always holds exactly the parameters that run, so whatever leaves the support has no gradient, no
    momentum and no weight decay, and starts anew when it returns. Only in the first ``uniform_epochs`` it holds all.
    """

    Options = TwoStageOptions
    splits = ("train_w", "train_b")
    b_waits = False
    chosen = False

    def __init__(self, options: TwoStageOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        rng = generator(options.seed, "architecture")
        self.architecture = SparseArchitecture(options, setting.space, rng).to(self.stepping.exact_device)
        self.architecture.limit_size(SizeLimit(options, setting.space, setting.info))
        self.target: MacsTarget | None = None
        if options.target_macs:
            matrices, device = self.architecture.matrices, self.stepping.exact_device
            self.target = MacsTarget(options, setting.space, setting.info, matrices, device)
        self.b_optimizer = make_adam(self.architecture.parameters(), options)
        self.recover_interval = steps_between_recoveries(options.recover_every, setting.steps_in(0))
        self.tally = RecoveryTally()

    @classmethod
    def passes_of_step(cls, options: TwoStageOptions, epoch: int) -> float:
        return 1.0 if epoch < options.uniform_epochs else 2.0

    @classmethod
    def within_budget(
        cls, options: TwoStageOptions, num_images: int, steps_per_epoch: int
    ) -> tuple[TwoStageOptions, int]:
        planned, steps = super().within_budget(options, num_images, steps_per_epoch)
        planned.check_start(planned.epochs)
        return planned, steps

    @classmethod
    def check(cls, options: TwoStageOptions) -> None:
        options.check_solver()

    def begin_epoch(self, epoch: int) -> float:
        self.b_waits = epoch < self.options.uniform_epochs
        set_arch_learning_rate(self.b_optimizer, epoch, self.options.epochs, self.options)
        return super().begin_epoch(epoch)

    def connections(self) -> Connections:
        """The support, with coefficients that are differentiable in b, while it waits without."""
        return self.architecture.connections()

    def before_step(self, step: int) -> None:
        """Recover z when it is due; while b waits, draw a support."""
        if self.b_waits:
            self.architecture.run(drawn_support(self.options, self.space, step))
        elif step % self.recover_interval == 0 or not self.architecture.recovered:
            self.recover()

    def recover(self) -> Recovery:
        """Recover z and the support from b, and let the W optimiser follow."""
        recovery = self.architecture.recover()
        self.tally.add(recovery)
        if recovery.changed:
            self._follow_support()
        return recovery

    def step(self, *batches: tuple[Tensor, Tensor]) -> StepResult:
        """One update of W on the first batch and one of b on the second, in the order that ``first_update`` says."""
        batch_w, batch_b = batches
        if self.b_waits:
            return super().update_w(*batch_w)
        if self.options.first_update == "b":
            return self.update_w(*batch_w, self.update_b(*batch_b))
        result = self.update_w(*batch_w)
        self.update_b(*batch_b)
        return result

    def update_w(self, x: Tensor, labels: Tensor, of_b: Sequence[Tensor] = ()) -> StepResult:
        """Descend the training loss in W; if b counts in the clip, so does ``of_b``, that of its batch."""
        if self.options.grad_clip_of == "w":
            return super().update_w(x, labels)
        b = list(self.architecture.b)
        (group,) = self.w_optimizer.param_groups
        result = self.stepping.backward(self.loss_of_both, (x, labels), [*b, *group["params"]])
        for part, gradient in zip(b, of_b):
            assert part.grad is not None
            part.grad += gradient
        self.stepping.update(self.w_optimizer, grad_clip=self.options.grad_clip, clipped_with=b)
        self.b_optimizer.zero_grad()
        return result

    def update_b(self, x: Tensor, labels: Tensor) -> list[Tensor]:
        """Descend the validation loss in b (line 5); the weights get no gradient. Returns that of b."""
        self.stepping.backward(self.loss_of_both, (x, labels), self.architecture.b)
        gradient = [part.grad for part in self.architecture.b if part.grad is not None]
        self.stepping.update(self.b_optimizer)
        return gradient

    def loss_of_both(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy () on a batch, differentiable in W and b, and the scores (B, num_classes).

        With a target for the multiply-adds, it has what :mod:`isnas.methods.macs_target` adds, and then is b's alone.
        """
        loss, logits = self.loss(self.connections(), x, labels)
        penalty = None if self.target is None else self.target.penalty(self.b, tuple(self.architecture.support))
        return (loss if penalty is None else loss + penalty.to(loss)), logits

    @property
    def b(self) -> Tensor:
        """All nodes' b, (J, m)."""
        return torch.stack(list(self.architecture.b))

    def report(self) -> Report:
        """The recoveries since the last report."""
        limit = self.architecture.limit
        assert limit is not None
        advice = limit.advice(self.genotype()) if self.chosen else []
        report = Report(self.tally.lines() + limit.lines() + advice, self.tally.values())
        if self.target is not None and not self.b_waits:
            support = tuple(self.architecture.support)
            report = Report(
                report.lines + self.target.lines(support), report.values | self.target.values(self.b, support)
            )
        self.tally.reset()
        return report

    def choose(self, judge: Judge) -> Iterator[None]:
        """Recover once more: the architecture of the last b, near the target for the multiply-adds if there is one."""
        self.recover()
        if self.target is not None:
            self.architecture.take(self.target.nearest(tuple(self.architecture.support), self.b))
            self._follow_support()
        self.chosen = True
        yield from ()

    def weights(self) -> dict[str, nn.Module]:
        return {"network": self.network, "architecture": self.architecture}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "architecture": self.architecture.state_dict(),
            "support": tuple(self.architecture.support),
            "b_optimizer": self.b_optimizer.state_dict(),
            "tally": self.tally.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.architecture.load_state_dict(state["architecture"])
        if self.architecture.recovered:
            self._follow_support()
        else:
            self.architecture.run(state["support"])
        super().load_state_dict(state)
        self.b_optimizer.load_state_dict(state["b_optimizer"])
        self.tally.load_state_dict(state["tally"])

    def running_parameters(self, connections: Connections) -> list[nn.Parameter]:
        if self.b_waits:
            return super().running_parameters(connections)
        (group,) = self.w_optimizer.param_groups
        return group["params"]

    def _follow_support(self) -> None:
        keep_running(self.w_optimizer, self.network.running_parameters(self.architecture.connections()))

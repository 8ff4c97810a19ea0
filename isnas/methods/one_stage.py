"""One-stage ISTA-NAS: search and training of the full-size network in one run (NeurIPS 2020, Algorithm 2).

While searching, weights and b descend the same loss in the same backward pass, and gamma and beta of the candidates'
batch normalisations are frozen at 1 and 0. Every interval z is recovered; a node whose z has stopped moving terminates:
its b, z, support and coefficients stay for good, and its gamma and beta become trainable. When all nodes have
terminated, the candidates outside the support are dropped and the fixed architecture is trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isnas.base.random import generator, initialising
from isnas.engine.architectures import log_architecture
from isnas.engine.averages import Scores
from isnas.engine.method import Finished, Setting, TrainingMethod
from isnas.engine.run import Run
from isnas.methods.options.one_stage import OneStageOptions, interval_in_steps
from isnas.methods.recovery_figures import Recovery, RecoveryTally
from isnas.methods.sparse_architecture import SparseArchitecture, drawn_support
from isnas.nets.absorb import WeightedNetwork, absorb
from isnas.nets.count import count_built, num_params
from isnas.space.batch_norm import BatchNorm
from isnas.space.connections import Connections, Support
from isnas.space.space import AnyGenotype, Network, Output, Space
from isnas.train.fixed import drop_path_probability, dropping, loss_of
from isnas.train.optim import (
    keep_running,
    learning_rate_of,
    make_adam,
    make_sgd,
    set_arch_learning_rate,
    set_learning_rate,
    warm_up,
)
from isnas.train.stepping import StepResult


class OneStage(TrainingMethod[OneStageOptions]):
    """The state of the run: super-net, architecture and both optimisers while searching, then the fixed network."""

    Options = OneStageOptions
    folder = "onestage"
    b_waits = False

    @classmethod
    def check(cls, options: OneStageOptions) -> None:
        options.check_solver()

    @classmethod
    def make_network(cls, options: OneStageOptions, space: Space, sizes: dict[str, Any]) -> Network:
        return space.super_net(one_stage=True, **sizes, auxiliary=options.auxiliary)

    @classmethod
    def heaviest(cls, options: OneStageOptions, space: Space) -> Support:
        return space.heaviest(options.sparseness, options.value_bytes)

    def __init__(self, options: OneStageOptions, setting: Setting) -> None:
        self.options, self.space, self.sizes, self.info = options, setting.space, setting.sizes, setting.info
        self.stepping = setting.stepping
        with initialising(options.seed, "weights"):
            network = self.make_network(options, setting.space, setting.sizes)
        self.network = self.stepping.place(network)
        rng = generator(options.seed, "architecture")
        self.architecture = SparseArchitecture(options, setting.space, rng).to(self.stepping.exact_device)
        self.b_optimizer = make_adam(self.architecture.parameters(), options)
        self.w_optimizer = make_sgd(network.parameters(), options)
        self.interval = interval_in_steps(options.termination_interval, setting.steps_in(0))
        self.tally = RecoveryTally()
        self.calm = [0] * len(self.space.sizes)
        self.distances: list[float] | None = None
        self.terminations: list[int | None] = [None] * len(self.space.sizes)
        self.search_epochs: int | None = None
        self.fixed: Connections | None = None
        for node in range(len(self.space.sizes)):
            self._train_gammas_and_betas(node, False)

    @property
    def num_epochs(self) -> int:
        """Epochs of the search, at most, and of the training after it."""
        return (self.search_epochs or self.options.max_search_epochs) + self.options.epochs

    @property
    def searching(self) -> bool:
        """Whether the architecture is still open."""
        return self.fixed is None

    def begin_epoch(self, epoch: int) -> tuple[float, float]:
        """Set the learning rates; returns that of the weights and drop-path's probability."""
        options = self.options
        self.b_waits = epoch < options.uniform_epochs
        if self.search_epochs is None:
            learning_rate, drop_path = warm_up(epoch, options), 0.0
            set_arch_learning_rate(self.b_optimizer, epoch, options.max_search_epochs, options)
        else:
            done = epoch - self.search_epochs
            learning_rate = learning_rate_of(done, options.epochs, replace(options, warmup_epochs=0))
            drop_path = drop_path_probability(done, options.epochs, options.drop_path_prob)
        set_learning_rate(self.w_optimizer, learning_rate)
        return learning_rate, drop_path

    def before_step(self, step: int, epoch: int, run: Run) -> None:
        """Recover z when it is due; log every node's distance in units of epsilon, and what terminated.

        While b waits, draw a support.
        """
        if self.b_waits:
            self.architecture.run(drawn_support(self.options, self.space, step))
        if not self.searching or self.b_waits or (step % self.interval and self.architecture.recovered):
            return
        options, done = self.options, self.architecture.terminated_nodes
        waits = options.when_too_large == "wait" and self.architecture.recovered
        too_large = waits and not self._fits(tuple(self.architecture.support))
        recovery, terminated = self.recover(step, too_large)
        self.tally.add(recovery)
        row: dict[str, Any] = {"step": step, "epoch": epoch, "changed": recovery.changed}
        row |= {"distances": recovery.distances, "distances_full": recovery.distances_full}
        row |= {"terminated": sorted(done), "hash": self.genotype().hash()}
        run.records.row("distances.jsonl", row)
        if self.distances is not None:
            ratios = (
                f"{name} {'done' if node in done else f'{distance / options.epsilon:.3g}'}"
                for node, (name, distance) in enumerate(zip(self.space.node_names, self.distances))
            )
            run.log(f"distance / epsilon: {', '.join(ratios)}")
        for node in terminated:
            run.log(f"{self.space.node_names[node]} terminates at step {step}", event=True)
        if too_large:
            run.log(f"no node may terminate: the network has {self._limit}")
        if recovery.rejected:
            run.log(f"z is rejected: its network has {self._limit}")

    @property
    def _limit(self) -> str:
        params, macs = self.options.max_params, self.options.max_macs
        parts = [f"{params} million parameters"] * bool(params) + [f"{macs} million multiply-adds"] * bool(macs)
        return f"{' or '.join(parts)} or more"

    def _fits(self, support: Support) -> bool:
        """Whether the network of a support has fewer than ``max_params`` and ``max_macs``."""
        most = self.options.max_params or math.inf, self.options.max_macs or math.inf
        if most == (math.inf, math.inf):
            return True

        def build() -> Network:
            return self.space.target_network(self.space.genotype(support, one_stage=True), **self.sizes)

        size = count_built(build, self.info.channels, self.info.image_size)
        return size.params_millions < most[0] and size.conv_linear_multiply_adds / 1e6 < most[1]

    def recover(self, step: int, too_large: bool = False) -> tuple[Recovery, list[int]]:
        """Recover z before ``step``, and terminate the nodes whose z has stopped moving; returns these nodes too.

        ``too_large`` (see ``max_params``) is asked of the architecture that was recovered before. ``distances`` then
        holds how far each node's z has moved, as ``options.distance`` says, and ``terminations`` the steps; where z is
        rejected, how far it would have moved.
        """
        recovery = self.architecture.recover(self._fits if self.options.when_too_large == "reject" else None)
        self.distances = recovery.distances if self.options.distance == "top_s" else recovery.distances_full
        terminated = []
        for node, distance in enumerate(self.distances or []):
            self.calm[node] = self.calm[node] + 1 if distance <= self.options.epsilon else 0
            calm = self.calm[node] >= self.options.patience and not too_large
            if calm and node not in self.architecture.terminated_nodes:
                self.terminate(node)
                self.terminations[node] = step
                terminated.append(node)
        if recovery.changed or terminated:
            self._follow_support()
        return recovery, terminated

    def terminate(self, node: int) -> None:
        """Fix a node and let gamma and beta of its candidates train."""
        self.architecture.terminate(node)
        self.b_optimizer.state.pop(self.architecture.b[node], None)
        self._train_gammas_and_betas(node, True)

    @property
    def all_terminated(self) -> bool:
        """Whether no node moves any more."""
        return len(self.architecture.terminated_nodes) == len(self.architecture.sizes)

    def fix(self, search_epochs: int) -> None:
        """Drop every candidate outside the support, with its optimiser state; what is left trains on as it is."""
        for node in range(len(self.architecture.sizes)):
            if node not in self.architecture.terminated_nodes:
                self.terminate(node)
        self._follow_support()
        old_network, support = self.network, tuple(self.architecture.support)
        old = dict(old_network.named_parameters())
        momentum = {
            name: self.w_optimizer.state[p]["momentum_buffer"]
            for name, p in old.items()
            if self.w_optimizer.state.get(p, {}).get("momentum_buffer") is not None
        }
        self._replace_network()
        self.network.load_state_dict(old_network.extract_state(old_network.state_dict(), support))
        for name, buffer in old_network.extract_state(momentum, support).items():
            self.w_optimizer.state[self.network.get_parameter(name)]["momentum_buffer"] = buffer
        self.search_epochs = search_epochs

    def step(
        self, x: Tensor, labels: Tensor, drop_path: Tensor | None = None, dropout: Tensor | None = None
    ) -> StepResult:
        """Descend the loss of a batch in the weights that run and, while searching, in b."""
        (group,) = self.w_optimizer.param_groups
        weights = self._trainable() if self.b_waits else group["params"]
        b = [part for part in self.architecture.b if part.requires_grad] if self.searching and not self.b_waits else []
        batch = (x, labels, drop_path, dropout)
        result = self.stepping.backward(self._loss, batch, [*b, *weights])  # b's gradient is complete last
        optimizers = [self.w_optimizer, self.b_optimizer] if b else [self.w_optimizer]
        self.stepping.update(*optimizers, grad_clip=self.options.grad_clip)
        return result

    def num_connections(self) -> int:
        return self.network.num_connections(self.fixed or Connections(tuple(self.architecture.support)))

    def connections(self) -> Connections:
        """What runs now, with coefficients that are differentiable in b while the architecture is open."""
        return self.architecture.connections() if self.fixed is None else self.fixed

    def predict(self, x: Tensor) -> Output:
        """Scores of what runs now; the caller has set eval mode."""
        return self.stepping.forward(self.network, x, self.connections())

    def genotype(self) -> AnyGenotype:
        """The architecture of the current support."""
        return self.space.genotype(tuple(self.architecture.support), one_stage=True)

    def weighted(self) -> WeightedNetwork:
        """The fixed network with its coefficients, to be absorbed."""
        assert self.fixed is not None, "fix the architecture first"
        return WeightedNetwork(self.network, self.fixed)

    @property
    def settled(self) -> bool:
        return not self.searching

    def plain(self) -> Network:
        """The fixed network with its coefficients absorbed."""
        return absorb(self.weighted())

    def end_epoch(self, epoch: int, test_acc: float, run: Run) -> dict[str, float | None]:
        """While searching, log the recoveries and the architecture; end the search when its time has come."""
        searching = self.searching
        values: dict[str, float | None] = {"searching": float(searching)}
        values |= {"terminated": len(self.architecture.terminated_nodes)}
        if not searching:
            return values
        for line in self.tally.lines():
            run.log(line)
        values |= self.tally.values() | log_architecture(run, self.space, self.genotype(), self.info)
        values |= {
            f"distance/{name.replace(' node ', '_').replace(' ', '_')}": distance
            for node, (name, distance) in enumerate(zip(self.space.node_names, self.distances or []))
            if node not in self.architecture.terminated_nodes
        }
        self.tally.reset()
        run.records.row(
            "genotypes.jsonl", {"epoch": epoch, "test_acc": test_acc, "genotype": self.genotype().to_json()}
        )
        if self.all_terminated or epoch + 1 >= self.options.max_search_epochs:
            self._end_search(epoch + 1, run)
        return values

    def _end_search(self, search_epochs: int, run: Run) -> None:
        """Fix the architecture, and say why."""
        if self.all_terminated:
            done = f"all nodes have terminated: the architecture is fixed after epoch {search_epochs - 1}"
        else:
            left = len(self.terminations) - len(self.architecture.terminated_nodes)
            reason = f"max_search_epochs {search_epochs} reached with {left} nodes not terminated"
            done = f"{reason}: the architecture is fixed as it is"
        run.log(done, event=True)
        facts: dict[str, Any] = {"genotype": self.genotype().to_json(), "text": str(self.genotype())}
        facts |= {"search_epochs": search_epochs, "all_terminated": self.all_terminated}
        run.write_json("genotype.json", facts | {"terminations": self.terminations})
        before = num_params(self.network)
        self.fix(search_epochs)
        run.log(f"param size = {num_params(self.network) / 1e6:.6f}MB, of the super-net {before / 1e6:.6f}MB")

    def finish(self, run: Run, score: Callable[[nn.Module, Callable[[Tensor], Tensor]], Scores]) -> Finished:
        """Absorb the coefficients, and see that nothing has changed."""
        weighted = copy.deepcopy(self.weighted())  # a copy is not compiled, and the absorbed network is one
        plain = absorb(weighted)

        def scores_by(network: Network | WeightedNetwork) -> Callable[[Tensor], Tensor]:
            return lambda x: self.stepping.forward(network, x).logits

        before, after = score(weighted.network, scores_by(weighted)), score(plain, scores_by(plain))
        size = self.info.image_size
        rng = generator(self.options.seed, "absorption")
        x = torch.randn(16, self.info.channels, size, size, generator=rng).to(self.stepping.device)
        with torch.no_grad():
            difference = (scores_by(weighted)(x) - scores_by(plain)(x)).abs().max().item()
        accuracies = f"test_acc {before.top1:.6f} before, {after.top1:.6f} after"
        run.log(f"absorbed: {accuracies}; scores of random images {difference:g} apart")
        assert before == after and difference == 0.0, "absorption has changed the network"
        facts = {"search_epochs": self.search_epochs, "all_terminated": None not in self.terminations}
        return Finished(plain, "one-stage", facts)

    def state_dict(self) -> dict[str, Any]:
        """Everything the run needs to go on."""
        return {
            "search_epochs": self.search_epochs,
            "calm": self.calm,
            "distances": self.distances,
            "terminations": self.terminations,
            "network": self.network.state_dict(),
            "architecture": self.architecture.state_dict(),
            "support": tuple(self.architecture.support),
            "w_optimizer": self.w_optimizer.state_dict(),
            "b_optimizer": self.b_optimizer.state_dict() if self.searching else None,
            "stepping": self.stepping.state_dict(),
            "tally": self.tally.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.architecture.load_state_dict(state["architecture"])
        self.calm, self.distances, self.terminations = state["calm"], state["distances"], state["terminations"]
        for node in list(self.architecture.terminated_nodes):
            self.terminate(node)
        self.search_epochs = state["search_epochs"]
        if self.search_epochs is not None:
            self._replace_network()
        elif self.architecture.recovered:
            self._follow_support()
        else:
            self.architecture.run(state["support"])
        self.network.load_state_dict(state["network"])
        self.w_optimizer.load_state_dict(state["w_optimizer"])
        if state["b_optimizer"] is not None:
            self.b_optimizer.load_state_dict(state["b_optimizer"])
        self.stepping.load_state_dict(state["stepping"])
        self.tally.load_state_dict(state["tally"])

    def _loss(
        self, x: Tensor, labels: Tensor, drop_path: Tensor | None, dropout: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        with dropping(self.network, dropout):
            output = self.stepping.forward(self.network, x, self.connections(), drop_path)
        return loss_of(output, labels, self.options), output.logits

    def _replace_network(self) -> None:
        """Put a network of the found connections alone in the place of the super-net, with an empty optimiser."""
        parameter = next(self.network.parameters())
        with torch.device("meta"):
            network = self.space.target_network(self.genotype(), **self.sizes, auxiliary=self.options.auxiliary)
        self.network = self.stepping.place(network.to_empty(device=parameter.device).to(parameter.dtype))
        with torch.no_grad():
            found = self.architecture.connections()
        self.fixed = Connections(tuple(tuple(range(len(node))) for node in found.support), found.coefficients)
        self.w_optimizer.state.clear()
        self.w_optimizer.param_groups[0]["params"] = list(self.network.parameters())

    def _follow_support(self) -> None:
        keep_running(self.w_optimizer, self._trainable())

    def _trainable(self) -> list[nn.Parameter]:
        """The weights that run, but for frozen gammas and betas."""
        running = self.network.running_parameters(self.architecture.connections())
        return [parameter for parameter in running if parameter.requires_grad]

    def _train_gammas_and_betas(self, node: int, train: bool) -> None:
        """Let those of a node's candidates train, or freeze them."""
        for operations in self.network.operations(node):
            for part in operations.modules():
                if isinstance(part, BatchNorm):
                    for parameter in part.parameters():
                        parameter.requires_grad_(train)

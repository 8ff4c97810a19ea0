"""A step of a language model: back-propagation through a window of text, and the loss of a whole text.

The loss of a window is the mean cross-entropy of the next words, and two penalties of the cell's outputs beside it.
Sources: Merity et al., Regularizing and Optimizing LSTM Language Models (ICLR 2018); DARTS (ICLR 2019), whose recurrent
networks are trained so.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from isnas.base.distributed import gathered, local_part
from isnas.base.precision import ExactSums, sent
from isnas.space.connections import Connections
from isnas.space.recurrent.network import Masks, RecurrentNetwork, activation_penalty, temporal_penalty
from isnas.train.optim import set_learning_rate
from isnas.train.stepping import Stepping
from isnas.train.train_options import (
    DescentOptions,
)


class Descent:
    """The walk of a network's weights down the loss of one window after another.

    ``state`` (columns of this process, nhid) is the network's after the last window; None before the first one.
    """

    def __init__(self, network: RecurrentNetwork, options: DescentOptions, stepping: Stepping) -> None:
        self.network, self.options, self.stepping = network, options, stepping
        self.state: Tensor | None = None

    def step(
        self,
        words: tuple[Tensor, Tensor],
        rate: float,
        rng: torch.Generator,
        optimizer: Optimizer,
        connections: Connections | None = None,
    ) -> Tensor:
        """One update on a window: inputs and targets (T, columns) of this process; the mean cross-entropy () of these.

        ``rate`` is the factor of the learning rate, ``rng`` draws the dropout masks of all processes' columns. Only the
        weights of the connections that run have a gradient.
        """
        inputs, targets = words
        network, options, device = self.network, self.options, self.stepping.device
        if self.state is None:
            self.state = network.first_state(inputs.shape[1])
        drawn = network.draw_masks(options.batch_size, rng)
        mine = local_part(options.batch_size)
        rows = {
            name: sent(mask[mine], device)
            for name, mask in drawn._asdict().items()
            if mask is not None and name != "words"
        }
        seen: list[tuple[Tensor, Tensor]] = []

        def loss_of(x: Tensor, y: Tensor, state: Tensor, *kept: Tensor) -> tuple[Tensor, Tensor]:
            masks = Masks(words=drawn.words, **dict(zip(rows, kept)))
            output = network(x.t(), state, connections, masks)
            loss = F.cross_entropy(output.logits.flatten(0, 1), y.t().flatten())
            seen.append((output.state.detach(), loss.detach() * len(x)))
            penalties = temporal_penalty(output.raw, options.beta) if options.beta else 0.0
            if options.alpha:
                penalties = penalties + activation_penalty(output.dropped, options.alpha)
            return loss + penalties, loss.detach().reshape(1)

        batch = (inputs.t(), targets.t(), self.state, *rows.values())
        self.stepping.backward(loss_of, batch, network.running_parameters(connections), entries=inputs.numel())
        set_learning_rate(optimizer, options.learning_rate * rate)
        self.stepping.update(optimizer, grad_clip=options.grad_clip)
        self.state = torch.cat([state for state, _ in seen])
        return torch.stack([loss for _, loss in seen]).sum() / inputs.shape[1]

    def state_dict(self) -> dict[str, Tensor | None]:
        """The states (columns, nhid) of all processes, on the host."""
        if self.state is None:
            return {"state": None}
        return {"state": torch.cat(gathered(self.state.cpu()))}

    def load_state_dict(self, state: dict[str, Tensor | None]) -> None:
        """Go on from :meth:`state_dict`."""
        found = state["state"]
        if found is not None:
            if found.shape != (self.options.batch_size, self.network.first_state(1).shape[1]):
                raise ValueError("it has no states of these columns")
            found = found[local_part(len(found))].to(self.stepping.device)
        self.state = found


@torch.no_grad()
def mean_loss(
    network: RecurrentNetwork, words: Iterable[tuple[Tensor, Tensor]], connections: Connections | None = None
) -> float:
    """Mean cross-entropy (nats per word) of a text, over all processes; perplexity is its exponential.

    ``words`` are the inputs and targets (T, columns of this process, or none) of windows that follow one another, so
    that every target is predicted from all before it in its column. The caller has set eval mode.
    """
    sums = ExactSums(2, network.embedding.device)
    state: Tensor | None = None
    for inputs, targets in words:
        if inputs.numel():
            output = network(inputs, network.first_state(inputs.shape[1]) if state is None else state, connections)
            state = output.state
            loss = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten(), reduction="sum")
            sums.include(loss, float(targets.numel()))
    total, count = sums.total().tolist()
    return total / count

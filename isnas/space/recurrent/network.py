"""The language model: an embedding, a recurrent cell, and a decoder that has the embedding's weight.

Super-net and target network are one class with the same parameters; they differ in the connections that their cells
hold, and in whether ``forward`` is told which of them run. Dropout draws a mask once for all steps of a sequence.
Sources: DARTS (ICLR 2019); Merity et al., Regularizing and Optimizing LSTM Language Models (ICLR 2018); Gal and
Ghahramani (NIPS 2016) for the masks; Press and Wolf (EACL 2017), Inan et al. (ICLR 2017) for the tied weight.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.base.precision import sent
from isnas.space.connections import Connections
from isnas.space.pairs import Node
from isnas.space.recurrent.cell import INITIAL_RANGE, RecurrentCell
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.loop import make_plan


class Masks(NamedTuple):
    """What dropout multiplies by in one sequence: 0, or 1 / (1 - p). None where nothing is dropped.

    ``words`` (V,) whole words of the embedding; ``inputs`` (B, ninp) the embeddings and the cell's x, both at once;
    ``states`` (B, nhid) what goes into the cell's products; ``outputs`` (B, nhid) the cell's outputs.
    """

    words: Tensor | None = None
    inputs: Tensor | None = None
    states: Tensor | None = None
    outputs: Tensor | None = None


#: Nothing is dropped.
NO_MASKS = Masks()


class LanguageOutput(NamedTuple):
    """Scores (T, B, V) of the next words, the state (B, nhid) after the last, the outputs (T, B, nhid) of all steps.

    ``raw`` are the cell's outputs, and ``dropped`` the same after dropout.
    """

    logits: Tensor
    state: Tensor
    raw: Tensor
    dropped: Tensor


class RecurrentNetwork(nn.Module):
    """A language model of ``vocabulary`` words with one cell; its parameters are the same whatever the connections.

    ``ninp`` and ``nhid`` are the sizes of embedding and state, which are equal, for the weight is tied. The
    probabilities: ``dropout`` of outputs, ``dropouth`` of states, ``dropoutx`` of the cell's inputs, ``dropouti`` of
    embeddings, ``dropoute`` of whole words. The defaults are DARTS's.
    """

    def __init__(
        self,
        nodes: tuple[Node, ...],
        concat: tuple[int, ...],
        *,
        vocabulary: int,
        ninp: int = 850,
        nhid: int = 850,
        dropout: float = 0.75,
        dropouth: float = 0.25,
        dropoutx: float = 0.75,
        dropouti: float = 0.2,
        dropoute: float = 0.1,
    ) -> None:
        super().__init__()
        assert ninp == nhid, "the embedding is the decoder's weight"
        self.dropout, self.dropouth, self.dropoutx, self.dropouti, self.dropoute = (
            *(dropout, dropouth, dropoutx, dropouti, dropoute),
        )
        self.embedding = nn.Parameter(torch.empty(vocabulary, ninp).uniform_(-INITIAL_RANGE, INITIAL_RANGE))
        self.cell = RecurrentCell(nodes, concat, ninp, nhid)
        self.decoder_bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(
        self, tokens: Tensor, state: Tensor, connections: Connections | None = None, masks: Masks = NO_MASKS
    ) -> LanguageOutput:
        """Scores after each of the ``tokens`` (T, B), from the ``state`` (B, nhid) before them.

        Without ``connections`` all that the network holds run; they have no coefficients. ``masks`` are those of
        :meth:`draw_masks` in training; without them nothing is dropped, be it in training or not.
        """
        assert connections is None or connections.coefficients is None
        x = F.embedding(tokens, self.embedding)
        kept = masks.inputs
        if masks.words is not None:
            words = masks.words[tokens].unsqueeze(-1)
            kept = words if kept is None else words * kept
        if kept is not None:
            x = x * kept
        raw = self.cell(x, state, None if connections is None else connections.support, masks.states)
        dropped = raw if masks.outputs is None else raw * masks.outputs
        logits = F.linear(dropped, self.embedding, self.decoder_bias)
        return LanguageOutput(logits, raw[-1], raw, dropped)

    def draw_masks(self, batch_size: int, rng: torch.Generator) -> Masks:
        """The masks of a sequence of ``batch_size`` columns, on the network's device: a function of ``rng`` alone."""
        vocabulary, ninp = self.embedding.shape
        nhid = self.cell.input_weight.shape[1] // 2
        words, embeddings, inputs, states, outputs = (
            self._draw(shape, probability, rng)
            for shape, probability in (
                ((vocabulary,), self.dropoute),
                ((batch_size, ninp), self.dropouti),
                ((batch_size, ninp), self.dropoutx),
                ((batch_size, nhid), self.dropouth),
                ((batch_size, nhid), self.dropout),
            )
        )
        both = embeddings if inputs is None else inputs if embeddings is None else embeddings * inputs
        return Masks(words, both, states, outputs)

    def first_state(self, batch_size: int) -> Tensor:
        """The state (B, nhid) before the first word: zeros."""
        return self.embedding.new_zeros(batch_size, self.cell.input_weight.shape[1] // 2)

    def running_parameters(self, connections: Connections | None = None) -> list[nn.Parameter]:
        """The parameters that take part in ``forward(x, state, connections)``, in the order of ``parameters()``."""
        plan = make_plan(self._running(connections), self.cell.concat)
        idle = {weight for weight, reads in zip(self.cell.weights, plan.nodes) if not reads}
        return [parameter for parameter in self.parameters() if parameter not in idle]

    def num_connections(self, connections: Connections | None = None) -> int:
        """How many connections ``forward(x, state, connections)`` runs."""
        return sum(len(node) for node in self._running(connections))

    def _running(self, connections: Connections | None) -> tuple[Node, ...]:
        return self.cell.running(None if connections is None else connections.support)

    def _draw(self, shape: tuple[int, ...], probability: float, rng: torch.Generator) -> Tensor | None:
        if not probability:
            return None
        kept = torch.rand(shape, generator=rng, device=rng.device) >= probability
        return sent(kept, self.embedding.device).to(self.embedding.dtype) / (1.0 - probability)


def target_network(genotype: RecurrentGenotype, **sizes) -> RecurrentNetwork:  # type: ignore[no-untyped-def]
    """The network of a genotype; ``sizes`` as in :class:`RecurrentNetwork`."""
    return RecurrentNetwork(genotype.recurrent, genotype.concat, **sizes)


def activation_penalty(dropped: Tensor, alpha: float) -> Tensor:
    """AR = alpha mean(o^2) of the outputs ``dropped`` (T, B, nhid) after dropout."""
    return alpha * dropped.square().mean()


def temporal_penalty(raw: Tensor, beta: float) -> Tensor:
    """TAR = beta mean((h_t - h_{t-1})^2) of the outputs ``raw`` (T, B, nhid) before dropout; 0 for a single step."""
    return beta * (raw[1:] - raw[:-1]).square().sum() / max(1, raw[1:].numel())

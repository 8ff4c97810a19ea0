"""What a trained language model is asked: to go on from words, and for its perplexity on a text."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.base.random import generator
from isnas.data.sources import data_root
from isnas.data.text.folders import lines_of
from isnas.data.text.texts import TEXTS, TextOptions, load_text
from isnas.data.text.vocabulary import EOS, TextData, Vocabulary
from isnas.engine.language.averages import WordScores
from isnas.engine.language.tables import TESTS, judged
from isnas.engine.language.trained import TrainedModel
from isnas.engine.trained import DIVERGED


class Words(NamedTuple):
    """Numbers of words, int64 (words,), and how many of these are not in the vocabulary."""

    ids: Tensor
    unknown: int


def words_of(model: TrainedModel, line: str) -> Words:
    """The words of a line as the model's text would have it.

    Raises:
        UserError: when one is not in the vocabulary, and nothing there stands for it.
    """
    text = TEXTS[model.text].normalised(line)
    return Words(model.vocabulary.ids(text), sum(word not in model.vocabulary.index for word in text.split()))


@torch.no_grad()
def continued(
    model: TrainedModel, prompt: Tensor, length: int, temperature: float, seed: int, device: torch.device
) -> str:
    """The words of a prompt (words,), taken as the beginning of a line, and ``length`` more.

    The next word w is drawn with probability proportional to exp(score_w / temperature), from a generator of the seed;
    at temperature 0 it is the one of the largest score.

    Raises:
        UserError: when scores are not finite.
    """
    network, rng = model.network.to(device), generator(seed, "continuation")
    beginning = torch.cat([model.vocabulary.ids(EOS), prompt])
    told, state, found = beginning.unsqueeze(1), network.first_state(1), []
    for _ in bar(range(length), "going on", delay=SOON):
        output = network(told.to(device), state)
        scores = output.logits[-1, 0].cpu().double()
        if not scores.isfinite().all():
            raise UserError(f"the network gives scores that are not finite; {DIVERGED}")
        if temperature:
            probabilities = ((scores - scores.max()) / temperature).softmax(0)
            told = torch.multinomial(probabilities, 1, generator=rng).unsqueeze(1)
        else:
            told = scores.argmax().view(1, 1)
        state = output.state
        found.append(told.flatten())
    return model.vocabulary.text(torch.cat([prompt, *found]))


def read_file(model: TrainedModel, path: Path) -> Words:
    """The words of a file of a sentence per line, each with its end.

    Raises:
        UserError: when it cannot be read or is no such text.
    """
    lines = [words_of(model, line) for line in lines_of(path)]
    end = model.vocabulary.ids(EOS)
    return Words(torch.cat([part for line in lines for part in (line.ids, end)]), sum(line.unknown for line in lines))


def perplexity_of(model: TrainedModel, tokens: Tensor, columns: int, purpose: str, device: torch.device) -> WordScores:
    """What the model makes of a stream (T,) in so many columns, as a training does that of its test text.

    Raises:
        UserError: when the stream, called ``purpose``, is too short, or the scores are not finite.
    """
    scores = judged(tokens, columns, purpose, len(model.vocabulary), device).scores(model.network.to(device))
    if not scores.loss < float("inf"):
        raise UserError(f"the network gives scores that are not finite; {DIVERGED}")
    return scores


def own_text(model: TrainedModel, data: str) -> TextData:
    """The text that the model was trained on, from the folder ``data``, or where it was then.

    Raises:
        UserError: when it is not there, or of other words than in the training.
    """
    if not data and model.data and not data_root(model.data).exists():
        raise UserError(f"the text of the training was in {model.data}, which is not there; give --data")
    text = load_text(build(TextOptions, {"dataset": model.text, "data": data or model.data}))
    require_same(text.vocabulary, model.vocabulary)
    return text


def require_same(there: Vocabulary, wanted: Vocabulary) -> None:
    """See that a text has the words of a training, in the same order.

    Raises:
        UserError: when it has not.
    """
    if there.words != wanted.words:
        raise UserError(
            f"the text has {len(there):,} different words that are not, or not in their order, the {len(wanted):,} "
            "that the model knows; give the --data of its training, or a file to predict.py --text_file"
        )


def score_test(model: TrainedModel, text: TextData, columns: int | None, device: torch.device) -> WordScores:
    """The model's perplexity on the test part, in as many columns as in its training unless told."""
    return perplexity_of(model, text.test, columns or model.columns, TESTS, device)

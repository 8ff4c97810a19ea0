"""A text on its way to a network: tables of columns on the device, and the windows of each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from isnas.base.bars import SOON, bar
from isnas.base.distributed import world_size
from isnas.data.text.batches import (
    LENGTH_DEVIATION,
    Window,
    columns,
    fixed_windows,
    jittered_windows,
    local_columns,
    pair,
)
from isnas.data.text.vocabulary import TextData
from isnas.engine.language.averages import WordScores
from isnas.engine.language.options import LanguageOptions
from isnas.space.connections import Connections
from isnas.space.recurrent.network import RecurrentNetwork
from isnas.train.language import mean_loss

#: Words whose scores are in memory at once where nothing is trained, and most such scores: fewer words of a large
#: vocabulary, though a row at least.
WORDS_AT_ONCE, SCORES_AT_ONCE = 4096, 2**26

#: What messages call the part that tests.
TESTS = "the text that tests"


class Judged(NamedTuple):
    """A part of a text that is not trained on: this process's columns (rows, columns), in windows of ``length``."""

    table: Tensor
    length: int

    def first(self, rows: int) -> Judged:
        """The part in which so many rows are predicted; all for 0."""
        return self._replace(table=self.table[: rows + 1]) if rows else self

    def scores(
        self,
        network: RecurrentNetwork,
        connections: Connections | None = None,
        watch: Callable[[Iterable[Window]], Iterable[Window]] = iter,
    ) -> WordScores:
        """What a network makes of it in eval mode, over all processes."""
        network.eval()
        windows = watch(bar(fixed_windows(len(self.table), self.length), "validating", delay=SOON))
        return WordScores(mean_loss(network, (pair(self.table, window) for window in windows), connections))


@dataclass(frozen=True)
class Tables:
    """This process's columns of the three parts of a text, on the device.

    ``train`` (rows, columns) is walked down in windows whose lengths are drawn with this ``deviation``.
    """

    train: Tensor
    valid: Judged
    test: Judged
    options: LanguageOptions
    deviation: float

    def windows(self, epoch: int) -> tuple[Window, ...]:
        """Those of an epoch of training, a function of the seed and the epoch."""
        return jittered_windows(len(self.train), self.options.bptt, self.options.seed, epoch, self.deviation)

    def words(self, window: Window) -> tuple[Tensor, Tensor]:
        """The inputs and the targets of a window of the training text."""
        return pair(self.train, window)


def tables_of(
    text: TextData, options: LanguageOptions, device: torch.device, deviation: float = LENGTH_DEVIATION
) -> Tables:
    """The parts of a text in columns.

    Raises:
        UserError: when a part is too short.
    """
    train = columns(text.train, options.batch_size, "the training text", options.bptt, "--batch_size or --bptt")
    words, valid, test = len(text.vocabulary), options.valid_batch_size, options.test_batch_size
    return Tables(
        local_columns(train).to(device),
        judged(text.valid, valid, "the text that validates", words, device, "--valid_batch_size"),
        judged(text.test, test, TESTS, words, device, "--test_batch_size"),
        options,
        deviation,
    )


def judged(
    tokens: Tensor, batch_size: int, purpose: str, vocabulary: int, device: torch.device, flag: str = "--batch_size"
) -> Judged:
    """Tokens (T,) of a ``vocabulary`` of so many words that are not trained on, in columns.

    Raises:
        UserError: when they are too few; the message calls them ``purpose`` and the number of columns ``flag``.
    """
    length = min(WORDS_AT_ONCE, SCORES_AT_ONCE // vocabulary) // -(-batch_size // world_size())  # in all processes
    return Judged(local_columns(columns(tokens, batch_size, purpose, flags=flag)).to(device), max(1, length))

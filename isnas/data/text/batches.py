"""A stream of words as the columns of a batch, and the windows in which a language model walks down them.

As the field does it: T tokens in B columns of floor(T / B) rows each, one below the other, and what does not fill a row
is left out. A window is some rows; its targets are the words one row further on.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from isnas.base.distributed import local_part
from isnas.base.errors import UserError
from isnas.base.random import generator

#: How often a window of a training is of the full length on average, and otherwise of half of it.
FULL_LENGTH_PROBABILITY = 0.95

#: The deviation of its length, the least one, and how far the largest is above the full length.
LENGTH_DEVIATION, LEAST_LENGTH, LONGEST_BEYOND = 5.0, 5, 20


class Window(NamedTuple):
    """Rows of a table of columns: ``length`` inputs from ``start`` on, and the factor of the learning rate."""

    start: int
    length: int
    rate: float


def columns(tokens: Tensor, batch_size: int, purpose: str, length: int = 1, flags: str = "--batch_size") -> Tensor:
    """The tokens (T,) as a table, (floor(T / batch_size), batch_size), of which column j continues column j - 1.

    Args:
        tokens: The stream.
        batch_size: Columns, of all processes together.
        purpose: What the stream is, for messages.
        length: The inputs of a window that must fit, with their targets.
        flags: What to make smaller where the stream is too short, for messages.

    Raises:
        UserError: when the stream is shorter than that.
    """
    rows = len(tokens) // batch_size
    if rows < length + 1:
        raise UserError(
            f"{purpose} has {len(tokens):,} words and ends of lines; {batch_size} columns with a sequence of {length} "
            f"and its targets take {batch_size * (length + 1):,}: give a smaller {flags}, or a longer text"
        )
    return tokens[: rows * batch_size].view(batch_size, rows).t().contiguous()


def local_columns(table: Tensor) -> Tensor:
    """The columns of this process, (rows, its share); none where there are fewer columns than processes."""
    return table[:, local_part(table.shape[1])].contiguous()


def pair(table: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """The inputs and the targets of a window of a table, (length, columns) each."""
    end = window.start + window.length
    return table[window.start : end], table[window.start + 1 : end + 1]


def fixed_windows(rows: int, length: int) -> tuple[Window, ...]:
    """Windows of ``length`` for an evaluation, the last one of what is left; every row but the first is a target."""
    targets = rows - 1
    return tuple(Window(start, min(length, targets - start), 1.0) for start in range(0, targets, length))


def jittered_windows(
    rows: int, length: int, seed: int, epoch: int, deviation: float = LENGTH_DEVIATION
) -> tuple[Window, ...]:
    """Windows of an epoch of training, of drawn lengths L, the last one of what is left.

        L = min(max(int(N(l, deviation)), 5), length + 20),  l = length with probability 0.95, else length / 2

    Without a deviation L may be less than 5. Every row but the first is a target. The learning rate of a window is
    multiplied by its L / length. They are a function of the arguments alone, so that a run that is resumed at a step
    goes on with the same ones. The rule is that of AWD-LSTM's training (Merity et al. 2018), which DARTS took over;
    both leave out a last window of a single row, and take the L that was drawn for the rate of the last one.

    Args:
        rows: The rows of the table.
        length: The full length.
        seed: The run's seed.
        epoch: The epoch, from 0.
        deviation: Of the lengths; without any they are ``length`` and the half of it, as in DARTS's search.
    """
    rng = generator(seed, "windows", epoch)
    targets = rows - 1
    least = LEAST_LENGTH if deviation else 1
    most = -(-targets // least)
    full = torch.rand(most, generator=rng, dtype=torch.float64) < FULL_LENGTH_PROBABILITY
    deviations = torch.randn(most, generator=rng, dtype=torch.float64) * deviation
    drawn = torch.where(full, length, length / 2) + deviations
    lengths = drawn.trunc().clamp(least, length + LONGEST_BEYOND).long().tolist()
    windows: list[Window] = []
    start = 0
    while start < targets:
        taken = min(lengths[len(windows)], targets - start)
        windows.append(Window(start, taken, taken / length))
        start += taken
    return tuple(windows)

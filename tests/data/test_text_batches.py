"""Columns and windows of a stream of words."""

import numpy as np
import pytest
import torch

from isnas.base import distributed
from isnas.base.errors import UserError
from isnas.data.text.batches import Window, columns, fixed_windows, jittered_windows, local_columns, pair


def test_columns_stand_below_one_another_and_what_is_left_over_is_left_out(monkeypatch):
    table = columns(torch.arange(14), 3, "the text")
    assert table.tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    inputs, targets = pair(table, Window(1, 2, 1.0))
    assert inputs.tolist() == [[1, 5, 9], [2, 6, 10]] and targets.tolist() == [[2, 6, 10], [3, 7, 11]]
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    shares = []
    for number in range(2):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        shares.append(local_columns(table).tolist())
    assert shares == [[[0, 4], [1, 5], [2, 6], [3, 7]], [[8], [9], [10], [11]]]


def test_a_text_too_short_for_a_batch_or_a_sequence_is_a_user_error():
    assert columns(torch.arange(24), 4, "the text", 5).shape == (6, 4)
    with pytest.raises(UserError, match=r"the text has 24 words .* give a smaller --rows, or a longer text"):
        columns(torch.arange(24), 13, "the text", flags="--rows")
    for batch_size, length in ((24, 1), (4, 6), (5, 5)):
        with pytest.raises(UserError, match=f"the text has 24 words .* {batch_size} columns .* {length} .* take "):
            columns(torch.arange(24), batch_size, "the text", length)


def rows_met(windows):
    return [row for start, length, _ in windows for row in range(start, start + length)]


@pytest.mark.parametrize("rows", [2, 3, 35, 36, 37, 71, 500])
def test_windows_meet_every_target_once_in_order(rows):
    assert rows_met(fixed_windows(rows, 35)) == list(range(rows - 1))
    assert {window.rate for window in fixed_windows(rows, 35)} == {1.0}
    for epoch in range(20):
        assert rows_met(jittered_windows(rows, 35, 0, epoch)) == list(range(rows - 1))
    assert [window.length for window in fixed_windows(rows, 35)[:-1]] == [35] * ((rows - 2) // 35)


def test_lengths_are_drawn_as_said_and_rates_follow_them():
    windows = jittered_windows(500_000, 35, 0, 0)[:-1]
    lengths = np.array([window.length for window in windows])
    assert all(window.rate == window.length / 35 for window in windows)
    rng = np.random.default_rng(0)
    middle = np.where(rng.random(10**6) < 0.95, 35, 17.5)
    wanted = np.minimum(np.maximum(5, rng.normal(middle, 5).astype(int)), 55)
    assert lengths.min() >= 5 and lengths.max() <= 55
    for edge in (10, 17, 20, 25, 30, 34, 35, 40, 45):
        share, expected = np.mean(lengths < edge), np.mean(wanted < edge)
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(lengths)) + 1e-3
    assert {window.length for window in jittered_windows(2_000_000, 1, 0, 0)} == set(range(5, 22))


@pytest.mark.parametrize(("length", "lengths"), [(35, {35, 17}), (8, {8, 4}), (1, {1})])
def test_lengths_of_a_search_are_the_full_one_and_its_half(length, lengths):
    windows = jittered_windows(20_001, length, 0, 0, deviation=0.0)
    assert {window.length for window in windows[:-1]} == lengths
    assert rows_met(windows) == list(range(20_000)) and {window.rate for window in windows} <= {
        number / length for number in range(1, length + 1)
    }


def test_windows_are_a_function_of_seed_and_epoch_alone():
    windows = jittered_windows(3000, 35, 3, 7)
    torch.rand(5)
    assert jittered_windows(3000, 35, 3, 7) == windows
    others = [jittered_windows(3000, 35, 4, 7), jittered_windows(3000, 35, 3, 8), jittered_windows(3000, 35, 3, 7, 4.0)]
    assert len({windows, *others}) == 4

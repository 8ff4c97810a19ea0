"""Learning rates and drop-path's probability of every epoch against the released code's."""

import json

import pytest
from fixtures import DATA

from isnas.train.fixed import drop_path_probability
from isnas.train.optim import SgdOptions, learning_rate_of, warm_up

SCHEDULES = json.loads((DATA / "schedules.json").read_text())


def close(rates):
    return pytest.approx(rates, rel=0.0, abs=1e-15)


def product_rates(schedule, first_epoch=0, **more):
    """This project's learning rates, as many as the schedule has, from an epoch on."""
    epochs = schedule["epochs"]
    options = SgdOptions(epochs=epochs, learning_rate=schedule["highest"], learning_rate_min=schedule["lowest"], **more)
    numbers = range(first_epoch, first_epoch + len(schedule["rates"]))
    return [learning_rate_of(epoch, epochs, options) for epoch in numbers]


@pytest.mark.parametrize("name", ["search", "search_to_zero", "search_default", "evaluation"])
def test_search_and_evaluation_are_one_epoch_ahead_in_the_released_code(name):
    """There the scheduler steps before the first epoch; here the first epoch has the full rate."""
    schedule = SCHEDULES[name]
    assert product_rates(schedule, first_epoch=1) == close(schedule["rates"])
    assert product_rates(schedule) != close(schedule["rates"])


@pytest.mark.parametrize("name", ["one_stage_fixed", "one_stage_fixed_to_zero"])
def test_one_stage_anneals_from_the_epoch_in_which_all_is_fixed(name):
    schedule = SCHEDULES[name]
    assert product_rates(schedule) == close(schedule["rates"])
    assert product_rates(schedule, first_epoch=1) != close(schedule["rates"])


def test_one_stage_search_has_one_rate():
    schedule = SCHEDULES["one_stage_search"]
    options = SgdOptions(learning_rate=schedule["highest"])
    assert {warm_up(epoch, options) for epoch in range(schedule["epochs"])} == set(schedule["rates"])


def test_imagenet_differs_by_the_tail_and_by_nothing_else():
    """Released: a fifth epoch at the full rate, a line that reaches 0 in 245 epochs, and 5 epochs from its last rate
    to 0; here one line over all 250."""
    schedule = SCHEDULES["imagenet"]
    epochs, highest = schedule["epochs"], schedule["highest"]

    def known(epoch):
        if epoch < 4:
            return 0.0
        if epoch == 4:
            return -highest * 4 / epochs
        if epoch < 245:
            return highest * (epoch / 245 - epoch / epochs)
        return highest * (epochs - epoch) * (1 / epochs - 1 / (5 * 245))

    rates = product_rates(schedule, lr_schedule="linear", warmup_epochs=5)
    differences = [mine - released for mine, released in zip(rates, schedule["rates"], strict=True)]
    assert differences == close([known(epoch) for epoch in range(epochs)])
    assert 0.009 < max(map(abs, differences)) < 0.010


def test_drop_path_grows_alike():
    schedule = SCHEDULES["drop_path_evaluation"]
    epochs, highest = schedule["epochs"], schedule["highest"]
    assert [drop_path_probability(e, epochs, highest) for e in range(epochs)] == close(schedule["rates"])


def test_every_schedule_is_compared():
    compared = {
        "search",
        "search_to_zero",
        "search_default",
        "evaluation",
        "one_stage_fixed",
        "one_stage_fixed_to_zero",
    }
    assert set(SCHEDULES) == compared | {"one_stage_search", "imagenet", "drop_path_evaluation"}

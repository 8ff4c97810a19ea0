"""Learning rates and drop-path's probability of every epoch against the released code's."""

import json
from pathlib import Path

import pytest
from fixtures import DATA

from isnas.methods.registry import make_options, parse_run
from isnas.train.fixed import drop_path_probability
from isnas.train.optim import learning_rate_of, warm_up

SCHEDULES = json.loads((DATA / "schedules.json").read_text())
CONFIGS = Path(__file__).resolve().parents[2] / "configs"

#: the schedules by method, and what is given beside the preset: a lowest rate that is the paper's
OF_METHODS = {
    "search": ("two_stage", {}),
    "search_to_zero": ("two_stage", {"learning_rate_min": 0.0}),
    "search_default": ("two_stage", {}),
    "evaluation": ("evaluation", {}),
    "one_stage_fixed": ("one_stage", {}),
    "one_stage_fixed_to_zero": ("one_stage", {"learning_rate_min": 0.0}),
}


def close(rates):
    return pytest.approx(rates, rel=0.0, abs=1e-15)


def rates_of(options):
    return [learning_rate_of(epoch, options.epochs, options) for epoch in range(options.epochs)]


def options_of(name, preset):
    method, given = OF_METHODS[name]
    schedule = SCHEDULES[name]
    return make_options(method, preset=preset, epochs=schedule["epochs"], learning_rate=schedule["highest"], **given)


@pytest.mark.parametrize("name", OF_METHODS)
def test_the_preset_has_the_released_rates(name):
    assert rates_of(options_of(name, "released")) == close(SCHEDULES[name]["rates"])


@pytest.mark.parametrize("name", ["search_to_zero", "evaluation"])
def test_the_papers_search_and_evaluation_are_an_epoch_behind(name):
    """In the released code the scheduler steps before the first epoch; the paper's first epoch has the full rate."""
    highest, rates = SCHEDULES[name]["highest"], SCHEDULES[name]["rates"]
    assert rates_of(options_of(name, "paper")) == close([highest, *rates[:-1]])


def test_one_stage_anneals_from_the_epoch_in_which_all_is_fixed():
    assert rates_of(options_of("one_stage_fixed_to_zero", "paper")) == close(
        SCHEDULES["one_stage_fixed_to_zero"]["rates"]
    )


def test_one_stage_search_has_one_rate():
    schedule = SCHEDULES["one_stage_search"]
    options = make_options("one_stage", preset="released", learning_rate=schedule["highest"])
    assert {warm_up(epoch, options) for epoch in range(schedule["epochs"])} == set(schedule["rates"])


def imagenet(*flags):
    words = ["--config", str(CONFIGS / "imagenet_evaluate.yaml"), "--data", ".", *flags]
    return rates_of(parse_run(words, ("evaluation",), "evaluation", "")[1])


def test_imagenet_has_the_released_tail():
    """Five epochs of warm-up, a line that reaches 0 in 245 epochs, and 5 epochs from its last rate to 0."""
    released = SCHEDULES["imagenet"]["rates"]
    assert imagenet("--preset", "released") == close(released)
    assert max(abs(a - b) for a, b in zip(imagenet(), released, strict=True)) == pytest.approx(
        0.5 * (6 / 250 - 1 / 245)
    )
    assert imagenet("--preset", "released", "--no_warmup_first") == close(
        [*released[:4], 0.5 * 241 / 245, *released[5:]]
    )


def test_drop_path_grows_alike():
    schedule = SCHEDULES["drop_path_evaluation"]
    epochs, highest = schedule["epochs"], schedule["highest"]
    assert [drop_path_probability(e, epochs, highest) for e in range(epochs)] == close(schedule["rates"])


def test_every_schedule_is_compared():
    assert set(SCHEDULES) == set(OF_METHODS) | {"one_stage_search", "imagenet", "drop_path_evaluation"}

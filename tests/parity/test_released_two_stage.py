"""Two-stage search against the released code: three steps, a recovery before each and one after the last."""

import pytest
import torch
from fixtures import Arrays, Comparison, Packed, first_departure, options_of, rows_of, start_state
from product import build_two_stage, full_z, stacked_b, step_two_stage, supports

#: the numbers' settings, and the presets that they are held against
SETTINGS = ("paper", "released")
STEPS = 3


def follow(comparison, setting, preset=None, **changes):
    """Go through the steps of a setting; another ``preset`` and ``changes`` of the options are mistakes."""
    given, described = options_of("two_stage")
    arrays, rows = Arrays("two_stage", setting), rows_of(described["tensors"])
    search = build_two_stage(given, arrays, rows, preset or setting, **changes)
    start = start_state(rows, arrays)
    for number in range(STEPS):
        compare_recovery(comparison, search, arrays, number)
        compare_prediction(comparison, search, arrays.batch(number, "_w")[0], arrays["logits_eval"][number])
        compare_step(comparison, search, arrays, rows, number, setting)
        if number in (0, 2):
            packed = Packed.of(arrays, f"state{number + 1}", rows)
            comparison.state(f"state after step {number + 1}", search.network.state_dict(), packed, start)
    compare_recovery(comparison, search, arrays, STEPS)
    compare_prediction(comparison, search, arrays.batch(0, "_w")[0], arrays["logits_end"])
    return arrays


def compare_recovery(comparison, search, arrays, number):
    recovery = search.recover()
    comparison.close("z", full_z(search.architecture), arrays["z"][number])
    comparison.equal("support", supports(search.architecture), arrays["support"][number])
    if number:
        comparison.close("distance, full", recovery.distances_full, arrays["distance_full"][number - 1])
        comparison.close("distance, truncated", recovery.distances, arrays["distance_top"][number - 1])


@torch.no_grad()
def compare_prediction(comparison, search, x, expected):
    search.network.eval()
    comparison.close("logits, eval mode", search.predict(x).logits, expected)
    search.network.train()


def compare_step(comparison, search, arrays, rows, number, setting):
    pass_w, pass_b = step_two_stage(search, arrays.batch(number, "_w"), arrays.batch(number, "_b"))

    def compare_w():
        comparison.close("coefficients, W", pass_w.coefficients, arrays["coefficients_w"][number])
        comparison.close("logits, W", pass_w.logits, arrays["logits_w"][number])
        comparison.close("loss, W", pass_w.loss, arrays["loss_w"][number])
        norm = pass_w.norm(search.network)
        comparison.close("gradient norm, W", norm, arrays["norm_w"][number])
        if setting == "released":
            both = pass_w.of_b(search.architecture) + pass_b.of_b(search.architecture)
            comparison.close("gradient in the clip, b", both, arrays["gradient_b_in_clip"][number])
            norm = torch.stack([norm, both.norm()]).norm()
        comparison.close("gradient norm in the clip", norm, arrays["norm_clipped"][number])
        if number == 0:
            packed = Packed.of(arrays, "gradient_w", rows)
            gradients = pass_w.of(search.network)
            comparison.tensors("gradient, W", gradients, packed)
            silent = gradients.keys() - packed.whole.keys() - packed.summaries.keys()
            comparison.equal("gradient, W, number of tensors", len(silent), 0)

    def compare_b():
        comparison.close("coefficients, b", pass_b.coefficients, arrays["coefficients_b"][number])
        comparison.close("logits, b", pass_b.logits, arrays["logits_b"][number])
        comparison.close("loss, b", pass_b.loss, arrays["loss_b"][number])
        comparison.close("gradient, b", pass_b.of_b(search.architecture), arrays["gradient_b"][number])
        comparison.close("b after the step", stacked_b(search.architecture), arrays["b_after"][number])

    for compare in (compare_w, compare_b) if setting == "paper" else (compare_b, compare_w):
        compare()


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_number_is_the_released_one(setting):
    comparison = Comparison()
    arrays = follow(comparison, setting)
    assert comparison.departures() == {}
    assert arrays.unread() == []


def test_another_solver_recovers_the_same():
    comparison = Comparison(tolerance=1e-8)
    follow(comparison, "paper", solver="clarabel")
    assert comparison.departures() == {} and comparison.largest["z"] > 0.0


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_support_changes_and_the_clip_acts(setting):
    given, _ = options_of("two_stage")
    arrays = Arrays("two_stage", setting)
    assert (arrays["support"].diff(dim=0) != 0).any() and (arrays["norm_clipped"] > given.grad_clip).all()


@pytest.mark.parametrize(
    "setting, mistake, seen_in",
    [
        ("paper", {"first_update": "b"}, "coefficients, W"),
        ("released", {"first_update": "w"}, "logits, b"),
        ("paper", {"grad_clip_of": "w_and_b"}, "logits, b"),
        ("released", {"grad_clip_of": "w"}, "gradient in the clip, b"),
        ("released", {"preset": "paper"}, "logits, b"),
        ("paper", {"grad_clip": 6.0}, "logits, b"),
        ("paper", {"weight_decay": 1e-4}, "logits, b"),
    ],
)
def test_a_mistake_shows(setting, mistake, seen_in):
    assert first_departure(lambda comparison: follow(comparison, setting, **mistake)) == seen_in

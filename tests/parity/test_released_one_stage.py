"""One-stage search against the released code: four intervals, in which all nodes terminate, then the fixed network."""

import pytest
import torch
from fixtures import (
    DRAWN,
    TOLERANCE,
    Arrays,
    Comparison,
    Packed,
    first_departure,
    options_of,
    rows_of,
    start_state,
    summary,
)
from product import FrozenNorms, build_one_stage, full_z, one_stage_state, stacked_b, supports

from isnas.methods.one_stage import OneStage
from isnas.methods.registry import make_options
from isnas.nets.absorb import absorb
from isnas.train.optim import set_learning_rate


class Follower:
    """A run beside the numbers of the released one; ``kind``, ``drop_path`` and ``changes`` make mistakes."""

    def __init__(self, comparison, *, kind=OneStage, drop_path=True, **changes):
        self.given, described = options_of("one_stage")
        self.comparison, self.drop_path = comparison, drop_path
        self.arrays, self.rows = Arrays("one_stage", "search"), rows_of(described["tensors"])
        self.run = build_one_stage(self.given, self.arrays, self.rows, kind, **changes)
        self.start = start_state(self.rows, self.arrays)
        self.steps = 0

    def follow(self):
        self.comparison.close("start of the large convolution", summary(self.start[DRAWN]), self.arrays["head_start"])
        given = self.given
        for number, (rate, count) in enumerate(zip(given.arch_learning_rates, given.steps_per_interval, strict=True)):
            set_learning_rate(self.run.b_optimizer, rate)
            self.recover(number)
            for _ in range(count):
                self.step()
            if number < 2:
                self.compare_state(f"state after interval {number + 1}", f"state_interval{number + 1}")
        self.run.fix(1)
        for _ in range(given.fixed_steps):
            self.step()
        self.compare_state("state at the end", "state_end")
        self.compare_end()

    def recover(self, number):
        run, arrays, comparison = self.run, self.arrays, self.comparison
        recovery, _ = run.recover(number)
        comparison.close("z", full_z(run.architecture), arrays["z"][number])
        comparison.equal("support", supports(run.architecture), arrays["support"][number])
        if number:
            comparison.close("distance, full", recovery.distances_full, arrays["distance_full"][number - 1])
            comparison.close("distance, truncated", recovery.distances, arrays["distance_top"][number - 1])
        terminated = arrays["terminated_at_recovery"]
        terminations = [-1 if step is None else step for step in run.terminations]
        comparison.equal("terminated nodes", terminations, terminated.where(terminated <= number, -1))

    def step(self):
        """One step, in which the network is asked in eval mode first."""
        run, arrays, comparison, number = self.run, self.arrays, self.comparison, self.steps
        x, labels = arrays.batch(number % 3)
        phase = "search" if run.searching else "fixed network"
        self.predict(f"{phase}: logits, eval mode", run.predict, x, arrays["logits_eval"][number])
        scales = f"drop_path_step{number}"
        run.step(x, labels, arrays[scales] if scales in arrays and self.drop_path else None)
        done = run.stepping.passes[-1]
        if run.searching:
            comparison.close("coefficients", done.coefficients, arrays["coefficients"][number])
        comparison.close(f"{phase}: logits, train mode", done.logits, arrays["logits_train"][number])
        comparison.close(f"{phase}: auxiliary logits", done.auxiliary, arrays["logits_auxiliary"][number])
        comparison.close(f"{phase}: loss", done.loss, arrays["loss"][number])
        if run.searching:
            comparison.close("gradient, b", done.of_b(run.architecture), arrays["gradient_b"][number])
        comparison.close(f"{phase}: gradient norm, W", done.norm(run.network), arrays["norm_w"][number])
        comparison.equal(f"{phase}: trainable weights", done.count(run.network), int(arrays["trainable"][number]))
        if number == 0:
            gradients, packed = done.of(run.network), Packed.of(arrays, "gradient_w", self.rows)
            comparison.tensors("gradient, W", gradients, packed)
            silent = gradients.keys() - packed.whole.keys() - packed.summaries.keys()
            comparison.equal("gradient, W, number of tensors", len(silent), 0)
        comparison.close("b after the step", stacked_b(run.architecture), arrays["b_after"][number])
        self.steps += 1

    @torch.no_grad()
    def predict(self, quantity, predict, x, expected):
        self.run.network.eval()
        self.comparison.close(quantity, predict(x).logits, expected)
        self.run.network.train()

    def compare_state(self, quantity, prefix):
        packed = Packed.of(self.arrays, prefix, self.rows)
        self.comparison.state(quantity, one_stage_state(self.run), packed, self.start)

    def compare_end(self):
        x, expected = self.arrays.batch(0)[0], self.arrays["logits_end"]
        self.predict("logits at the end", self.run.predict, x, expected)
        absorbed = absorb(self.run.weighted())
        self.predict("absorbed network: logits", lambda x: self.run.stepping.forward(absorbed, x), x, expected)


def test_every_number_is_the_released_one():
    follower = Follower(Comparison())
    follower.follow()
    assert follower.comparison.departures() == {}
    assert follower.arrays.unread() == []
    assert len(follower.run.network.state_dict()) < len(follower.start)


def test_the_released_adam_is_the_presets():
    """It adds its epsilon before the bias correction; at these large rates that shows."""
    given, described = options_of("one_stage")
    arrays, rows = Arrays("one_stage", "released_adam"), rows_of(described["tensors"])
    run = build_one_stage(given, arrays, rows, OneStage, arch_early_epsilon=True)
    assert run.options.arch_early_epsilon == make_options("one_stage", preset="released").arch_early_epsilon
    run.recover(0)
    for number, released in enumerate(arrays["b_after"]):
        run.step(*arrays.batch(number))
        assert (stacked_b(run.architecture) - released).abs().max() < TOLERANCE
    difference = (Arrays("one_stage", "search")["b_after"][:2] - arrays["b_after"]).abs().amax(dim=(1, 2))
    assert difference.tolist() == pytest.approx([6.1e-6, 3.0e-4], rel=0.05)


def test_nodes_terminate_at_two_recoveries():
    terminated = Arrays("one_stage", "search")["terminated_at_recovery"]
    assert terminated.bincount().tolist() == [0, 3, 5]


@pytest.mark.parametrize(
    "mistake, seen_in",
    [
        ({"distance": "top_s"}, "terminated nodes"),
        ({"epsilon": 0.03}, "terminated nodes"),
        ({"grad_clip": 6.0}, "search: logits, eval mode"),
        ({"auxiliary_weight": 0.3}, "search: loss"),
        ({"kind": FrozenNorms}, "search: gradient norm, W"),
        ({"drop_path": False}, "search: logits, train mode"),
    ],
)
def test_a_mistake_shows(mistake, seen_in):
    assert first_departure(lambda comparison: Follower(comparison, **mistake).follow()) == seen_in

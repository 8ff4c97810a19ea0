"""Searches whose first epochs train W alone, on uniformly drawn supports, before b is asked."""

import copy
import io

import pytest
import torch
from settings import make_method, noise

from isnas.base.errors import UserError
from isnas.methods.registry import make_options

STEPS = 2  # of an epoch


def make_search(**options):
    return make_method("two_stage", steps=STEPS, num_nodes=2, epochs=4, **{"uniform_epochs": 2} | options)


def batch(number):
    return noise(number, image_size=8)


def walk(method, first, last):
    """So many steps as the harness takes them; the supports that ran, and those of the parameters that W's SGD has."""
    supports = []
    for number in range(first, last):
        method.begin_epoch(number // STEPS)
        method.before_step(number)
        supports.append(method.connections().support)
        method.step(batch(number), batch(100 + number))
    return supports


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_w_alone_is_trained_and_on_another_support_in_every_step(preset):
    method = make_search(preset=preset)
    start = [part.detach().clone() for part in method.architecture.b]
    everything = set(method.network.parameters())
    supports = []
    for number in range(2 * STEPS):
        before = copy.deepcopy(dict(method.network.named_parameters()))
        supports += walk(method, number, number + 1)
        connections = method.connections()
        assert connections.coefficients is None and not method.architecture.recovered
        running = set(method.network.running_parameters(connections))
        for name, parameter in method.network.named_parameters():
            if parameter not in running:
                assert torch.equal(parameter, before[name])
        assert not torch.equal(method.network.classifier.weight, before["classifier.weight"])
        assert method.space.support(method.genotype()) == supports[-1]
        assert set(method.w_optimizer.param_groups[0]["params"]) == everything
        assert method.report().values["recovery/count"] == 0 and "b waits" in method.report().lines[0]
    assert len(set(supports)) == 2 * STEPS
    assert all(torch.equal(part, value) for part, value in zip(method.architecture.b, start))
    assert not method.b_optimizer.state


@pytest.mark.parametrize("recover_every", ["epoch", "step", "3"])
def test_then_the_search_begins_with_what_runs_and_nothing_else(recover_every):
    method, other = make_search(recover_every=recover_every), make_search(uniform_epochs=0)
    walk(method, 0, 2 * STEPS)
    kept = {
        parameter: method.w_optimizer.state[parameter]["momentum_buffer"].clone()
        for parameter in method.network.parameters()
        if parameter in method.w_optimizer.state
    }
    method.begin_epoch(2)
    method.before_step(2 * STEPS)
    other.recover()
    assert method.architecture.support == other.architecture.support  # b has not moved, nor has A
    running = method.network.running_parameters(method.connections())
    assert method.w_optimizer.param_groups[0]["params"] == running
    assert method.w_optimizer.state.keys() == kept.keys() & set(running)
    assert all(torch.equal(method.w_optimizer.state[p]["momentum_buffer"], kept[p]) for p in kept.keys() & set(running))
    before = [part.detach().clone() for part in method.architecture.b]
    method.step(batch(4), batch(104))
    assert all((part != value).all() for part, value in zip(method.architecture.b, before))
    assert method.report().values["recovery/num_changes"] == 0


def test_the_rate_of_w_falls_over_all_epochs():
    rates = [[make_search(uniform_epochs=n).begin_epoch(epoch) for epoch in range(4)] for n in (0, 2)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("stop", [1, 2 * STEPS, 2 * STEPS + 1])
def test_it_goes_on_from_its_state(stop):
    straight, resumed = make_search(), make_search()
    walk(straight, 0, stop)
    file = io.BytesIO()
    torch.save(straight.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.genotype() == straight.genotype()
    for method in (straight, resumed):
        walk(method, stop, 2 * STEPS + 3)
    for part, other in zip(straight.weights().values(), resumed.weights().values()):
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in part.state_dict().items())


def test_supports_can_have_distinct_inputs():
    supports = walk(make_search(distinct_inputs=True), 0, 2 * STEPS)
    assert all(len({k // 7 for k in node}) == 2 for support in supports for node in support)


class Silent:
    """A run of which nothing is kept."""

    def __init__(self):
        self.records, self.rows = self, []

    def log(self, line, event=False):
        pass

    def row(self, file, values):
        self.rows.append(values)


def test_one_stage_search_begins_like_it():
    """And its first recovery is between two that are due."""
    method = make_method("one_stage", steps=STEPS, num_nodes=2, epsilon=1e6, uniform_epochs=2, termination_interval="3")
    start, run, supports = [part.detach().clone() for part in method.architecture.b], Silent(), []
    weights = {parameter: parameter.detach().clone() for parameter in method.network.parameters()}
    ran = set()
    for number in range(4):
        method.begin_epoch(number // STEPS)
        method.before_step(number, number // STEPS, run)
        supports.append(tuple(method.architecture.support))
        ran |= set(method.network.running_parameters(method.connections()))
        method.step(*noise(number))
        assert method.num_connections() == 3 * 4 and method.connections().coefficients is None
    assert len(set(supports)) == 4 and run.rows == []
    assert all(torch.equal(part, value) for part, value in zip(method.architecture.b, start))
    moved = {parameter for parameter, value in weights.items() if not torch.equal(parameter, value)}
    trained = {parameter for parameter in ran if parameter.requires_grad}
    assert moved <= trained and len(moved) > 0.8 * len(trained)  # a cell that no other reads has no gradient
    resumed = make_method("one_stage", num_nodes=2, epsilon=1e6, uniform_epochs=2, termination_interval="3")
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    assert resumed.genotype() == method.genotype()
    for each in (method, resumed):
        for number in range(4, 7):
            each.begin_epoch(number // STEPS)
            each.before_step(number, number // STEPS, run)
            each.step(*noise(number))
        assert each.all_terminated  # at the second recovery, after which b rests
        assert all((part != value).all() for part, value in zip(each.architecture.b, start))
    assert [row["step"] for row in run.rows] == [4, 6, 4, 6]
    for part, other in zip(method.network.state_dict().values(), resumed.network.state_dict().values()):
        assert torch.equal(part, other)


def test_a_search_without_b_is_one_line():
    with pytest.raises(UserError, match="--uniform_epochs 9 leaves b none of 9 epochs; lower it, or raise --max_s"):
        make_options("one_stage", uniform_epochs=9, max_search_epochs=9)
    with pytest.raises(UserError, match="--uniform_epochs 50 leaves b none of 50 epochs; lower it"):
        make_options("two_stage", uniform_epochs=50)
    make_options("two_stage", uniform_epochs=49)
    make_options("two_stage", uniform_epochs=50, epochs=1, budget=1e6)

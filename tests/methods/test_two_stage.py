"""One step of Algorithm 1 against its equations, and what leaves the support."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from settings import make_method, noise

from isnas.base.errors import UserError
from isnas.methods.options.two_stage import steps_between_recoveries

LR, MOMENTUM, DECAY, CLIP = 0.1, 0.9, 3e-4, 0.05
ARCH_LR, BETAS, ARCH_DECAY = 6e-4, (0.5, 0.999), 1e-3


def make_search(**options):
    weights = {"learning_rate": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "grad_clip": CLIP}
    beta1, beta2 = BETAS
    adam = {"arch_learning_rate": ARCH_LR, "arch_beta1": beta1, "arch_beta2": beta2, "arch_weight_decay": ARCH_DECAY}
    return make_method("two_stage", recover_every="step", **weights, **adam, **options)


def batch(number):
    return noise(number, image_size=8)


def inactive_state(search):
    """Everything that belongs to operations outside the support."""
    idle = set()
    connections = search.architecture.connections()
    for i, cell in enumerate(search.network.cells):
        first = 4 if cell.reduction else 0
        for j, indices in enumerate(connections.support[first : first + 4]):
            idle |= {f"cells.{i}.nodes.{j}.{k}." for k in range(len(cell.nodes[j])) if k not in indices}
    return {key: value for key, value in search.network.state_dict().items() if key.startswith(tuple(idle))}


def loss_at(search, b, x, labels):
    """The loss of a copy of the network, in training mode, with b in place of the architecture's."""
    network, architecture = copy.deepcopy(search.network), copy.deepcopy(search.architecture)
    with torch.no_grad():
        for part, value in zip(architecture.b, b):
            part.copy_(value)
        return F.cross_entropy(network(x, architecture.connections()).logits, labels).item()


def test_a_step_follows_the_equations():
    search = make_search()
    search.recover()
    before = copy.deepcopy(search)
    expected_network = copy.deepcopy(search.network)

    # W by hand: clip the gradient of the active weights, add the decay; the first step's momentum is the gradient
    x, labels = batch(0)
    loss = F.cross_entropy(expected_network(x, before.architecture.connections()).logits, labels)
    active = expected_network.running_parameters(before.architecture.connections())
    gradients = torch.autograd.grad(loss, active)
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    assert norm > CLIP
    with torch.no_grad():
        for parameter, gradient in zip(active, gradients):
            parameter -= LR * (gradient * (CLIP / (norm + 1e-6)) + DECAY * parameter)

    result = search.step(batch(0), batch(1))
    torch.testing.assert_close(result.loss, loss.detach())
    for mine, other in zip(search.network.parameters(), expected_network.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)

    # b by hand: Adam's first step is lr g / (|g| + eps), g by central differences plus the l2 term
    at_b = copy.deepcopy(before)
    at_b.network.load_state_dict(expected_network.state_dict())
    start = [part.detach().clone() for part in before.architecture.b]
    for j in (0, 5):
        for i in (0, 6):
            losses = []
            for sign in (1, -1):
                moved = [part.clone() for part in start]
                moved[j][i] += sign * 1e-5
                losses.append(loss_at(at_b, moved, *batch(1)))
            gradient = (losses[0] - losses[1]) / 2e-5 + ARCH_DECAY * start[j][i]
            step = start[j][i] - search.architecture.b[j][i].detach()
            np.testing.assert_allclose(step, ARCH_LR * gradient / (abs(gradient) + 1e-8), rtol=1e-4)


def test_every_b_moves():
    search = make_search()
    search.recover()
    before = [part.detach().clone() for part in search.architecture.b]
    search.step(batch(0), batch(1))
    assert all((part != start).all() for part, start in zip(search.architecture.b, before))


def test_inactive_operations_cost_nothing_and_change_nothing():
    search = make_search()
    search.recover()
    before = {key: value.clone() for key, value in inactive_state(search).items()}
    for number in range(3):
        search.step(batch(number), batch(number + 10))
    after = inactive_state(search)
    assert before.keys() == after.keys() and len(before) > 100
    assert all(torch.equal(before[key], after[key]) for key in before)
    parameters = dict(search.network.named_parameters())
    idle = [parameters[key] for key in before if key in parameters]
    assert all(p.grad is None and p not in search.w_optimizer.state for p in idle)


def test_momentum_is_dropped_when_an_operation_leaves():
    search = make_search()
    search.recover()
    kept = [part.detach().clone() for part in search.architecture.b]
    search.step(batch(0), batch(1))
    first = set(search.w_optimizer.param_groups[0]["params"])
    with torch.no_grad():
        for part in search.architecture.b:
            part.copy_(torch.randn(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    assert search.recover().changed
    left = first - set(search.w_optimizer.param_groups[0]["params"])
    assert left and all(p not in search.w_optimizer.state and p.grad is None for p in left)
    search.step(batch(2), batch(3))
    with torch.no_grad():
        for part, value in zip(search.architecture.b, kept):
            part.copy_(value)
    search.recover()
    assert left <= set(search.w_optimizer.param_groups[0]["params"])
    assert all(p not in search.w_optimizer.state for p in left)


def test_coefficients_follow_b_between_recoveries():
    search = make_search()
    search.recover()
    support, z = search.architecture.support, search.architecture.z
    c = search.architecture.connections().coefficients[0].detach()
    search.step(batch(0), batch(1))
    assert search.architecture.support == support and search.architecture.z is z
    assert not torch.equal(search.architecture.connections().coefficients[0].detach(), c)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_state_goes_on_bit_for_bit(preset):
    straight, other = make_search(preset=preset), make_search(preset=preset)
    for number in range(2):
        straight.recover()
        straight.step(batch(number), batch(number + 10))
    state = copy.deepcopy(straight.state_dict())
    other.load_state_dict(state)
    for search in (straight, other):
        search.recover()
        search.step(batch(5), batch(15))
    for mine, theirs in zip(straight.network.state_dict().values(), other.network.state_dict().values()):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(straight.architecture.state_dict().values(), other.architecture.state_dict().values()):
        assert torch.equal(mine, theirs)


def test_recovery_describes_what_it_found():
    search = make_search(distinct_inputs=True)
    first = search.recover()
    assert first.distance is None and first.changed and first.distinct_share == 1.0
    with torch.no_grad():
        for part in search.architecture.b:
            part.mul_(2.0)
    before, support = search.architecture.z, search.architecture.support
    second = search.recover()
    after = search.architecture.z
    kept = [
        np.linalg.norm(np.where(np.isin(np.arange(len(z)), s), z, 0) - np.where(np.isin(np.arange(len(y)), t), y, 0))
        for z, s, y, t in zip(after, search.architecture.support, before, support)
    ]
    assert second.distance == pytest.approx(np.mean(kept))
    assert second.distance_full == pytest.approx(np.mean([np.linalg.norm(z - y) for z, y in zip(after, before)]))
    first_input, second_input = (np.sort(part) for part in np.abs(after[0]).reshape(2, 7))
    weakest, successor = min(first_input[-1:-3:-1], second_input[-1:-3:-1], key=lambda pair: pair[0])
    assert second.margin[0] == pytest.approx((weakest - successor) / weakest)  # only its own input's may replace it
    assert all(solution.converged for solution in second.solutions)


def test_a_clip_of_both_in_single_precision_leaves_no_gradient_behind():
    search = make_search(preset="released", dtype=torch.float32)
    search.recover()
    for number in range(2):
        search.step(*((x.float(), labels) for x, labels in (batch(number), batch(number + 10))))
    assert {p.dtype for p in search.architecture.b} == {torch.float64}
    assert all(p.grad is None for p in [*search.network.parameters(), *search.architecture.b])
    with pytest.raises(UserError, match="--grad_clip_of w_and_b needs gradients that are not scaled"):
        make_search(preset="released", amp="fp16")
    make_search(preset="released", amp="fp16", grad_clip_of="w")


def test_margin_of_the_plain_rule():
    search = make_search()
    margins = search.recover().margin
    for margin, z in zip(margins, search.architecture.z):
        magnitudes = np.sort(np.abs(z))
        assert margin == pytest.approx((magnitudes[-2] - magnitudes[-3]) / magnitudes[-2])


def test_recover_every():
    assert [steps_between_recoveries(text, 40) for text in ("epoch", "step", "7")] == [40, 1, 7]
    for text in ("0", "-1", "often", "1.5", ""):
        with pytest.raises(UserError, match="recover_every"):
            steps_between_recoveries(text, 40)

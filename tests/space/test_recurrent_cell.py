"""The recurrent cell and its network against their formulas, written out for one column at a time in float64."""

import math
from itertools import pairwise

import pytest
import torch
from torch.autograd import gradcheck

from isnas.base.random import generator, initialising
from isnas.space.connections import Connections, support_of
from isnas.space.recurrent.cell import RecurrentCell
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.network import Masks, RecurrentNetwork, activation_penalty, temporal_penalty
from isnas.space.recurrent.operations import OPERATIONS
from isnas.space.recurrent.published import published
from isnas.space.recurrent.space import RecurrentSpace

SPACE = RecurrentSpace()
NINP, NHID, BATCH, STEPS = 5, 4, 3, 6
SCALARS = {
    "tanh": math.tanh,
    "relu": lambda h: max(h, 0.0),
    "sigmoid": lambda h: 1 / (1 + math.exp(-h)),
    "identity": lambda h: h,
}
NO_DROPOUT = {"dropout": 0.0, "dropouth": 0.0, "dropoutx": 0.0, "dropouti": 0.0, "dropoute": 0.0}
SMALL = {"vocabulary": 11, "ninp": NHID, "nhid": NHID}


def drawn(*shape, name="drawn"):
    return torch.randn(*shape, generator=generator(0, name, *shape), dtype=torch.float64)


def make_cell(nodes, concat=None, spread=1.0):
    """A cell in float64 whose gates are not nearly closed, as those of fresh weights are."""
    cell = RecurrentCell(nodes, concat or tuple(range(1, len(nodes) + 1)), NINP, NHID).double()
    with torch.no_grad():
        for number, weight in enumerate(cell.parameters()):
            weight.copy_(spread * drawn(*weight.shape, name=f"weight {number}"))
    return cell


def random_support(portion, name):
    bits = torch.rand(sum(SPACE.sizes), generator=generator(0, name)) < portion
    return support_of(bits.tolist(), SPACE.sizes)


def written_out(cell, nodes, x, h, mask):
    """The formula with scalars: for every step, column and unit."""

    def product(vector, weight):
        sums = [sum(v * w for v, w in zip(vector, column)) for column in zip(*weight)]
        return sums[:NHID], sums[NHID:]

    def highway(state, c, g, function):
        return [s + SCALARS["sigmoid"](ci) * (function(gi) - s) for s, ci, gi in zip(state, c, g)]

    matrices = [weight.tolist() for weight in cell.weights]
    outputs = []
    for step in x.tolist():
        columns = []
        for inputs, before, kept in zip(step, h.tolist(), mask.tolist()):
            joined = inputs + [a * b for a, b in zip(before, kept)]
            states = [highway(before, *product(joined, cell.input_weight.tolist()), math.tanh)]
            for weight, node in zip(matrices, nodes):
                terms = []
                for operation, predecessor in node:
                    state = states[predecessor]
                    gates = product([a * b for a, b in zip(state, kept)], weight)
                    terms.append(highway(state, *gates, SCALARS[operation]))
                states.append([sum(values) / len(terms) for values in zip(*terms)] if terms else [0.0] * NHID)
            columns.append([sum(states[k][u] for k in cell.concat) / len(cell.concat) for u in range(NHID)])
        h = torch.tensor(columns, dtype=torch.float64)
        outputs.append(h)
    return torch.stack(outputs)


def step_by_step(cell, support, x, h, mask):
    """The same through autograd, an operation at a time."""
    functions = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda g: g}
    outputs = []
    for inputs in x:
        c, g = (torch.cat([inputs, h * mask], 1) @ cell.input_weight).chunk(2, 1)
        states = [h + c.sigmoid() * (g.tanh() - h)]
        for weight, node in zip(cell.weights, cell.running(support)):
            terms = [torch.zeros_like(h)] if not node else []
            for operation, predecessor in node:
                s = states[predecessor]
                c, g = (s * mask @ weight).chunk(2, 1)
                terms.append(s + c.sigmoid() * (functions[operation](g) - s))
            states.append(sum(terms) / len(terms))
        h = sum(states[number] for number in cell.concat) / len(cell.concat)
        outputs.append(h)
    return torch.stack(outputs)


def cells():
    yield "one input", published("DARTS_V2").genotype.recurrent, published("DARTS_V2").genotype.concat
    yield "not all in the output", published("ENAS").genotype.recurrent, published("ENAS").genotype.concat
    several = ((("relu", 0), ("sigmoid", 0)), (("tanh", 0), ("identity", 1)), (("relu", 0), ("tanh", 2), ("relu", 2)))
    yield "several inputs", several, (1, 2, 3)
    yield "an empty node that is read", ((("tanh", 0),), (), (("sigmoid", 2), ("relu", 1))), (1, 2, 3)
    yield "nothing", ((), ()), (1, 2)
    yield "a node that nothing reads", ((("tanh", 0),), (("relu", 1),), (("tanh", 1),)), (3,)


@pytest.mark.parametrize(("nodes", "concat"), [pytest.param(*rest, id=name) for name, *rest in cells()])
@pytest.mark.parametrize("masked", [False, True])
def test_the_output_is_the_formula(nodes, concat, masked):
    cell = make_cell(nodes, concat)
    x, h = drawn(STEPS, BATCH, NINP), drawn(BATCH, NHID)
    mask = (drawn(BATCH, NHID, name="mask") > -0.5) / 0.75 if masked else torch.ones(BATCH, NHID, dtype=torch.float64)
    expected = written_out(cell, nodes, x, h, mask)
    for kept in (False, True):  # what is kept for the backward pass is not without one
        with torch.set_grad_enabled(kept):
            outputs = cell(x, h, None, mask if masked else None)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("portion", [0.04, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_super_net_and_gradients_are_those_of_a_loop_step_by_step(portion, masked):
    cell = make_cell(SPACE.candidates, spread=0.5)
    support = random_support(portion, "support")
    x, h = drawn(STEPS, BATCH, NINP).requires_grad_(), drawn(BATCH, NHID).requires_grad_()
    mask = (drawn(BATCH, NHID, name="mask") > -0.5) / 0.75 if masked else torch.ones(BATCH, NHID, dtype=torch.float64)
    weights = drawn(STEPS, BATCH, NHID, name="of output")
    inputs = [x, h, *cell.parameters()]
    outputs = cell(x, h, support, mask if masked else None)
    expected = step_by_step(cell, support, x, h, mask)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-10)
    found = torch.autograd.grad((outputs * weights).sum(), inputs, allow_unused=True)
    wanted = torch.autograd.grad((expected * weights).sum(), inputs, allow_unused=True)
    assert [g is None for g in found] == [g is None for g in wanted] == [False] * 3 + [not node for node in support]
    for mine, other in zip(found, wanted):
        if other is not None:
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_finite_differences(masked):
    nodes = ((("sigmoid", 0),), (("relu", 0), ("tanh", 1)), (("identity", 0), ("tanh", 0), ("relu", 2)))
    cell = make_cell(nodes)
    mask = (drawn(2, NHID, name="mask") > -0.5) / 0.75 if masked else None
    inputs = (drawn(3, 2, NINP).requires_grad_(), drawn(2, NHID).requires_grad_(), *cell.parameters())

    names = [name for name, _ in cell.named_parameters()]

    def run(x, h, *weights):
        return torch.func.functional_call(cell, dict(zip(names, weights)), (x, h, None, mask))

    assert gradcheck(run, inputs)


def test_states_go_on_from_call_to_call():
    cell = make_cell(published("DARTS_V1").genotype.recurrent)
    x, h = drawn(STEPS, BATCH, NINP), drawn(BATCH, NHID)
    first = cell(x[:2], h)
    torch.testing.assert_close(torch.cat([first, cell(x[2:], first[-1])]), cell(x, h), rtol=0, atol=1e-14)


def test_the_cell_keeps_its_type_under_autocast():
    network = SPACE.target_network(published("DARTS_V2").genotype, **SMALL)
    tokens = torch.randint(11, (STEPS, BATCH), generator=generator(0, "tokens"))
    expected = network(tokens, network.first_state(BATCH))
    with torch.autocast("cpu", torch.bfloat16):
        found = network(tokens, network.first_state(BATCH))
        assert found.logits.dtype == torch.bfloat16 and torch.equal(found.raw, expected.raw)
        found.logits.float().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_operations_and_their_derivatives():
    h = torch.linspace(-2.5, 2.5, 50, dtype=torch.float64)
    for name, row in OPERATIONS.items():
        y = row.apply_(h.clone())
        torch.testing.assert_close(y, torch.tensor([SCALARS[name](v) for v in h.tolist()], dtype=torch.float64))
        with_steps = [row.apply_(h + step) for step in (-1e-6, 1e-6)]
        derivative = row.backward(torch.full_like(h, 3.0), y, torch.empty_like(h))
        torch.testing.assert_close(derivative, 3 * (with_steps[1] - with_steps[0]) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2"])
def test_the_papers_network_has_23_million_parameters(name):
    with torch.device("meta"):
        network = SPACE.target_network(published(name).genotype, vocabulary=10_000)
        super_net = SPACE.super_net(vocabulary=10_000, ninp=850, nhid=850)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 10_000 * 850 + 10_000 + 1700 * 1700 + 8 * 850 * 1700 == 22_960_000
    assert sum(parameter.numel() for parameter in super_net.parameters()) == count


def test_fresh_weights_come_from_the_named_generator():
    made = []
    for seed in (0, 0, 1):
        with initialising(seed, "weights"):
            made.append(SPACE.super_net(**SMALL).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not torch.equal(made[0]["embedding"], made[2]["embedding"])
    for name, tensor in made[0].items():
        assert tensor.abs().max() <= 0.04 and (tensor.std() > 0.015) == (name != "decoder_bias")


def test_a_super_net_with_a_genotypes_connections_is_its_target_network():
    super_net = SPACE.super_net(**SMALL)
    for genotype in (published("DARTS_V2").genotype, SPACE.genotype(SPACE.random(generator(0, "cell"), 3))):
        target = SPACE.target_network(genotype, **SMALL)
        target.load_state_dict(super_net.state_dict())
        tokens = torch.randint(11, (STEPS, BATCH), generator=generator(0, "tokens"))
        connections = Connections(SPACE.support(genotype))
        found, expected = (
            super_net(tokens, super_net.first_state(BATCH), connections),
            target(tokens, target.first_state(BATCH)),
        )
        assert torch.equal(found.logits, expected.logits) and found.logits.shape == (STEPS, BATCH, 11)
        assert torch.equal(found.state, expected.raw[-1])
        assert super_net.num_connections(connections) == target.num_connections() == sum(map(len, genotype.recurrent))
    assert super_net.num_connections() == 144


@pytest.mark.parametrize("unread", [False, True])
def test_running_parameters_are_those_with_a_gradient(unread):
    nodes = ((("tanh", 0),), (("relu", 1),), (("tanh", 1),))
    network = RecurrentNetwork(nodes, (3,), **SMALL) if unread else SPACE.super_net(**SMALL)
    connections = None if unread else Connections(random_support(0.04, "support"))
    tokens = torch.randint(11, (STEPS, BATCH), generator=generator(0, "tokens"))
    network(tokens, network.first_state(BATCH), connections).logits.sum().backward()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    running = [names[id(parameter)] for parameter in network.running_parameters(connections)]
    assert running == [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    assert len(running) < len(names) and (not unread or set(names.values()) - set(running) == {"cell.weights.1"})


def test_the_language_model_is_embedding_cell_and_tied_decoder():
    network = SPACE.target_network(published("DARTS_V2").genotype, **SMALL).double()
    tokens = torch.randint(11, (STEPS, BATCH), generator=generator(0, "tokens"))
    state, masks = drawn(BATCH, NHID), network.draw_masks(BATCH, generator(0, "masks"))
    x = (network.embedding * masks.words[:, None])[tokens] * masks.inputs
    raw = step_by_step(network.cell, None, x, state, masks.states)
    found = network(tokens, state, masks=masks)
    torch.testing.assert_close(found.raw, raw, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.dropped, raw * masks.outputs, rtol=0, atol=1e-12)
    expected = raw * masks.outputs @ network.embedding.T + network.decoder_bias
    torch.testing.assert_close(found.logits, expected, rtol=0, atol=1e-12)
    without = network(tokens, state)
    raw = step_by_step(network.cell, None, network.embedding[tokens], state, torch.ones(BATCH, NHID))
    torch.testing.assert_close(without.raw, raw, rtol=0, atol=1e-12)
    assert torch.equal(without.dropped, without.raw)


def test_masks_have_their_probabilities_and_come_from_the_generator_alone():
    rates = {"dropout": 0.75, "dropouth": 0.25, "dropoutx": 0.6, "dropouti": 0.2, "dropoute": 0.1}
    network = RecurrentNetwork((), (), vocabulary=20_000, ninp=60, nhid=60, **rates)
    before = torch.random.get_rng_state()
    one, two, other = (network.draw_masks(500, generator(0, "masks", step)) for step in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    kept = {"words": 0.9, "inputs": 0.8 * 0.4, "states": 0.75, "outputs": 0.25}
    for name, portion in kept.items():
        mask = getattr(one, name)
        assert torch.equal(mask, getattr(two, name)) and not torch.equal(mask, getattr(other, name))
        found = mask.unique()
        torch.testing.assert_close(found, torch.tensor([0.0, 1 / portion]))
        deviation = math.sqrt(portion * (1 - portion) / mask.numel())
        assert abs((mask > 0).double().mean() - portion) < 4 * deviation
    none = RecurrentNetwork((), (), **SMALL, **NO_DROPOUT).draw_masks(2, generator(0, "masks"))
    assert none == Masks()


def test_penalties_are_their_formulas():
    raw, dropped = drawn(STEPS, BATCH, NHID), drawn(STEPS, BATCH, NHID, name="dropped")
    squares = [v * v for v in dropped.flatten().tolist()]
    assert activation_penalty(dropped, 2.0).item() == pytest.approx(2.0 * sum(squares) / len(squares), rel=1e-12)
    changes = [(b - a) ** 2 for s, t in pairwise(raw.flatten(1).tolist()) for a, b in zip(s, t)]
    assert temporal_penalty(raw, 0.5).item() == pytest.approx(0.5 * sum(changes) / len(changes), rel=1e-12)
    assert temporal_penalty(raw[:1], 0.5).item() == 0.0


def test_a_cell_of_one_node_is_one_step_of_a_highway():
    genotype = RecurrentGenotype(((("sigmoid", 0),),), (1,))
    cell = make_cell(genotype.recurrent)
    x, h = drawn(1, BATCH, NINP), drawn(BATCH, NHID)
    c, g = (torch.cat([x[0], h], 1) @ cell.input_weight).chunk(2, 1)
    s0 = (1 - c.sigmoid()) * h + c.sigmoid() * g.tanh()
    c, g = (s0 @ cell.weights[0]).chunk(2, 1)
    torch.testing.assert_close(cell(x, h)[0], (1 - c.sigmoid()) * s0 + c.sigmoid() * g.sigmoid(), rtol=0, atol=1e-13)

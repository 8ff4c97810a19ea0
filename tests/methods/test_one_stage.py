"""Algorithm 2: one loss for W and b, what a terminated node keeps, gamma and beta, and the fixed network."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from settings import make_method, noise

from isnas.base.errors import UserError
from isnas.methods.options.one_stage import interval_in_steps
from isnas.methods.registry import make_options
from isnas.nets.absorb import absorb
from isnas.space.batch_norm import BatchNorm


def make(**values):
    weights = {"auxiliary": True, "learning_rate": 0.05}
    b = {"arch_init_scale": 0.1, "arch_learning_rate": 3e-3, "arch_weight_decay": 0.1}
    return make_method("one_stage", steps=2, **weights | b | values)


def node_state(run, node):
    """b, z, support and coefficients of a node."""
    architecture, c = run.architecture, run.connections().coefficients[node]
    return [architecture.b[node].detach().clone(), torch.tensor(architecture.z[node]), c.detach().clone()]


def candidate_norms(run, node):
    half = len(run.architecture.sizes) // 2
    cells = [cell for cell in run.network.cells if cell.reduction == (node >= half)]
    return [m for cell in cells for m in cell.nodes[node % half].modules() if isinstance(m, BatchNorm)]


def test_one_backward_pass_for_weights_and_b():
    run = make(grad_clip=1e6)
    run.recover(0)
    reference, (x, labels) = copy.deepcopy(run), noise(0)
    connections = reference.architecture.connections()
    logits, auxiliary = reference.network(x, connections)
    loss = F.cross_entropy(logits, labels) + 0.4 * F.cross_entropy(auxiliary, labels)
    loss.backward()
    running = reference.w_optimizer.param_groups[0]["params"]
    gradients = [p.grad.clone() for p in running]
    b = [part.grad.clone() for part in reference.architecture.b]
    result = run.step(x, labels)
    torch.testing.assert_close(result.loss, loss.detach())
    for mine, start, gradient in zip(run.w_optimizer.param_groups[0]["params"], running, gradients):
        torch.testing.assert_close(mine.detach(), start.detach() - 0.05 * (gradient + 3e-4 * start.detach()))
    for mine, start, gradient in zip(run.architecture.b, reference.architecture.b, b):
        gradient = gradient + 0.1 * start.detach()
        torch.testing.assert_close(mine.detach(), start.detach() - 3e-3 * gradient / (gradient.abs() + 1e-8))


def test_while_searching_gammas_and_betas_of_candidates_are_frozen():
    run = make()
    run.recover(0)
    for number in range(3):
        run.step(*noise(number))
    for node in range(8):
        norms = candidate_norms(run, node)
        assert norms and all((m.weight == 1).all() and (m.bias == 0).all() and m.weight.grad is None for m in norms)
    others = [run.network.stem.bn, run.network.cells[0].preprocess0.bn, run.network.auxiliary.bn1]
    assert all((m.weight != 1).any() for m in others)


def test_a_terminated_node_stays_and_the_others_move():
    run = make(epsilon=1e-12)
    run.recover(0)
    run.step(*noise(0))
    run.terminate(1)
    run._follow_support()
    kept, others = node_state(run, 1), [node_state(run, node) for node in (0, 2, 5)]
    support = run.architecture.support[1]
    for number in range(20):
        if number % 2 == 0:
            run.recover(0)
        run.step(*noise(number))
    assert all(torch.equal(a, b) for a, b in zip(node_state(run, 1), kept))
    assert run.architecture.support[1] == support and run.architecture.b[1] not in run.b_optimizer.state
    for node, before in zip((0, 2, 5), others):
        assert all(not torch.equal(a, b) for a, b in zip(node_state(run, node), before))
    for node in range(8):
        moved = [m for m in candidate_norms(run, node) if (m.weight != 1).any() and (m.bias != 0).any()]
        assert bool(moved) == (node == 1)
        if node == 1:  # the inner batch normalisation of a separable convolution too
            active = [
                m
                for cell in run.network.cells
                if not cell.reduction
                for k in support
                for m in cell.nodes[1][k].modules()
                if isinstance(m, BatchNorm)
            ]
            assert {id(m) for m in moved} == {id(m) for m in active}


def test_termination_follows_the_distance():
    run = make(epsilon=1e-12, patience=2)
    assert run.recover(0)[1] == []
    for part in run.architecture.b[1:]:
        part.data.add_(0.01)
    assert run.recover(0)[1] == []  # node 0 has not moved, once
    for part in run.architecture.b[2:]:
        part.data.add_(0.01)
    assert run.recover(0)[1] == [0]
    assert run.recover(0, too_large=True)[1] == []
    run.fix(3)
    assert run.all_terminated and not run.searching


def test_a_z_whose_network_is_too_large_is_rejected():
    """Released code: the old z stays, and a node whose z has hardly moved terminates with it all the same."""
    run = make(preset="released", epsilon=1e-12)
    assert run.recover(0)[0].rejected is False

    def moved():
        other = copy.deepcopy(run)
        for part in other.architecture.b[1:]:
            part.data.copy_(part.flip(0))
        return other

    def network(one):
        genotype = one.space.genotype(tuple(one.architecture.support), one_stage=True)
        return sum(p.numel() for p in one.space.target_network(genotype, **one.sizes).parameters()) / 1e6

    free = moved()
    recovery, terminated = free.recover(1)
    assert recovery.changed and not recovery.rejected and terminated == [0]
    for limit in (network(free), network(free) * 1.001):
        other = moved()
        other.options = dataclasses.replace(other.options, max_params=limit)
        before = [node_state(run, node)[1] for node in range(8)]
        rejected, gone = other.recover(1)
        assert rejected.rejected == (limit == network(free)) and gone == [0]
        assert rejected.distances_full == recovery.distances_full
        kept = run if rejected.rejected else free
        assert other.architecture.support == kept.architecture.support != [run, free][kept is run].architecture.support
        assert all((a == b).all() for a, b in zip(other.architecture.z, kept.architecture.z))
        stored = [other.architecture.state_dict()[f"z{node}"] for node in range(8)]
        assert all(torch.equal(a, b) for a, b in zip(stored, before)) == rejected.rejected
        other.step(*noise(0))


def test_coefficients_are_those_of_equation_12():
    run = make()
    run.recover(0)
    run.step(*noise(0))
    c = torch.cat(run.connections().coefficients)
    literal = []
    for A, b, z, S in zip(run.architecture.matrices, run.architecture.b, run.architecture.z, run.architecture.support):
        A, z, S = torch.tensor(A), torch.tensor(z), list(S)
        E = A.T @ A - torch.eye(A.shape[1], dtype=torch.float64)
        literal.append(b.detach() @ A[:, S] - z[S] @ E[S][:, S])
    torch.testing.assert_close(c.detach(), torch.cat(literal), rtol=1e-12, atol=1e-14)


def test_the_fixed_network_goes_on_where_the_super_net_was():
    run = make()
    run.recover(0)
    for number in range(2):
        run.step(*noise(number))
    super_size = sum(p.numel() for p in run.network.parameters())
    other = copy.deepcopy(run)
    run.fix(1)
    for node in range(8):  # the super-net goes on with all nodes terminated
        other.terminate(node)
    other._follow_support()
    for number in (5, 6):
        assert torch.equal(run.step(*noise(number)).loss, other.step(*noise(number)).loss)
    assert sum(p.numel() for p in run.network.parameters()) < super_size
    held = sum(len(state) for state in run.w_optimizer.state.values())
    assert held == len(run.w_optimizer.param_groups[0]["params"]) == len(list(run.network.parameters()))
    run.network.eval()
    assert torch.equal(absorb(run.weighted())(noise(9)[0]).logits, run.predict(noise(9)[0]).logits)


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("stop", ["searching", "partly terminated", "fixed"])
def test_state_goes_on_bit_for_bit(stop, preset):
    straight, other = make(preset=preset), make(preset=preset)
    straight.recover(0)
    straight.step(*noise(0))
    if stop != "searching":
        straight.terminate(3)
        straight._follow_support()
    if stop == "fixed":
        straight.fix(1)
    straight.step(*noise(1))
    other.load_state_dict(copy.deepcopy(straight.state_dict()))
    for run in (straight, other):
        if run.searching:
            run.recover(0)
        run.step(*noise(2))
    for mine, theirs in zip(straight.network.state_dict().values(), other.network.state_dict().values()):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(straight.architecture.state_dict().values(), other.architecture.state_dict().values()):
        assert torch.equal(mine, theirs)


def test_mistakes():
    assert [interval_in_steps(text, 40) for text in ("epoch", "7")] == [40, 7]
    for values, words in (
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"max_search_epochs": 0}, "max_search_epochs"),
        ({"termination_interval": "often"}, "termination_interval"),
    ):
        with pytest.raises(UserError, match=words):
            make_options("one_stage", **values)
    assert make_options("one_stage").epsilon == 1e-3

"""Random search with weight sharing: what is drawn, what a step trains, how one architecture is chosen."""

import copy
import io
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from killing import kill_when, log_lines, metrics, run_and_kill, run_tool
from scipy.stats import chisquare
from settings import make_method, noise

from isnas.base.errors import UserError
from isnas.engine.averages import Scores
from isnas.methods.registry import make_options
from isnas.space.connections import Connections

NUM_OPERATIONS = 7
LR, MOMENTUM, DECAY, CLIP = 0.1, 0.9, 3e-4, 0.05


@pytest.fixture(scope="module")
def drawn():
    """Architectures by node, each a list of (predecessor, operation) pairs."""
    method = make_method("random_ws")
    samples = [method.sample("step", number) for number in range(4000)]
    return [[[divmod(k, NUM_OPERATIONS) for k in sample[node]] for sample in samples] for node in range(8)]


def uniform(found, probabilities):
    """The p-value of drawn values, each of which has its probability."""
    assert set(found) <= set(probabilities) and sum(probabilities.values()) == pytest.approx(1.0)
    counts = [sum(value == each for value in found) for each in probabilities]
    return chisquare(counts, len(found) * np.array(list(probabilities.values()))).pvalue


@pytest.mark.parametrize("node", range(8))
def test_predecessors_and_operations_are_uniform(drawn, node):
    """Two of the predecessors, and for each one of seven operations or none, all with the same probability."""
    predecessors = range(2 + node % 4)
    pairs = list(combinations(predecessors, 2))
    sets = {(): 1 / 64} | {(p,): 2 * 7 / 64 / len(predecessors) for p in predecessors}
    sets |= {pair: 49 / 64 / len(pairs) for pair in pairs}
    assert uniform([tuple(p for p, _ in found) for found in drawn[node]], sets) > 1e-3

    names = [[k for _, k in found] + ["none"] * (2 - len(found)) for found in drawn[node]]
    each = dict.fromkeys([*range(NUM_OPERATIONS), "none"], 1 / 8)
    assert uniform([name for both in names for name in both], each) > 1e-3
    both = {(a, b): 1 / 49 for a in range(NUM_OPERATIONS) for b in range(NUM_OPERATIONS)}
    assert uniform([tuple(k for _, k in found) for found in drawn[node] if len(found) == 2], both) > 1e-3


def test_every_number_and_purpose_has_its_own_architecture():
    method, again = make_method("random_ws"), make_method("random_ws")
    samples = [method.sample(purpose, number) for purpose in ("step", "choice") for number in range(100)]
    assert len(set(samples)) == 200 and samples[150] == again.sample("choice", 50)
    assert samples[0] != make_method("random_ws", seed=1).sample("step", 0)


def test_other_rules_of_drawing():
    method = make_method("random_ws", none_operation=False)
    nodes = [node for number in range(200) for node in method.sample("step", number)]
    assert all(len({k // NUM_OPERATIONS for k in node}) == 2 == len(node) for node in nodes)
    method = make_method("random_ws", none_operation=False, sparseness=1)
    assert all(len(node) == 1 for number in range(200) for node in method.sample("step", number))
    with pytest.raises(UserError, match="sparseness 3 is more than the 2 predecessors"):
        make_options("random_ws", sparseness=3)


class HandWritten:
    """SGD with momentum and a clip, on a copy of the network; only what is named by a support ever moves."""

    def __init__(self, network):
        self.network, self.momentum = copy.deepcopy(network), {}

    def running(self, support):
        """Names of the parameters that a support leaves to run, from the places of the modules alone."""
        for name, _ in self.network.named_parameters():
            parts = name.split(".")
            if parts[0] == "cells" and parts[2] == "nodes":
                node = int(parts[3]) + 4 * self.network.cells[int(parts[1])].reduction
                if int(parts[4]) not in support[node]:
                    continue
            yield name

    def step(self, support, x, labels):
        """One step; returns the loss and what has moved."""
        parameters = dict(self.network.named_parameters())
        loss = F.cross_entropy(self.network(x, Connections(support)).logits, labels)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        gradients = {name: gradient for name, gradient in zip(parameters, found) if gradient is not None}
        assert gradients.keys() <= set(self.running(support))
        norm = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
        assert norm > CLIP
        with torch.no_grad():
            for name, gradient in gradients.items():
                direction = gradient * (CLIP / (norm + 1e-6)) + DECAY * parameters[name]
                self.momentum[name] = MOMENTUM * self.momentum.get(name, 0.0) + direction
                parameters[name] -= LR * self.momentum[name]
        return loss.detach(), gradients.keys()


def test_a_step_trains_what_runs_and_nothing_else():
    weights = {"learning_rate": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "grad_clip": CLIP}
    method = make_method("random_ws", **weights)
    expected, idle, returned = HandWritten(method.network), set(), set()
    names = {name for name, _ in method.network.named_parameters()}
    for number in range(12):
        before = {name: value.clone() for name, value in method.network.state_dict().items()}
        method.before_step(number)
        assert method.support == method.sample("step", number)
        batch = noise(number, image_size=8)
        result = method.step(batch)
        loss, moved = expected.step(method.support, *batch)
        torch.testing.assert_close(result.loss, loss)
        after, wanted = method.network.state_dict(), expected.network.state_dict()
        for name in after:
            torch.testing.assert_close(after[name], wanted[name], rtol=1e-9, atol=1e-12)
        assert all(torch.equal(after[name], before[name]) for name in names - moved)
        assert not any(torch.equal(after[name], before[name]) for name in moved)
        kept = {
            name: method.w_optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in method.network.named_parameters()
            if parameter in method.w_optimizer.state
        }
        assert kept.keys() == expected.momentum.keys()
        for name, buffer in kept.items():
            torch.testing.assert_close(buffer, expected.momentum[name], rtol=1e-9, atol=1e-12)
        returned |= idle & moved
        idle |= kept.keys() - moved
    assert len(returned) > 50 and names - kept.keys()


def test_an_architecture_without_connections_trains_too():
    method = make_method("random_ws")
    method.support = ((),) * 8
    before = copy.deepcopy(method.network.state_dict())
    assert torch.isfinite(method.step(noise(0)).loss)
    moved = {name for name, value in method.network.state_dict().items() if not torch.equal(value, before[name])}
    assert "classifier.bias" in moved and not any(".nodes." in name for name in moved)


CHOICE = {"samples": 6, "sample_batches": 3, "finalists": 2, "rounds": 2}


def percent(support, num_batches):
    """An accuracy that knows nothing of a network; on the first batches it is rough, so that many have the same."""
    value = int(make_space().genotype(support).hash(), 16) % 10007
    return float(value % 100) if num_batches is None else float(value % 3)


def make_space():
    return make_options("random_ws").make_space()


class Judge:
    """Scores by :func:`percent`, and what was asked."""

    def __init__(self, method):
        self.method, self.asked = method, []

    def __call__(self, predict, num_batches):
        self.asked.append((self.method.support, num_batches))
        return Scores(0.0, percent(*self.asked[-1]), 100.0)


def expected_choice():
    """What is asked, in order, and the best of the finalists."""
    method = make_method("random_ws", **CHOICE)
    samples = [method.sample("choice", number) for number in range(12)]
    asked, finalists = [(sample, 3) for sample in samples], []
    for part in (samples[:6], samples[6:]):
        ranked = sorted(part, key=lambda sample: percent(sample, 3), reverse=True)  # of equals the first come first
        finalists += ranked[:2]
    asked += [(sample, None) for sample in finalists]
    return asked, max(finalists, key=lambda sample: percent(sample, None))


def test_the_best_of_the_finalists_is_chosen_wherever_it_is_stopped():
    asked, best = expected_choice()
    straight = make_method("random_ws", **CHOICE)
    judge, states = Judge(straight), []
    for _ in straight.choose(judge):
        states.append(io.BytesIO())
        torch.save(straight.state_dict(), states[-1])
        assert len(judge.asked) == len(states)
    assert judge.asked == asked and straight.support == best
    assert percent(best, None) > min(percent(sample, None) for sample, _ in asked[12:])
    accuracies = [percent(*each) for each in asked]
    found = straight.report().values
    assert found == {"choice/median": sorted(accuracies[:12])[6], "choice/best": max(accuracies[12:])}
    for number, state in enumerate(states, start=1):
        state.seek(0)
        other = make_method("random_ws", **CHOICE)
        other.load_state_dict(torch.load(state, weights_only=True))
        judge = Judge(other)
        for _ in other.choose(judge):
            pass
        assert judge.asked == asked[number:] and other.support == best
        assert other.genotype() == straight.genotype() and other.report() == straight.report()


def test_rounds_follow_the_number_of_steps():
    assert make_method("random_ws", epochs=50, steps=390).rounds == 1
    assert make_method("random_ws", epochs=100, steps=390).rounds == 3
    assert make_method("random_ws", epochs=2, steps=3).rounds == 1
    assert make_method("random_ws", epochs=100, steps=390, rounds=2).rounds == 2


SMALL = ["--method", "random_ws", "--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3]
SMALL += ["--epochs", 1, "--max_train_images", 200, "--batch_size", 16, "--samples", 6, "--sample_batches", 1]
SMALL += ["--finalists", 2, "--report_freq", 1, "--no_tensorboard", "--held_out_portion", 0.1, "--seed", 3]


def flat(tensors):
    """Nested dictionaries of tensors as one."""
    return {f"{part}.{name}": value for part, state in tensors.items() for name, value in state.items()}


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    straight, run = tmp_path / "straight", tmp_path / "killed"
    done = run_tool("train_search.py", *SMALL, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    often = [*SMALL, "--checkpoint_minutes", 1e-6]
    state = kill_when("train_search.py", *often, run_dir=run, reached=lambda state: state.get("global_step", 0) >= 2)
    assert state["method"]["measured"] == []
    state = kill_when("train_search.py", run_dir=run, reached=lambda state: bool(state and state["method"]["measured"]))
    assert len(state["method"]["measured"]) + len(state["method"]["final"]) < 8
    run_and_kill("train_search.py", run_dir=run, kills=2, longest=0.3)

    assert {path.name for path in run.iterdir()} == {path.name for path in straight.iterdir()}
    assert (run / "genotype.json").read_bytes() == (straight / "genotype.json").read_bytes()
    mine, other = (flat(torch.load(folder / "weights.pt", weights_only=True)) for folder in (run, straight))
    assert mine.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in mine.items())
    assert metrics(run) == metrics(straight) and metrics(run)[-1]["choice/best"] >= 0.0
    assert log_lines(run) == log_lines(straight)
    assert (run / "genotypes.jsonl").read_text() == (straight / "genotypes.jsonl").read_text()

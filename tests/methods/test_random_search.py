"""Random search: what is drawn, how an architecture is trained and chosen, and that kills change nothing."""

from collections import Counter

import pytest
import torch
from killing import differences, run_and_kill, run_tool
from scipy.stats import chisquare
from settings import make_method, noise

from isnas.engine.averages import Scores
from isnas.engine.method import Report

OPTIONS = {"epochs": 2, "samples": 3, "num_nodes": 2}


def drawn(method, number):
    method.number = number
    return method.setting.space.support(method.genotype())


def test_architectures_are_uniform_and_none_is_without_a_connection():
    method = make_method("random", sparseness=1)
    nodes = list(zip(*(drawn(method, number) for number in range(3000))))
    for size, found in zip(method.setting.space.sizes, nodes):
        counts = Counter(found)
        assert set(counts) == {(k,) for k in range(size)}
        assert chisquare([counts[k,] for k in range(size)]).pvalue > 1e-3
    method = make_method("random")
    supports = [drawn(method, number) for number in range(200)]
    assert all(len(node) == len({k // 7 for k in node}) == 2 for support in supports for node in support)
    assert len(set(supports)) == 200 and supports[7] == drawn(make_method("random"), 7)
    assert supports[7] != drawn(make_method("random", seed=1), 7)


def test_each_is_trained_from_fresh_weights_and_the_best_is_kept():
    method, accuracies, weights = make_method("random", **OPTIONS), [40.0, 70.0, 70.0], []
    rates = []
    for epoch in range(method.num_epochs):
        rates.append(method.begin_epoch(epoch))
        method.network.train()
        if epoch % 2 == 0:
            assert not method.w_optimizer.state
        method.network.double()
        method.step(noise(epoch))
        assert method.validated(Scores(0.0, accuracies[epoch // 2], 100.0)) == (epoch % 2 == 1)
        weights.append({name: value.clone() for name, value in method.network.state_dict().items()})
        assert bool(method.report().values) == (epoch % 2 == 1)
    assert rates == rates[:2] * 3 and rates[0] > rates[1]
    other, state = make_method("random", **OPTIONS), method.state_dict()
    for _ in method.choose(None):
        raise AssertionError("there is nothing to measure")
    assert method.number == 1 and method.accuracies == accuracies
    other.load_state_dict(state)  # as a run does that was stopped after its last epoch
    list(other.choose(None))
    assert other.report() == method.report() != Report([], {})
    assert all(torch.equal(value, weights[3][name].float()) for name, value in method.network.state_dict().items())


SMALL = ["--method", "random", "--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3]
SMALL += ["--epochs", 2, "--samples", 3, "--max_train_images", 200, "--batch_size", 16, "--report_freq", 1]
SMALL += ["--no_tensorboard", "--held_out_portion", 0.1]


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    straight, run = tmp_path / "straight", tmp_path / "killed"
    done = run_tool("train_search.py", *SMALL, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    often = [*SMALL, "--checkpoint_minutes", 1e-6]
    run_and_kill("train_search.py", *often, run_dir=run, kills=5, longest=0.5)
    assert set(differences(run, straight)) <= {"checkpoint_previous.pt"}  # of another moment

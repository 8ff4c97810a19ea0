"""Searches of chains: the gate and its gradient by their formulas, where b starts, other methods, what is refused."""

import importlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from killing import differences, kill_when, run_and_kill, run_tool
from settings import make_method, noise

import isnas
from isnas.base.errors import UserError
from isnas.engine.trained import load_trained
from isnas.methods.registry import METHODS, make_options, parse_run
from isnas.space.chain.genotype import ChainGenotype
from isnas.space.connections import Connections

TINY = ["--space", "chain", "--widths", "digits", "--dataset", "digits", "--max_train_images", "200", "--threads", "1"]
TINY += ["--batch_size", "50", "--no_tensorboard"]


def tool(name):
    return importlib.import_module(f"isnas.apps.{name}").main


def lasso(A, b, weight):
    """``argmin 1/2 |A z - b|^2 + weight |z|_1`` by CVXPY."""
    cp = pytest.importorskip("cvxpy")
    z = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(cp.sum_squares(A @ z - b) / 2 + weight * cp.norm1(z)))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-14, tol_gap_rel=1e-14, tol_feas=1e-14)
    return z.value


@pytest.mark.parametrize(
    ("measurement", "gate", "scale"),
    [("unit_gaussian", "sign", 1e-3), ("uniform", "value", 1.0), ("uniform", "sign", 1)],
)
def test_the_gate_and_the_step_of_b_are_their_formulas(measurement, gate, scale):
    """w = b^T a_i - z_i (|a_i|^2 - 1) of the largest |z_i|; dL/db = dL/dw a_i, over |w| where the sign weighs."""
    search = make_method(
        "two_stage", space="chain", measurement=measurement, gate=gate, arch_init_scale=scale, arch_init="normal"
    )
    search.recover()
    x, labels = noise(0, 4, 8)
    weights, support = [], []
    for A, b in zip(search.architecture.matrices, search.architecture.b):
        b = b.detach().numpy()
        z = lasso(A / scale, b / scale, search.options.lasso_lambda / scale**2)  # the same z, at the solver's scale
        i = int(np.argmax(np.abs(z)))
        column = A[:, i]
        weights.append(b @ column - z[i] * (column @ column - 1))
        support.append((i,))
    connections = search.connections()
    assert list(connections.support) == support
    shown = [w / abs(w) if gate == "sign" else w for w in weights]
    torch.testing.assert_close(torch.cat(connections.coefficients).detach(), torch.tensor(shown), rtol=1e-6, atol=1e-9)

    leaves = [torch.tensor([w], dtype=torch.float64, requires_grad=True) for w in shown]
    loss = F.cross_entropy(search.network(x, Connections(tuple(support), tuple(leaves))).logits, labels)
    slopes = torch.autograd.grad(loss, leaves)
    search.stepping.backward(search.loss_of_both, (x, labels), search.architecture.b)
    for A, (i,), slope, w, b in zip(search.architecture.matrices, support, slopes, weights, search.architecture.b):
        expected = slope.item() * A[:, i] / (abs(w) if gate == "sign" else 1.0)
        np.testing.assert_allclose(b.grad.numpy(), expected, rtol=1e-5, atol=1e-9 / scale)


@pytest.mark.parametrize(("method", "start"), [("two_stage", "skip"), ("two_stage", "sparse"), ("one_stage", "sparse")])
def test_where_b_starts(method, start):
    """The recovery finds the candidates that were planted, with the weight +1."""
    search = make_method(method, space="chain", arch_init=start)
    planted = [int(np.flatnonzero(np.abs(A.T @ b.detach().numpy()) > 0.999e-3)[0]) for A, b in _matrices(search)]
    search.recover(*[0] * (method == "one_stage"))
    assert [i for (i,) in search.architecture.support] == planted
    assert all(c.item() == 1.0 for c in search.connections().coefficients)
    if start == "skip":
        names = [block[0] for block in search.genotype().blocks]
        assert names == ["k3_e3", "skip", "skip"] * 2
    z = np.concatenate(search.architecture.z)
    np.testing.assert_allclose(z[np.abs(z) > 1e-12], 1e-3 - 1e-5, rtol=1e-9)  # less lambda, by the conditions of KKT


def _matrices(search):
    return zip(search.architecture.matrices, search.architecture.b)


def test_the_mixture_of_darts_has_no_none_and_as_many_shares_as_candidates():
    method = make_method("darts", space="chain", arch_init_scale=1.0)
    alpha, x = method.architecture["alpha"], noise(0, 4, 8)[0]
    assert alpha.shape == (6, 8)
    shares = [row[:size].softmax(0) for row, size in zip(alpha, method.space.sizes)]
    connections = method.connections()
    for mine, other in zip(connections.coefficients, shares, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=0.0)
    everything = Connections(tuple(tuple(range(size)) for size in method.space.sizes), tuple(shares))
    assert torch.equal(method.predict(x).logits, method.network(x, everything).logits)
    best = [node[int(share.argmax())] for node, share in zip(method.space.candidates, shares)]
    assert [block[0] for block in method.genotype().blocks] == best
    method.find_gradient(noise(1, 4, 8), noise(2, 4, 8))
    assert (alpha.grad[method.left_over] == 0.0).all() and (alpha.grad[~method.left_over] != 0.0).all()


@pytest.mark.parametrize(
    ("method", "values", "words"),
    [
        ("conas", {}, "--method conas searches in --space cells alone, not in chain"),
        ("pc_darts", {}, "--partial_channels 4 cannot be had in the space chain"),
        ("two_stage", {"sparseness": 7}, "sparseness 7 is more than the 6 candidate connections"),
        ("evaluation", {"arch": "all:skip", "auxiliary": True}, None),
        ("evaluation", {"arch": "ProxylessNAS_GPU"}, "other widths than --widths digits; give gpu"),
        ("evaluation", {"arch": "DARTS_V1"}, "unknown architecture 'DARTS_V1'"),
    ],
)
def test_what_is_refused(method, values, words):
    if words is None:
        with pytest.raises(UserError, match="--auxiliary cannot be had in the space chain"):
            make_options(method, "chain", widths="digits", **values).check_images(16, True)
        return
    with pytest.raises(UserError, match=words):
        options = make_options(method, "chain", widths="digits", **values)
        options.genotype()


@pytest.mark.parametrize(
    ("space", "sizes", "side"),
    [("chain", {}, 32), ("chain", {"widths": "cifar"}, 4), ("cells", {"stem": "imagenet"}, 32)],
)
def test_a_step_has_more_than_one_value_of_a_channel(space, sizes, side):
    """Of the smallest batch, at the end of the network; batch normalisation refuses what is refused here."""
    arch = "all:skip" if space == "chain" else "DARTS_V2"
    for of_batch in ({"batch_size": 1}, {"batch_size": 7, "grad_accum": 4}):
        options = make_options("evaluation", space, arch=arch, **sizes, **of_batch)
        options.check_images(side + 1, False)
        with pytest.raises(
            UserError, match=f"images of {side} pixels are one pixel .* by {side}, .* 2 or more at a time"
        ):
            options.check_images(side, False)
    replace(options, batch_size=8).check_images(side, False)
    network = isnas.network(arch, **sizes)
    network(torch.zeros(1, 3, side + 1, side + 1))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.zeros(1, 3, side, side))


def test_defaults_of_the_space_give_way_to_what_is_given():
    options = make_options("two_stage", "chain", sparseness=2)
    assert (options.sparseness, options.proj_dims, options.measurement) == (2, 4, "unit_gaussian")
    assert (options.gate, options.arch_init) == ("sign", "sparse")
    cells = make_options("two_stage")
    assert (cells.sparseness, cells.proj_dims, cells.measurement, cells.gate) == (2, 7, "uniform", "value")
    assert make_options("evaluation", "chain", arch="all:k3_e3").drop_path_prob == 0.0


def test_a_chain_is_trained_on_imagenet_with_the_config_of_chains(tmp_path):
    with pytest.raises(UserError, match="ProxylessNAS_GPU has other widths than --widths cpu; give gpu"):
        tool("evaluate_imagenet")(["--arch", "ProxylessNAS_GPU", "--data", str(tmp_path), "--widths", "cpu"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["darts", "random_ws", "random", "sampled_recovery"])
def test_other_methods_search_it(method, tmp_path):
    few = {"random_ws": ["--samples", "3", "--sample_batches", "1"], "random": ["--samples", "2"]}
    words = ["--method", method, "--epochs", "2", *TINY, *few.get(method, [])]
    tool("train_search")([*words, "--run_dir", str(tmp_path / "run")])
    found = json.loads((tmp_path / "run/genotype.json").read_text())["genotype"]
    assert [len(stage) for stage in found["chain"]] == [3, 3]
    assert method in METHODS and (tmp_path / "run/chain.svg").exists()


@pytest.mark.slow
def test_from_the_search_to_the_export(tmp_path, capsys, monkeypatch):
    """Every tool by its own way: the space, the images and the widths follow from the run."""
    monkeypatch.chdir(tmp_path)
    tool("train_search")([*TINY, "--epochs", "2", "--run_dir", "search"])
    rest = ["--batch_size", "50", "--max_train_images", "200", "--epochs", "1", "--threads", "1", "--no_tensorboard"]
    tool("evaluate")(["--arch", "search", *rest, "--run_dir", "found"])
    trained = load_trained(tmp_path / "found")
    genotype = ChainGenotype(tuple(tuple(stage) for stage in trained.genotype.chain))
    assert str(genotype) == json.loads((tmp_path / "search/genotype.json").read_text())["text"]
    assert trained.sizes == {"widths": "digits", "in_channels": 1, "num_classes": 10}
    log = (tmp_path / "found/log.txt").read_text()
    assert "the widths are those of search: --widths digits" in log and "the images are those of search" in log
    (tmp_path / "search/best").mkdir()  # as a search with several seeds leaves its own
    shutil.copy("search/genotype.json", "search/best")
    for arch in ("search", "search/best", "search/best/genotype.json"):
        _, options = parse_run(["--arch", arch], ["evaluation"], "evaluation", "")
        assert (options.widths, options.dataset) == ("digits", "digits")
        assert options.notes[0].startswith("the images are those of search, as no others are given")
    result = json.loads((tmp_path / "found/result.json").read_text())
    capsys.readouterr()
    tool("tester")(["found", "--device", "cpu"])
    assert f"test_acc {result['test_acc']:.6f}" in capsys.readouterr().out
    tool("count")(["--arch", "found"])
    assert f"{result['params_millions']:.6f} M parameters" in capsys.readouterr().out
    tool("evaluate")(["--weights", "found", *rest, "--run_dir", "tuned"])
    assert load_trained(tmp_path / "tuned").genotype == trained.genotype
    with pytest.raises(UserError, match="the network in found is of --space chain; leave --arch and --space out"):
        tool("evaluate")(["--weights", "found", "--space", "cells", "--run_dir", "none"])
    tool("export")(["found", "--format", "torch"])
    assert "from the network's" in capsys.readouterr().out
    tool("memory")([*TINY, "--topologies", "0"])
    assert "A step of two_stage" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train_search", "train_onestage"])
def test_kills_change_nothing(name, tmp_path):
    straight, run = tmp_path / "straight", tmp_path / "killed"
    own = ["--target_macs", 2.5, "--recover_every", 2, "--uniform_epochs", 1]
    if name == "train_onestage":
        own = ["--max_search_epochs", 2, "--termination_interval", 2]
    arguments = [*TINY, "--epochs", 3 if name == "train_search" else 1, *own]
    done = run_tool(f"{name}.py", *arguments, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    often = [*arguments, "--checkpoint_minutes", 1e-6]
    kill_when(f"{name}.py", *often, run_dir=run, reached=lambda state: state.get("global_step", 0) >= 4)
    run_and_kill(f"{name}.py", run_dir=run, kills=1, longest=0.3)
    assert set(differences(run, straight)) <= {"checkpoint_previous.pt"}  # of another moment


@pytest.mark.slow
def test_a_search_of_digits_that_starts_skipped_does_not_stay_so(tmp_path):
    """Half of the blocks that may be skipped are not in the end."""
    config = ["--config", "smoke/digits_chain", "--no_tensorboard", "--threads", "1", "--arch_init", "skip"]
    tool("train_search")([*config, "--run_dir", str(tmp_path / "run")])
    assert "Genotype(chain=['k3_e3 skip skip', 'k3_e3 skip skip'])" in (tmp_path / "run/log.txt").read_text()
    found = json.loads((tmp_path / "run/genotype.json").read_text())["genotype"]["chain"]
    assert sum(stage.count("skip") for stage in found) <= 2


def test_norms_may_be_spared_weight_decay():
    method = make_method("evaluation", space="chain", arch="all:k3_e3", decay_norms=False)
    decaying, spared = method.training.optimizer.param_groups
    flat = [p for name, p in method.network.named_parameters() if p.ndim == 1 and name != "classifier.bias"]
    assert {id(p) for p in spared["params"]} == {id(p) for p in flat}
    assert len(decaying["params"]) + len(flat) == len(list(method.network.parameters()))
    assert (decaying["weight_decay"], spared["weight_decay"]) == (3e-4, 0.0)

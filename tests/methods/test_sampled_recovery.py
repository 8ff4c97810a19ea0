"""Sampled recovery: what a step measures, what the warm-up leaves alone, what is recovered, what a budget buys."""

import copy
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from killing import kill_when, log_lines, metrics, run_and_kill, run_tool
from settings import make_method, noise
from sklearn.linear_model import Lasso

from isnas.base.errors import UserError
from isnas.methods.registry import make_options
from isnas.methods.sampled_recovery import SampledRecovery, described, split_half
from isnas.space.connections import Connections
from isnas.sparse.recovery import above_the_next, top_support

NAME, ETA = "sampled_recovery", 0.7


def make_search(**options):
    return make_method(NAME, **{"num_nodes": 2, "arch_learning_rate": ETA, "warmup_portion": 0.0} | options)


def batch(number):
    return noise(number, image_size=8)


def scores_of(method):
    """u of every node."""
    return [rows.detach().numpy().sum(0) for rows in method.architecture.scores]


def gradient_at_one(network, support, x, labels, h=1e-5):
    """dL/dc of every active connection at c = 1, by central differences, as one list per node."""
    ones = [torch.ones(len(node), dtype=torch.float64) for node in support]

    def loss(node, place, value):
        c = [each.clone() for each in ones]
        c[node][place] = value
        with torch.no_grad():
            return F.cross_entropy(network(x, Connections(support, tuple(c))).logits, labels).item()

    return [
        [(loss(node, place, 1 + h) - loss(node, place, 1 - h)) / (2 * h) for place in range(len(active))]
        for node, active in enumerate(support)
    ]


@pytest.mark.parametrize("measurement, dims", [("unit_gaussian", 7), ("uniform", 14), ("gaussian", 3)])
def test_a_step_measures_the_slope_of_the_loss_in_what_was_drawn(measurement, dims):
    method = make_search(measure="gradient", measurement=measurement, proj_dims=dims)
    A = [getattr(method.architecture, f"A{j}").numpy() for j in range(4)]
    b = [np.zeros(dims) for _ in A]
    u = [np.zeros((2, size)) for size in method.space.sizes]
    for number in range(3):
        method.begin_epoch(number)
        method.before_step(number)
        assert method.measured != method.support
        after_w = copy.deepcopy(method)
        after_w.update_w(*batch(number))
        method.step(batch(number), batch(100 + number))
        for name, value in method.network.named_parameters():
            assert torch.equal(value, after_w.network.get_parameter(name))  # the second batch is b's alone
        gradients = gradient_at_one(after_w.network, method.measured, *batch(100 + number))
        for j, (active, g) in enumerate(zip(method.measured, gradients, strict=True)):
            b[j] -= ETA * A[j][:, list(active)] @ g
            u[j][number % 2, list(active)] -= ETA * np.array(g)
    for j in range(4):
        np.testing.assert_allclose(method.architecture.b[j].detach(), b[j], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(method.architecture.scores[j].detach(), u[j], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(method.architecture.b[j].detach(), A[j] @ u[j].sum(0), rtol=1e-5, atol=1e-9)
        assert np.abs(u[j]).max() > 1e-4


def test_a_step_measures_how_far_the_loss_is_below_the_mean_of_those_before():
    method = make_search()
    b = [np.zeros(7) for _ in range(4)]
    u = [np.zeros((2, size)) for size in method.space.sizes]
    losses, mean = [], 0.0
    for number in range(14):  # beyond the tenth the newest loss has always a tenth of the mean
        method.begin_epoch(number)
        method.before_step(number)
        after_w = copy.deepcopy(method)
        after_w.update_w(*batch(number))
        method.step(batch(number), batch(100 + number))
        x, labels = batch(100 + number)
        with torch.no_grad():
            losses.append(F.cross_entropy(after_w.network(x, Connections(method.measured)).logits, labels).item())
        mean = np.mean(losses) if number < 10 else 0.9 * mean + 0.1 * losses[-1]
        for j, active in enumerate(method.measured):
            u[j][number % 2, list(active)] -= ETA * (losses[-1] - mean)
            b[j] -= ETA * (losses[-1] - mean) * method.architecture.matrices[j][:, list(active)].sum(1)
    assert method.architecture.mean_loss.item() == pytest.approx(mean, rel=1e-6)
    for j in range(4):
        np.testing.assert_allclose(method.architecture.b[j].detach(), b[j], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(method.architecture.scores[j].detach(), u[j], rtol=1e-5, atol=1e-7)
        assert np.abs(u[j]).max() > 1e-2
    state = method.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in after_w.network.named_parameters())


def test_both_steps_draw_uniformly_and_by_themselves():
    method, again = make_search(), make_search()
    drawn = [[method.sample(purpose, number) for number in range(300)] for purpose in ("w", "b")]
    assert drawn[0][7] == again.sample("w", 7) and drawn[0][0] != make_search(seed=1).sample("w", 0)
    assert sum(x == y for x, y in zip(*drawn)) < 3
    for supports in drawn:
        counts = np.bincount([k for support in supports for k in support[1]], minlength=21)
        assert len(counts) == 21 and 10 < counts.min() < counts.max() < 55  # 29 +- 5
    distinct = make_search(distinct_inputs=True)
    nodes = [node for number in range(100) for node in distinct.sample("b", number)]
    assert all(len({k // 7 for k in node}) == 2 for node in nodes)


def test_the_warm_up_trains_w_on_another_support_at_every_step_and_leaves_b():
    method = make_search(epochs=5, warmup_portion=0.4, measure="gradient")
    assert method.options.num_warmup_epochs == 2
    seen = set()
    for number in range(4):
        method.begin_epoch(number // 2)
        method.before_step(number)
        seen.add(method.support)
        before = method.network.classifier.weight.detach().clone()
        method.step(batch(number), batch(100 + number))
        method.end_epoch()
        assert method.space.support(method.genotype()) == method.support  # what ran last is shown
        assert not torch.equal(before, method.network.classifier.weight)
        assert not any(part.any() for part in method.architecture.parameters())
        assert method.report().values == {}
    assert len(seen) == 4
    method.begin_epoch(2)
    method.before_step(4)
    method.step(batch(4), batch(104))
    assert all(part.any() for part in method.architecture.measuring())
    method.end_epoch()
    assert method.support != method.sample("w", 4) and method.space.support(method.genotype()) == method.support
    assert method.report().values["scores/split_half"] is None  # the odd steps have measured nothing


@pytest.mark.parametrize(
    "epochs, portion, expected", [(1, 0.5, 0), (2, 0.5, 1), (50, 0.5, 25), (10, 0.99, 9), (9, 0.33, 3), (9, 0.0, 0)]
)
def test_the_warm_up_has_whole_epochs_and_never_all_of_them(epochs, portion, expected):
    assert make_options(NAME, epochs=epochs, warmup_portion=portion).num_warmup_epochs == expected


def set_scores(method, u):
    """Let these be the scores, and b what is measured of them."""
    architecture = method.architecture
    with torch.no_grad():
        for j, part in enumerate(u):
            architecture.scores[j][0] = torch.from_numpy(part)
            architecture.b[j].copy_(getattr(architecture, f"A{j}") @ torch.from_numpy(part))


def lasso(A, b, lam):
    """The same objective, by coordinate descent."""
    fitted = Lasso(alpha=lam / len(b), fit_intercept=False, tol=1e-13, max_iter=10**6).fit(A, b)
    return fitted.coef_


def drawn_scores(method, seed):
    """Dense ones, normal, another vector for each node."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(size) for size in method.space.sizes]


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("shift", [False, True])
def test_the_architecture_is_the_largest_z_of_the_lasso(shift, distinct):
    """By another solver; the shift and the choice written out."""
    method = make_search(shift=shift, distinct_inputs=distinct, lasso_lambda=0.02)
    u = drawn_scores(method, 1)
    set_scores(method, u)
    for _ in method.choose(None):
        pass
    for j, part in enumerate(u):
        A = method.architecture.matrices[j]
        of_groups = [max(part[p * 7 : p * 7 + 7]) for p in range(len(part) // 7)] if distinct else part
        threshold = sorted(of_groups)[-3] if len(of_groups) > 2 else part.min()
        moved = np.array([max(value - threshold, 0.0) for value in part]) if shift else part
        z = lasso(A, A @ moved, 0.02)
        np.testing.assert_allclose(method.solutions[j].z, z, atol=1e-6)
        first = int(z.argmax())
        others = [k for k in range(len(z)) if k != first and not (distinct and k // 7 == first // 7)]
        assert method.support[j] == tuple(sorted((first, max(others, key=lambda k: z[k]))))
    assert method.space.support(method.genotype()) == method.support


def test_a_harmful_connection_is_not_chosen_though_it_has_the_largest_magnitude():
    method = make_search(proj_dims=14)
    u = [np.zeros(size) for size in method.space.sizes]
    for part in u:
        part[[2, 5, 9]] = 1.0, 1.5, -8.0
    set_scores(method, u)
    method.recover()
    assert method.support == ((2, 5),) * 4
    assert all(9 in top_support(solution.z, 2) for solution in method.solutions)


@pytest.mark.parametrize("dims, least", [(7, 0.8), (14, 0.95), (35, 1.0)])
def test_the_shift_recovers_the_highest_scores_in_the_full_size_space(dims, least):
    """4 nodes, 7 operations; a step is taken at this size too."""
    method = make_method(NAME, warmup_portion=0.0, measure="gradient", proj_dims=dims, shift=True, init_channels=2)
    assert method.space.sizes == (14, 21, 28, 35) * 2
    method.begin_epoch(0)
    method.before_step(0)
    method.step(batch(0), batch(1))
    assert all(part.shape == (dims,) and part.any() for part in method.architecture.b)
    found = []
    for seed in range(8):
        u = drawn_scores(method, seed)
        set_scores(method, u)
        method.recover()
        found += [set(kept) == set(np.argsort(part)[-2:]) for kept, part in zip(method.support, u)]
        assert method.architecture.largest(u) == tuple(tuple(sorted(np.argsort(part)[-2:].tolist())) for part in u)
    assert np.mean(found) >= least


def test_scores_can_choose_without_any_compression():
    method = make_search(choose_by="scores", proj_dims=1)
    u = drawn_scores(method, 3)
    set_scores(method, u)
    method.recover()
    assert method.support == tuple(tuple(sorted(np.argsort(part)[-2:].tolist())) for part in u)
    assert method.report().values["scores/kept"] == 1.0


def test_what_is_above_the_next_largest():
    u = np.array([3.0, -1.0, 2.0, 5.0, 2.5])
    assert above_the_next(u, 2).tolist() == [0.5, 0, 0, 2.5, 0]
    assert above_the_next(u, 2, [0, 0, 1, 1, 2]).tolist() == [0.5, 0, 0, 2.5, 0]
    assert above_the_next(u, 1, [0, 0, 1, 1, 1]).tolist() == [0, 0, 0, 2, 0]
    assert above_the_next(u, 5).tolist() == [4, 0, 3, 6, 3.5]
    assert above_the_next(u, 2, [0, 0, 1, 1, 1]).tolist() == [4, 0, 3, 6, 3.5]


def test_equal_values_keep_the_lower_index():
    assert top_support(np.array([-3.0, 1.0, 2.0, 1.0]), 2, signed=True) == (1, 2)
    assert top_support(np.zeros(4), 2, signed=True) == (0, 1)


def test_the_correlation_of_the_halves():
    rng = np.random.default_rng(0)
    signal = [rng.standard_normal(2000) for _ in range(2)]
    halves = [np.stack([part + rng.standard_normal(2000) for _ in range(2)]) for part in signal]
    assert split_half(halves) == pytest.approx(0.5, abs=0.06)  # a half of each one's variance is signal
    assert split_half([np.stack([part, -part]) for part in signal]) == pytest.approx(-1.0)
    assert split_half([np.zeros((2, 5)), halves[0]]) is None
    assert split_half([np.full((2, 5), np.nan)]) is None


def test_a_line_of_scores():
    names = ("pool of 0", "skip of 0", "pool of 1", "skip of 1")
    assert (
        described(np.array([0.5, -2.0, 1.0, 0.25]), (0, 2), names)
        == "pool of 1 +1, pool of 0 +0.5; next skip of 1 +0.25"
    )
    assert described(np.array([0.5, -2.0]), (0, 1), names[:2]) == "pool of 0 +0.5, skip of 0 -2"
    method = make_search()
    assert [len(each) for each in method.space.candidate_names] == list(method.space.sizes)
    assert method.space.candidate_names[2][9] == "skip_connect of 1" and method.space.connection(9) == (
        "skip_connect",
        1,
    )


@pytest.mark.parametrize("portion", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("steps_per_epoch", [1, 3])
@pytest.mark.parametrize("measure", ["loss", "gradient"])
def test_the_longest_search_within_a_budget(portion, steps_per_epoch, measure):
    """Of all numbers of epochs and steps, each with its own warm-up."""
    options = make_options(NAME, warmup_portion=portion, batch_size=10, measure=measure)
    costs = {}
    for epochs in range(1, 30):
        planned = replace(options, epochs=epochs)
        of_epochs = [10 * SampledRecovery.passes_of_step(planned, epoch) for epoch in range(epochs)]
        for steps in range((epochs - 1) * steps_per_epoch + 1, epochs * steps_per_epoch + 1):
            costs[steps] = epochs, sum(of_epochs[step // steps_per_epoch] for step in range(steps))
    for budget in range(20, 200, 7):
        steps = max(steps for steps, (_, cost) in costs.items() if cost <= budget + 1e-9)
        planned, found = SampledRecovery.within_budget(replace(options, budget=float(budget)), 100, steps_per_epoch)
        assert (planned.epochs, found) == (costs[steps][0], steps)


@pytest.mark.parametrize("measure", ["loss", "gradient"])
def test_a_search_goes_on_from_its_state(measure):
    straight, resumed = make_search(measure=measure), make_search(measure=measure)
    for number in range(3):
        straight.begin_epoch(number)
        straight.before_step(number)
        straight.step(batch(number), batch(100 + number))
    file = io.BytesIO()
    torch.save(straight.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for method in (straight, resumed):
        method.begin_epoch(3)
        method.before_step(3)
        method.step(batch(3), batch(103))
        method.end_epoch()
    assert straight.report() == resumed.report() and straight.genotype() == resumed.genotype()
    for part, other in zip(straight.weights().values(), resumed.weights().values()):
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in part.state_dict().items())


@pytest.mark.parametrize("measure", ["loss", "gradient"])
def test_a_scaled_loss_measures_the_same(measure):
    """fp16 scales the loss; b and the scores get the gradient without the scale."""
    found = {}
    for amp in ("off", "fp16"):
        method = make_search(amp=amp, measure=measure, measurement="uniform")
        method.network.float()
        for number in range(2):
            method.begin_epoch(number)
            method.before_step(number)
            x, labels = batch(number)
            method.update_b(x.float(), labels)
        found[amp] = torch.cat([part.detach().flatten() for part in method.architecture.parameters()])
    assert 0.0 < (found["fp16"] - found["off"]).norm() < 0.05 * found["off"].norm()


@pytest.mark.parametrize(
    "values, words",
    [
        ({"warmup_portion": 1.0}, "warmup_portion"),
        ({"shift": True, "choose_by": "scores"}, "--shift has no effect on --choose_by scores; leave one of them out"),
        ({"choose_by": "b"}, "choose_by"),
        ({"solver_max_iter": 5}, "solver_max_iter has no effect on the solver homotopy"),
        ({"sparseness": 3, "distinct_inputs": True}, "sparseness 3 is more than the 2 predecessors"),
    ],
)
def test_what_cannot_be_is_one_line(values, words):
    with pytest.raises(UserError, match=words) as error:
        make_options(NAME, **values)
    assert "\n" not in str(error.value)


SMALL = ["--method", NAME, "--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3]
SMALL += ["--epochs", 3, "--max_train_images", 200, "--batch_size", 20, "--report_freq", 1, "--no_tensorboard"]
SMALL += ["--held_out_portion", 0.1, "--seed", 3, "--warmup_portion", 0.34, "--shift"]


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    straight, run = tmp_path / "straight", tmp_path / "killed"
    done = run_tool("train_search.py", *SMALL, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    often = [*SMALL, "--checkpoint_minutes", 1e-6]
    for place, least in (([*often], 2), ([], 7)):  # in the warm-up, and after it
        kill_when(
            "train_search.py", *place, run_dir=run, reached=lambda state, n=least: state.get("global_step", 0) >= n
        )
    run_and_kill("train_search.py", run_dir=run, kills=2, longest=0.5)

    assert {path.name for path in run.iterdir()} == {path.name for path in straight.iterdir()}
    assert (run / "genotype.json").read_bytes() == (straight / "genotype.json").read_bytes()
    mine, other = (torch.load(folder / "weights.pt", weights_only=True) for folder in (run, straight))
    assert mine.keys() == other.keys() == {"network", "architecture"}
    for part, state in mine.items():
        assert all(torch.equal(value, other[part][name]) for name, value in state.items())
    assert metrics(run) == metrics(straight) and metrics(run)[-1]["scores/split_half"] is not None
    assert log_lines(run) == log_lines(straight)
    assert (run / "genotypes.jsonl").read_text() == (straight / "genotypes.jsonl").read_text()

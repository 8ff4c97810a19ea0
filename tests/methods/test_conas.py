"""CoNAS: what is drawn, what the stages fix given losses whose best bits are known, and that kills change nothing."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from killing import differences, kill_when, run_and_kill, run_tool
from scipy.stats import binomtest, chisquare
from settings import make_method, noise

from isnas.base.errors import UserError
from isnas.engine.averages import Scores, evaluate
from isnas.methods.registry import make_options
from isnas.space.connections import bits_of

STAGES = {"num_nodes": 2, "measurements": 120, "monomials": 5, "stages": 3, "measure_batches": 2}
NUM_BITS = 50


def signs(support, sizes):
    """The encoder (n,) of a support, -1 or +1."""
    return np.where(bits_of(support, sizes), 1, -1)


def test_bits_are_independent_coins():
    method = make_method("conas", bernoulli_p=0.25)
    drawn = np.array([method.stages.draw("step", number) for number in range(2000)])
    assert drawn.shape == (2000, 140)
    assert binomtest(int(drawn.sum()), drawn.size, 0.25).pvalue > 1e-3
    pairs = np.array([[(drawn[:, 0] == a) & (drawn[:, k] == b) for a in (0, 1) for b in (0, 1)] for k in (1, 70, 139)])
    for counts in pairs.sum(-1):
        assert chisquare(counts, 2000 * np.array([9, 3, 3, 1]) / 16).pvalue > 1e-3
    assert len({row.tobytes() for row in drawn}) == 2000
    again = make_method("conas", bernoulli_p=0.25).stages
    assert again.draw("step", 7) == drawn[7].tolist() != again.draw("measurement", 7)
    method.stages.masks.append([1, -1, 0] * 46 + [0, 0])
    held = np.array([method.stages.draw("measurement", 2, number) for number in range(50)])
    assert held[:, 0:138:3].all() and not held[:, 1:138:3].any() and 0 < held[:, 2:138:3].sum() < 46 * 50


def test_a_step_trains_what_runs_alone():
    method = make_method("conas")
    before = {name: value.clone() for name, value in method.network.named_parameters()}
    method.begin_epoch(0)
    method.before_step(0)
    running = {id(parameter) for parameter in method.network.running_parameters(method.connections())}
    method.step(noise(0))
    moved = {name for name, value in method.network.named_parameters() if not torch.equal(value, before[name])}
    expected = {name for name, value in method.network.named_parameters() if id(value) in running}
    assert moved == expected and 0 < len(moved) < len(before)


class Planted:
    """Losses that fall with the bits in ``useful``, rise with those in ``harmful``, and with a pair that is alike."""

    useful, harmful, pair = (3, 20, 31, 44), (0, 7, 26, 49), (10, 11)

    def __init__(self, method):
        self.method, self.asked = method, []

    def loss(self, alpha):
        ranked = [(bit, -1) for bit in self.useful] + [(bit, 1) for bit in self.harmful]
        single = sum(sign * (1 + 0.1 * place) * alpha[bit] for place, (bit, sign) in enumerate(ranked))
        return float(20.0 + single + 0.9 * alpha[self.pair[0]] * alpha[self.pair[1]])

    def __call__(self, predict, num_batches, first=0, whole=False):
        self.asked.append((self.method.support, num_batches, first))
        return Scores(self.loss(signs(self.method.support, self.method.space.sizes)), 50.0, 100.0)


def test_useful_connections_are_kept_and_harmful_ones_left_out():
    """The constant is one of the five terms, so three stages find four of the nine each, and the one that is left."""
    method = make_method("conas", **STAGES)
    judge = Planted(method)
    rows = [row for row in method.choose(judge) if row]
    final = method.stages.masks[-1]
    assert [final[bit] for bit in Planted.useful] == [1] * 4 and [final[bit] for bit in Planted.harmful] == [-1] * 4
    assert final[10] * final[11] == -1
    for before, after in zip(method.stages.masks, method.stages.masks[1:]):
        assert all(new == old for old, new in zip(before, after) if old)
    first, second, third = (figures.loss_mean for figures in method.stages.figures)
    assert first > second + 2 > third + 2
    assert [row["stage"] for row in rows] == sorted([1, 2, 3] * 120) and {len(row["bits"]) for row in rows} == {
        NUM_BITS
    }
    for row in rows:
        alpha = [1 if bit == "1" else -1 for bit in row["bits"]]
        assert row["loss"] == pytest.approx(judge.loss(alpha))
        assert all(alpha[place] == bit for place, bit in enumerate(method.stages.masks[row["stage"] - 1]) if bit)
    assert {(batches, start) for _, batches, start in judge.asked} == {(2, 0)}
    best = min(rows[:120], key=lambda row: row["loss"])  # of the first stage, where all is random
    assert (
        method.stages.best == (best["loss"], best["bits"])
        and method.report().values["choice/best_sampled"] == best["loss"]
    )
    assert method.stages.of_result == judge.loss(signs(method.support, method.space.sizes)) <= best["loss"]
    assert all(method.genotype().normal) and all(method.genotype().reduce)
    assert set(method.beside()) == {"best_sampled", "stage_1", "stage_2"}
    support = method.space.support(method.beside()["stage_1"])
    assert all(
        bit <= 0 or bits_of(support, method.space.sizes)[place] for place, bit in enumerate(method.stages.masks[1])
    )


def test_losses_that_are_no_numbers_are_left_out_and_counted():
    method = make_method("conas", **STAGES | {"stages": 1})

    class Broken(Planted):
        def __call__(self, *arguments, **more):
            scores = super().__call__(*arguments, **more)
            number = len(self.asked)
            return scores._replace(loss={3: float("nan"), 5: float("inf"), 6: 1e6}.get(number, scores.loss))

    rows = [row for row in method.choose(Broken(method)) if row]
    assert [rows[number]["loss"] for number in (2, 4, 5)] == [None, None, 1e6]
    assert method.stages.figures[0].missing == 2 == method.stages.figures[0].left_out
    bounded = make_method("conas", **STAGES | {"stages": 1, "max_loss": 100.0})
    for _ in bounded.choose(Broken(bounded)):
        pass
    assert bounded.stages.figures[0].left_out == 3 and bounded.stages.figures[0].loss_mean < 30
    assert [bounded.stages.masks[-1][bit] for bit in Planted.harmful] == [-1] * 4  # the largest coefficients
    warned, silent = (any("far above" in line for line in each.report().lines) for each in (method, bounded))
    assert warned and not silent
    none = make_method("conas", **STAGES | {"stages": 1, "max_loss": 1e-9})
    with pytest.raises(
        UserError, match="0 of 120 measured losses are left, fewer than the --monomials 5; start a new run"
    ):
        for _ in none.choose(Broken(none)):
            pass


def test_it_goes_on_wherever_it_is_stopped():
    small = STAGES | {"measurements": 12, "monomials": 2, "stages": 2}
    straight = make_method("conas", **small)
    states, rows = [], []
    for row in straight.choose(Planted(straight)):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(straight.state_dict(), states[-1])
    assert len(states) == 2 * (12 + 1) + 1
    for number, state in enumerate(states, start=1):
        state.seek(0)
        other = make_method("conas", **small)
        other.load_state_dict(torch.load(state, weights_only=True))
        assert list(other.choose(Planted(other))) == rows[number:]
        assert other.report() == straight.report() and other.genotype() == straight.genotype()
        assert other.beside() == straight.beside()


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_a_measurement_moves_nothing_and_is_the_loss_of_the_sub_network(statistics):
    method = make_method("conas", measure_bn=statistics)
    method.before_step(0)
    method.network.train()
    method.predict(noise(5)[0])
    before = {name: value.clone() for name, value in method.network.state_dict().items()}
    x, labels = noise(1)

    def judge(predict, num_batches, first=0, whole=False):
        assert whole == (statistics == "batch")
        method.network.eval()
        return evaluate(predict, [(x, labels)], x.device)

    with torch.no_grad():
        row = next(method.choose(judge))
    assert all(torch.equal(value, before[name]) for name, value in method.network.state_dict().items())
    method.network.train(statistics == "batch")
    alone = torch.nn.functional.cross_entropy(method.predict(x).logits, labels).detach()
    assert row["loss"] == pytest.approx(float(alone), rel=1e-12)


def test_each_its_own_batches():
    method = make_method("conas", **STAGES | {"stages": 1, "measurements": 5, "monomials": 2, "same_batches": False})
    judge = Planted(method)
    for _ in method.choose(judge):
        pass
    assert [first for _, _, first in judge.asked] == [0, 2, 4, 6, 8, 0]  # the last is the result


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"measurements": 9}, "--measurements 9 are fewer than the --monomials 10 that they are to tell"),
        ({"monomials": 24}, "--monomials 24 of degree 2 can connect 25 bits, .* among 24; give 23 or fewer"),
        ({"monomials": 12, "degree": 3}, "of degree 3 can connect 25 bits, .*; give 11 or fewer"),
        ({"bernoulli_p": 0.0}, "bernoulli_p must be greater than 0"),
        ({"bernoulli_p": 1.0}, "bernoulli_p must be less than 1"),
        ({"preset": "release", "monomials": 10}, "--monomials 10 contradicts --preset release, which has 12; leave"),
        ({"recovery": "iht", "lasso_lambda": 2.0}, "have no effect with --recovery iht"),
        ({"sparseness": 3}, "--sparseness has no effect"),
        (
            {"operations": ("sep_conv_3x3",)},
            "a node may be left without connections: .*add skip_connect to --operations",
        ),
    ],
)
def test_mistakes(values, words):
    with pytest.raises(UserError, match=words):
        make_options("conas", **values)
    make_options("conas", monomials=300, degree=1)
    make_options("conas", preset="release", max_loss=3.0)


def test_presets_are_the_papers_and_the_releases_settings():
    paper, release = make_options("conas"), make_options("conas", preset="release", epochs=2)
    assert sum(paper.make_space().sizes) == 140 and sum(release.make_space().sizes) == 196
    assert (paper.measurements, paper.monomials, paper.degree, paper.stages) == (1000, 10, 2, 1)
    assert (paper.lasso_lambda, paper.lasso_form, paper.bernoulli_p) == (1.0, "paper", 0.5)
    assert (release.measurements, release.monomials, release.lasso_lambda, release.lasso_form) == (
        3000,
        12,
        10.0,
        "half",
    )
    assert release.max_loss == 1.5 and release.grad_clip == 0.25 and release.pool_bn and not release.same_batches
    method = make_method("conas", pool_bn=True)
    method.before_step(0)
    assert method.genotype().extra_bn == "pools"


SMALL = ["--method", "conas", "--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3]
SMALL += ["--epochs", 1, "--max_train_images", 200, "--batch_size", 16, "--num_nodes", 2, "--measure_batches", 1]
SMALL += ["--measurements", 8, "--monomials", 3, "--stages", 2, "--report_freq", 1, "--held_out_portion", 0.1]
SMALL += ["--no_tensorboard", "--seed", 3]


def measured(stage, state):
    """Whether a checkpoint was made amid the measurements of a stage."""
    method = state.get("method") or {}
    return bool(method.get("losses")) and len(method["figures"]) == stage - 1


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    """In the one-shot training, in the measurements of both stages, and wherever else."""
    straight, run = tmp_path / "straight", tmp_path / "killed"
    often = [*SMALL, "--checkpoint_minutes", 1e-6]
    done = run_tool("train_search.py", *often, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    state = kill_when("train_search.py", *often, run_dir=run, reached=lambda state: state.get("global_step", 0) >= 2)
    assert state["method"]["losses"] == [] and state["global_step"] < 5
    for stage in (1, 2):
        kill_when("train_search.py", run_dir=run, reached=partial(measured, stage))
    run_and_kill("train_search.py", run_dir=run, kills=1, longest=0.3)
    assert set(differences(run, straight)) <= {"checkpoint_previous.pt"}  # of another moment
    assert len((run / "measurements.jsonl").read_text().splitlines()) == 16
    for name in ("best_sampled.json", "stage_1.json"):
        trained = run_tool("count.py", "--arch", run / name, folder=tmp_path)
        assert trained.returncode == 0, trained.stderr

"""Searches on text: what runs in a step and in a measurement, what is chosen of losses that are known, files, kills."""

import json
import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from killing import differences, kill_when, metrics, run_and_kill, run_tool
from scipy.stats import binomtest, chisquare
from small_texts import drawn_words, make_language, write_text

from isnas.base.errors import DivergedError, UserError
from isnas.base.options import build
from isnas.data.text.batches import columns
from isnas.data.text.folders import read_folder
from isnas.engine.language.search import search_language
from isnas.methods.language_search import RecurrentConas, RecurrentRandomWS
from isnas.space.connections import bits_of, support_of
from isnas.space.recurrent.genotype import genotype_from_json
from isnas.space.recurrent.space import RecurrentSpace

STAGES = {"num_nodes": 3, "measurements": 150, "monomials": 6, "later_monomials": 3, "clip_quantile": 1.0}
SIZES = (4, 8, 12)


def make_conas(**values):
    return make_language(RecurrentConas, **STAGES | values)


def finished(method, judge):
    """The rows of the choice."""
    return [row for row in method.choose(judge) if row]


def test_in_a_step_a_node_without_any_connection_gets_a_random_one():
    method = make_language(RecurrentConas)
    spare = []
    for step in range(600):
        method.before_step(step)
        drawn = support_of(method.stages.draw("step", step), method.space.sizes)
        assert all(now == before for now, before in zip(method.support, drawn) if before)
        filled = [now for now, before in zip(method.support, drawn) if not before]
        assert all(len(node) == 1 for node in filled)
        spare += method.support[0] if not drawn[0] else ()
        assert all(max(node) < size for node, size in zip(method.support, method.space.sizes))
    assert binomtest(len(spare), 600, 1 / 16).pvalue > 1e-3
    assert chisquare(np.bincount(spare, minlength=4)).pvalue > 1e-3
    again = make_language(RecurrentConas)
    again.before_step(599)
    assert again.support == method.support


def test_a_step_trains_the_nodes_that_run():
    method = make_conas()
    method.begin_epoch()
    method.support = ((1,), (), (0, 5))
    before = {name: value.clone() for name, value in method.network.named_parameters()}
    method.step((drawn_words(4, 6, "x"), drawn_words(4, 6, "y")), 1.0, 0, 0)
    still = {name for name, value in method.network.named_parameters() if torch.equal(value, before[name])}
    assert still == {"cell.weights.1"}


def loss_of_text(network, table, support):
    """Of every word but a column's first: an embedding, a cell written out below, and the tied decoder."""
    sigmoid, functions = torch.sigmoid, (torch.tanh, torch.relu, torch.sigmoid, lambda g: g)
    cell, h, losses = network.cell, torch.zeros(table.shape[1], network.embedding.shape[1], dtype=torch.float64), []
    weights = [weight.double() for weight in cell.weights]
    for words, following in pairwise(table):
        c, g = (torch.cat([network.embedding[words].double(), h], 1) @ cell.input_weight.double()).chunk(2, 1)
        states = [h + sigmoid(c) * (torch.tanh(g) - h)]
        for weight, node in zip(weights, support):
            terms = []
            for candidate in node:
                predecessor, operation = divmod(candidate, 4)
                s = states[predecessor]
                c, g = (s @ weight).chunk(2, 1)
                terms.append(s + sigmoid(c) * (functions[operation](g) - s))
            states.append(sum(terms) / len(terms) if terms else torch.zeros_like(h))
        h = sum(states[1:]) / len(weights)
        scores = h @ network.embedding.double().T + network.decoder_bias.double()
        losses += (scores.exp().sum(1).log() - scores.gather(1, following[:, None])[:, 0]).tolist()
    return sum(losses) / len(losses)


class Planted:
    """Losses that are known of the bits; node 1 of the best cell is without connections."""

    useful, harmful, pair = (5, 14), (0, 1, 2, 3, 9), (16, 17)

    def __init__(self, method):
        self.method, self.asked = method, []

    def loss(self, bits):
        alpha = [1 if bit else -1 for bit in bits]
        ranked = [(bit, 1) for bit in self.harmful] + [(bit, -1) for bit in self.useful]
        single = sum(sign * (0.1 + 0.01 * place) * alpha[bit] for place, (bit, sign) in enumerate(ranked))
        return 5.0 + single - 0.05 * alpha[self.pair[0]] * alpha[self.pair[1]]

    def __call__(self, support):
        self.asked.append(support)
        return self.loss(bits_of(support, SIZES))


def test_stages_fix_the_bits_that_matter_and_a_relu_stands_in():
    """The constant is one of the terms: 5 bits are found, then 2, and the relu of node 0 is what node 1 reads."""
    method = make_conas()
    judge = Planted(method)
    rows = finished(method, judge)
    assert [row["stage"] for row in rows] == [1] * 150 + [2] * 150
    assert all(row["loss"] == judge.loss([bit == "1" for bit in row["bits"]]) for row in rows)
    assert [len(judge.asked), [figures.terms for figures in method.stages.figures]] == [301, [6, 3]]
    assert [figures.fixed for figures in method.stages.figures] == [5, 2]
    final = method.stages.masks[-1]
    assert [final[bit] for bit in (*Planted.useful, *Planted.harmful)] == [1] * 2 + [-1] * 5
    assert method.genotype().recurrent == ((("relu", 0),), (("relu", 0),), (("sigmoid", 0),))
    assert judge.asked[-1] == method.support == ((1,), (1,), (2,)) and all(map(all, [judge.asked[-1]]))
    assert method.stages.of_result == judge(method.support)
    empty = [support for support in judge.asked[:150] if not all(support)]
    assert binomtest(len(empty), 150, 1 - (1 - 2**-4) * (1 - 2**-8) * (1 - 2**-12)).pvalue > 1e-3 and empty


def test_a_polynomial_of_the_perplexity_and_of_clipped_losses():
    """The means of a stage are what it recovers, of all losses but those that are no numbers."""

    class Broken(Planted):
        def __call__(self, support):
            loss = super().__call__(support)
            return {3: math.nan, 4: math.inf, 5: 1000.0}.get(len(self.asked), loss)

    for values, change in (
        ({}, lambda y: y),
        ({"measured": "perplexity"}, np.exp),
        ({"clip_quantile": 0.8}, lambda y: np.minimum(y, np.quantile(y, 0.8))),
    ):
        method = make_conas(stages=1, **values)
        rows = finished(method, Broken(method))
        assert [rows[number]["loss"] for number in (2, 3, 4)] == [None, None, 1000.0]
        y = np.array([row["loss"] for row in rows if row["loss"] is not None])
        figures = method.stages.figures[0]
        left_out = 3 if values.get("measured") else 2  # e^1000 is no number either
        assert figures.left_out == figures.missing == left_out
        y = y if left_out == 2 else y[y < 100]
        assert figures.loss_mean == pytest.approx(change(y).mean()) and figures.loss_worst == pytest.approx(
            change(y).max()
        )


@pytest.mark.parametrize("kind", [RecurrentConas, RecurrentRandomWS])
def test_a_choice_goes_on_wherever_it_is_stopped(kind):
    small = STAGES | {"measurements": 6, "monomials": 2, "later_monomials": 2}
    small = small if kind is RecurrentConas else {"num_nodes": 3, "samples": 7}
    straight = make_language(kind, **small)
    rows, states = [], []
    for row in straight.choose(Planted(straight)):
        rows.append(row)
        states.append(straight.state_dict())
    for number, state in enumerate(states, start=1):
        other = make_language(kind, **small)
        other.load_state_dict(state)
        assert list(other.choose(Planted(other))) == rows[number:]
        assert other.report() == straight.report() and other.genotype() == straight.genotype()


def test_random_search_takes_the_least_loss():
    method = make_language(RecurrentRandomWS, num_nodes=3, samples=40)
    losses = {2: math.nan, 5: math.inf, 11: 0.5, 30: 0.75}
    asked = []

    def judge(support):
        asked.append(support)
        return losses.get(len(asked) - 1, 2.0 + len(asked) / 100)

    rows = finished(method, judge)
    assert [row["loss"] for row in rows[:6]] == [2.01, 2.02, None, 2.04, 2.05, None]
    finite = [row["loss"] for row in rows if row["loss"] is not None]
    assert method.support == asked[11] and all(len(node) == 1 for support in asked for node in support)
    assert method.report().values == {"choice/best": 0.5, "choice/median": sorted(finite)[19]}
    method.before_step(11)
    assert method.support != asked[11] and len(set(asked)) > 35
    none = make_language(RecurrentRandomWS, num_nodes=3, samples=4)
    with pytest.raises(UserError, match="none of 4 measured losses is finite; start a new run with a smaller"):
        finished(none, lambda support: math.nan)


def small_search(kind, folder, **values):
    """A search in this process; its options and its folder."""
    fixed = {"data": str(write_text(folder / "text")), "run_dir": str(folder / "run"), "nhid": 8, "batch_size": 8}
    fixed |= {"bptt": 10, "valid_batch_size": 7, "device": "cpu", "tensorboard": False, "epochs": 2, "num_nodes": 3}
    search_language(
        kind, build(kind.Options, {"dropout": 0.2, "dropoutx": 0.2, "learning_rate": 10.0} | fixed | values)
    )
    return folder / "run"


@pytest.mark.parametrize(("kind", "predicted"), [(RecurrentConas, 0), (RecurrentRandomWS, 0), (RecurrentRandomWS, 6)])
def test_a_search_writes_what_it_has_measured_and_chosen(kind, predicted, tmp_path):
    """The losses are those of its super-net's weights, computed here from the text in the folder."""
    more = {"measurements": 25, "monomials": 4, "later_monomials": 3} if kind is RecurrentConas else {"samples": 25}
    run = small_search(kind, tmp_path, measure_rows=predicted, **more)
    text = read_folder("textfolder", str(tmp_path / "text"))
    space = RecurrentSpace(num_nodes=3)
    network = space.super_net(vocabulary=len(text.vocabulary), ninp=8, nhid=8)
    network.load_state_dict(torch.load(run / "weights.pt", weights_only=True)["network"])
    table = columns(text.valid, 7, "the text")
    measured = table[: predicted + 1] if predicted else table
    rows = [json.loads(line) for line in (run / "measurements.jsonl").read_text().splitlines()]
    assert len(rows) == 25 * (1 + (kind is RecurrentConas))
    if kind is RecurrentConas:
        supports = [support_of([bit == "1" for bit in row["bits"]], SIZES) for row in rows]
        assert any(not all(support) for support in supports)  # a node of zeros
    else:
        method = make_language(kind, num_nodes=3)
        supports = [method.sample("choice", row["number"]) for row in rows]
    with torch.no_grad():
        for row, support in zip(rows, supports):
            assert row["loss"] == pytest.approx(loss_of_text(network, measured, support), rel=1e-5)
        written = json.loads((run / "genotype.json").read_text())
        chosen = space.support(genotype_from_json(written["genotype"]))
        assert written["valid_ppl"] == pytest.approx(math.exp(loss_of_text(network, table, chosen)), rel=1e-5)
    last = metrics(run)[-1]
    assert last["final"] and last["valid/perplexity"] == written["valid_ppl"]
    of_choice = (len(rows) + (kind is RecurrentConas)) * (len(measured) - 1) * 7 / 3
    assert written["word_passes"] == pytest.approx(2 * (1350 // 8 - 1) * 8 + of_choice)
    names = {"best_sampled.json", "stage_1.json"} if kind is RecurrentConas else set()
    assert names | {"cell.png", "cell.svg"} <= {path.name for path in run.iterdir()}
    if kind is RecurrentRandomWS:
        assert chosen == supports[min(range(25), key=lambda number: rows[number]["loss"])]


class Exploding(RecurrentRandomWS):
    """A weight is large beyond measure but while a step is taken: the loss of any text is no number."""

    def step(self, words, rate, epoch, step):
        weight = self.network.cell.weights[0].data
        weight.div_(1e30 if step else 1.0)
        loss = super().step(words, rate, epoch, step)
        weight.mul_(1e30)
        return loss


def test_a_random_cell_that_makes_no_number_of_the_text_does_not_end_the_training(tmp_path):
    """It tells nothing of the next; a loss of the training that is no number ends it."""
    run = small_search(Exploding, tmp_path / "a", samples=8, epochs=1)
    row, last = metrics(run)
    assert row["valid/loss"] is row["valid/perplexity"] is None and row["train/loss"] < 4
    losses = [json.loads(line)["loss"] for line in (run / "measurements.jsonl").read_text().splitlines()]
    assert None in losses and last["valid/loss"] == min(filter(None, losses))
    with pytest.raises(DivergedError, match="training diverged"):
        small_search(RecurrentRandomWS, tmp_path / "b", learning_rate=1e6, grad_clip=1e30)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"measurements": 9}, "--measurements 9 are fewer than the --monomials 10"),
        ({"measurements": 12, "later_monomials": 13}, "--measurements 12 are fewer than the --later_monomials 13"),
        ({"later_monomials": 24}, "--later_monomials 24 of degree 2 can connect 25 bits"),
        ({"operations": ("tanh", "identity")}, "a node may be left without connections: .*add relu to --operations"),
        ({"operations": ("skip_connect",)}, "unknown operations 'skip_connect'; choose from tanh, relu"),
        ({"measured": "accuracy"}, "unknown measured 'accuracy'; choose from log_perplexity, perplexity"),
        ({"num_nodes": 0}, "num_nodes must be at least 1"),
    ],
)
def test_mistakes(values, words):
    with pytest.raises(UserError, match=words):
        make_language(RecurrentConas, **values)


SMALL = ["--space", "recurrent", "--data", "text", "--nhid", 8, "--batch_size", 8, "--bptt", 10, "--num_nodes", 2]
SMALL += ["--valid_batch_size", 7, "--epochs", 2, "--learning_rate", 10, "--report_freq", 5, "--seed", 3]
OWN = {"conas": ["--measurements", 12, "--monomials", 3, "--later_monomials", 2], "random_ws": ["--samples", 12]}


def measured(count, state):
    """Whether a checkpoint was made after so many measurements of the first stage, and amid them."""
    method = state.get("method") or {}
    return count <= len(method.get("losses", ())) < 12 or len(method.get("figures", ())) > 0


@pytest.mark.slow
@pytest.mark.parametrize("method", OWN)
def test_kills_change_nothing(method, tmp_path):
    """In the training, in the measurements, and wherever else."""
    write_text(tmp_path / "text")
    straight, run = tmp_path / "straight", tmp_path / "killed"
    words = [*SMALL, "--method", method, *OWN[method]]
    done = run_tool("train_search.py", *words, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    often = [*words, "--checkpoint_minutes", 1e-6]
    state = kill_when("train_search.py", *often, run_dir=run, reached=lambda state: state.get("step", 0) >= 3)
    assert state["method"]["descent"]["state"].any() and state["epoch"] < 2
    kill_when("train_search.py", run_dir=run, reached=partial(measured, 4))
    run_and_kill("train_search.py", run_dir=run, kills=1, longest=0.3)
    assert set(differences(run, straight)) <= {"checkpoint.pt", "checkpoint_previous.pt"}  # of other moments
    assert len((run / "measurements.jsonl").read_text().splitlines()) == (24 if method == "conas" else 12)

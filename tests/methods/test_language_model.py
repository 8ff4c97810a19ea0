"""The training of a language model: when the average begins and what it is, the best network, divergence, kills."""

import copy
import json
import math

import pytest
import torch
from killing import differences, kill_when, log_lines, metrics, run_and_kill, run_tool
from small_texts import drawn_words, in_windows, make_language, write_text

from isnas.base.errors import DivergedError, UserError
from isnas.base.options import build
from isnas.base.random import generator
from isnas.data.text.batches import columns
from isnas.data.text.folders import read_folder
from isnas.engine.language.trained import load_model
from isnas.engine.language.training import train_language
from isnas.methods.language_model import LanguageModel
from isnas.methods.options.language_model import LanguageModelOptions
from isnas.space.recurrent.genotype import genotype_from_text
from isnas.train.language import mean_loss

CELL = "Genotype(recurrent=[('relu', 0), [('tanh', 0), ('sigmoid', 1)]], concat=range(1, 3))"


def make_model(**values):
    return make_language(LanguageModel, **{"arch": CELL, "learning_rate": 0.5} | values)


def batch(number):
    return drawn_words(4, 6, f"inputs {number}"), drawn_words(4, 6, f"targets {number}")


def parameters(network):
    return [parameter.detach().clone() for parameter in network.parameters()]


def first_rise(losses, nonmono):
    """The first epoch whose loss is above the least of all that lie more than ``nonmono`` epochs before the last."""
    for epoch, loss in enumerate(losses):
        stored = losses[:epoch]
        if len(stored) > nonmono and loss > min(stored[: len(stored) - nonmono]):
            return epoch
    return None


SCRIPTS = {
    "falls": ([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0], None),
    "rises at once": ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 6),
    "worse than the oldest": ([5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 5.5], 6),
    "worse than the latest alone": ([5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.5], None),
    "worse than the second": ([5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.5, 1.5], 7),
    "equal": ([5.0] * 9, None),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_average_begins_when_the_loss_does_not_fall_any_more(script):
    losses, expected = SCRIPTS[script]
    assert first_rise(losses, 5) == expected
    model = make_model()
    for epoch, loss in enumerate(losses):
        lines = model.validated(loss, epoch)
        begun = expected is not None and epoch >= expected
        assert (model.average is not None) == begun == (model.result is not model.network)
        assert any("average" in line for line in lines) == (epoch == expected)
    assert model.losses == losses


@pytest.mark.parametrize("nonmono", [0, 1, 5])
def test_the_average_begins_by_the_rule_whatever_the_losses(nonmono):
    begun = set()
    for number in range(20):
        losses = (5.0 - torch.rand(12, generator=generator(number, "losses")).cumsum(0) / (1 + number % 4)).tolist()
        losses = [loss + 0.5 * (epoch % 3) for epoch, loss in enumerate(losses)]
        model = make_model(nonmono=nonmono)
        found = None
        for epoch, loss in enumerate(losses):
            model.validated(loss, epoch)
            if found is None and model.average is not None:
                found = epoch
        assert found == first_rise(losses, nonmono)
        begun.add(found)
    assert len(begun) > 1


def test_what_is_validated_is_the_mean_of_the_weights_since_and_they_go_on():
    model, plain = make_model(nonmono=0), make_model(nonmono=10**6)
    for each in (model, plain):
        each.begin_epoch()
        each.step(batch(0), 1.0, 0, 0)
        each.validated(1.0, 0)
        each.step(batch(1), 1.0, 1, 0)
        each.validated(2.0, 1)
    assert model.average is not None and plain.average is None
    assert all(map(torch.equal, parameters(model.result), parameters(model.network)))
    iterates = []
    for step in range(5):
        for each in (model, plain):
            each.step(batch(2 + step), 1.0 + step, 2, step)
        iterates.append(parameters(model.network))
        assert all(map(torch.equal, parameters(model.network), parameters(plain.network)))
        for mean, *values in zip(parameters(model.result), *iterates):
            torch.testing.assert_close(mean, torch.stack(values).mean(0), rtol=1e-12, atol=1e-15)
    assert not any(map(torch.equal, parameters(model.result), parameters(model.network)))
    assert not any(parameter.requires_grad for parameter in model.average.parameters())


def test_the_best_network_is_kept_as_it_was():
    model = make_model(nonmono=0)
    model.begin_epoch()
    kept = {}
    for epoch, loss in enumerate([3.0, 2.0, 2.5, 1.5, 1.75]):  # from epoch 2 on the average
        for step in range(3):
            model.step(batch(step), 1.0, epoch, step)
        kept[epoch] = parameters(model.result)
        lines = model.validated(loss, epoch)
        assert any("the best so far" in line for line in lines) == (loss == min(model.losses))
    assert model.best_epoch == 3 and model.average is not None
    assert not any(map(torch.equal, kept[3], parameters(model.network)))
    assert all(map(torch.equal, parameters(model.take_best()), kept[3]))


@pytest.mark.parametrize("averaging", [False, True])
def test_it_goes_back_to_the_best_network_and_averages_anew(averaging):
    model = make_model(nonmono=0 if averaging else 10**6)
    assert not model.roll_back() and model.rolled_back == 0
    model.begin_epoch()
    for epoch, loss in enumerate([2.0, 3.0, 1.0]):
        for step in range(3):
            model.step(batch(step), 1.0, epoch, step)
        best = parameters(model.result)
        model.validated(loss, epoch)
    for network in (model.network, model.result):
        for parameter in network.parameters():
            parameter.data.fill_(math.nan)
    assert model.roll_back() and model.rolled_back == 1
    for network in (model.network, model.result):
        assert all(map(torch.equal, parameters(network), best))
    model.begin_epoch()
    model.step(batch(7), 1.0, 3, 0)
    assert all(map(torch.equal, parameters(model.result), parameters(model.network)))  # of a single step
    assert (model.average is not None) == averaging and not torch.equal(parameters(model.network)[0], best[0])


def test_masks_are_a_function_of_seed_epoch_and_step():
    def after(seed, epoch, step):
        model = make_model(seed=seed)
        model.network.load_state_dict(start)
        model.begin_epoch()
        model.step(batch(0), 1.0, epoch, step)
        return model.network.embedding.detach()

    start = copy.deepcopy(make_model().network.state_dict())
    found = [after(*numbers) for numbers in [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3), (0, 2, 1)]]
    assert torch.equal(found[0], after(0, 1, 2))
    assert all(not torch.equal(one, other) for k, one in enumerate(found) for other in found[:k])


def test_a_pass_begins_with_a_state_of_zeros():
    model = make_model()
    model.begin_epoch()
    first = copy.deepcopy(model)
    model.step(batch(0), 1.0, 0, 0)
    model.network.load_state_dict(first.network.state_dict())
    model.begin_epoch()
    for each in (model, first):
        each.step(batch(1), 1.0, 0, 1)
    assert torch.equal(model.descent.state, first.descent.state)


class Poisoned(LanguageModel):
    """Its weights are no numbers any more in the middle of these epochs."""

    epochs = ()

    def step(self, words, rate, epoch, step):
        if step == 3 and epoch in self.epochs:
            self.network.decoder_bias.data.fill_(math.nan)
        return super().step(words, rate, epoch, step)


def small_options(folder, **values):
    """Of a training in this process."""
    fixed = {"data": str(write_text(folder / "text")), "run_dir": str(folder / "run"), "nhid": 8, "batch_size": 8}
    fixed |= {"bptt": 10, "valid_batch_size": 4, "device": "cpu", "tensorboard": False, "dropoutx": 0.2, "epochs": 5}
    return build(LanguageModelOptions, {"arch": CELL, "dropout": 0.2, "report_freq": 7, "beta": 0.0} | fixed | values)


@pytest.mark.parametrize("epochs", [(2,), (1, 4)])
def test_a_training_that_diverges_goes_back_and_on(epochs, tmp_path, monkeypatch):
    monkeypatch.setattr(Poisoned, "epochs", epochs)
    train_language(Poisoned, small_options(tmp_path, weights_format="safetensors"))
    result = json.loads((tmp_path / "run/result.json").read_text())
    rows = metrics(tmp_path / "run")
    assert result["rolled_back"] == len(epochs) and [row["epoch"] for row in rows] == [
        epoch for epoch in range(5) if epoch not in epochs
    ]
    best = min(rows, key=lambda row: row["valid/loss"])
    assert result["best_epoch"] == best["epoch"] and result["valid_ppl"] == math.exp(best["valid/loss"])
    lines = log_lines(tmp_path / "run")
    for epoch in epochs:
        said = lines.index(f"training diverged: the loss is nan in epoch {epoch}")
        earlier = min((row for row in rows if row["epoch"] < epoch), key=lambda row: row["valid/loss"])["epoch"]
        assert lines[said + 1] == f"went back to the network of epoch {earlier}, the best so far"
    trained, text = load_model(tmp_path / "run/weights.safetensors"), read_folder("textfolder", str(tmp_path / "text"))
    assert (trained.genotype, trained.vocabulary) == (genotype_from_text(CELL), text.vocabulary)
    for part, batch_size, name in ((text.valid, 4, "valid_ppl"), (text.test, 1, "test_ppl")):
        loss = mean_loss(trained.network, in_windows(columns(part, batch_size, "the text"), 50))
        assert math.exp(loss) == pytest.approx(result[name], rel=1e-5)
    passes = rows[-1]["cost/word_passes"]
    assert result["word_passes"] > passes if rows[-1]["epoch"] < 4 else result["word_passes"] == passes
    (tmp_path / "often").mkdir()
    train_language(Poisoned, small_options(tmp_path / "often", checkpoint_minutes=1e-6))
    assert metrics(tmp_path / "often/run") == rows  # though checkpoints find weights that are no numbers


def test_a_training_that_diverges_at_once_ends_in_one_line(tmp_path):
    with pytest.raises(
        DivergedError, match=r"training diverged: .* in epoch 0; start .* smaller --learning_rate"
    ) as error:
        train_language(LanguageModel, small_options(tmp_path, learning_rate=1e6, grad_clip=1e30))
    assert "\n" not in str(error.value) and not (tmp_path / "run/result.json").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"arch": ""}, "give --arch: a published recurrent cell .DARTS_V1, .*, or random:SEED"),
        ({"arch": "ISTA_onestage"}, "unknown architecture 'ISTA_onestage': give a published recurrent cell"),
        ({"nonmono": -1}, "nonmono must be at least 0"),
        ({"dropout": 1.0}, "dropout must be less than 1"),
        ({"grad_accum": 7}, "--grad_accum 7 is more than the 6 columns of a batch"),
        ({"data": "", "dataset": "ptb"}, "--dataset ptb needs --data FOLDER"),
    ],
)
def test_mistakes(values, words):
    with pytest.raises(UserError, match=words):
        make_model(**values)


SMALL = ["--arch", CELL, "--data", "text", "--nhid", 8, "--batch_size", 8, "--bptt", 10, "--valid_batch_size", 4]
SMALL += ["--epochs", 5, "--nonmono", 0, "--learning_rate", 30, "--report_freq", 5, "--seed", 3, "--dropout", 0.2]
SMALL += ["--dropoutx", 0.2, "--grad_clip", 1]


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    """One before the average has begun, one after, and where it comes."""
    write_text(tmp_path / "text")
    straight, run = tmp_path / "straight", tmp_path / "killed"
    done = run_tool("evaluate.py", *SMALL, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    averaging = [row["averaging"] for row in metrics(straight)]
    begun = averaging.index(1.0)
    assert begun == first_rise([row["valid/loss"] for row in metrics(straight)], 0) + 1 < 5
    often = [*SMALL, "--checkpoint_minutes", 1e-6]
    state = kill_when("evaluate.py", *often, run_dir=run, reached=lambda state: state.get("step", 0) >= 3)
    assert state["model"]["average"] is None and state["model"]["descent"]["state"].any()
    state = kill_when(
        "evaluate.py", run_dir=run, reached=lambda state: state["model"]["num_averaged"] >= 2 and state["step"] >= 2
    )
    assert state["model"]["average"] is not None
    run_and_kill("evaluate.py", run_dir=run, kills=1, longest=0.3)
    assert set(differences(run, straight)) <= {"checkpoint_previous.pt"}  # of another moment

"""A step of a language model and the loss of a whole text, against both written out in float64."""

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from small_texts import CPU, WORDS, drawn_words, in_windows
from torch.optim import SGD

from isnas.base.random import generator, initialising
from isnas.data.text.batches import columns
from isnas.engine.language.averages import WordAverages, WordScores
from isnas.engine.language.tables import judged
from isnas.space.connections import Connections, support_of
from isnas.space.recurrent.space import RecurrentSpace
from isnas.train.language import Descent, mean_loss
from isnas.train.stepping import Stepping
from isnas.train.train_options import DescentOptions, StepOptions

SPACE = RecurrentSpace(num_nodes=3)
NHID = 5
#: node 2 has no connection, so its weight does not run
SUPPORT = ((0, 2), (), (1, 4, 7, 11))


@dataclass(frozen=True)
class Options(DescentOptions, StepOptions):
    pass


def make_network(**dropout):
    with initialising(0, "weights"):
        network = SPACE.super_net(vocabulary=WORDS, ninp=NHID, nhid=NHID, **dropout).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(15.0)
        network.decoder_bias.copy_(torch.linspace(-1.0, 1.0, WORDS))
    return network


def make_descent(network, **values):
    options = Options(**{"bptt": 4, "batch_size": 6, "learning_rate": 0.5} | values)
    optimizer = SGD(network.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    return Descent(network, options, Stepping(options, CPU)), optimizer


def written_out(network, words, state, masks, rate, options):
    """Loss, state and parameters by name after a step."""
    named = dict(network.named_parameters())
    inputs, targets = words
    x = named["embedding"][inputs] * masks.words[inputs][..., None] * masks.inputs
    raw = network.cell(x, state, SUPPORT, masks.states)
    dropped = raw * masks.outputs
    scores = dropped @ named["embedding"].T + named["decoder_bias"]
    of_targets = torch.gather(scores, 2, targets[..., None])[..., 0]
    loss = (scores.exp().sum(-1).log() - of_targets).mean()
    total = loss + options.alpha * (dropped**2).sum() / dropped.numel()
    changes = raw[1:] - raw[:-1]
    total = total + options.beta * (changes**2).sum() / changes.numel()
    gradients = dict(zip(named, torch.autograd.grad(total, list(named.values()), allow_unused=True)))
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values() if g is not None))
    scale = min(1.0, options.grad_clip / (norm + 1e-6))  # as torch has it
    step = options.learning_rate * rate
    after = {
        name: value
        if gradients[name] is None
        else value - step * (scale * gradients[name] + options.weight_decay * value)
        for name, value in named.items()
    }
    return loss.item(), raw[-1].detach(), {name: value.detach().clone() for name, value in after.items()}, norm


@pytest.mark.parametrize("grad_clip", [0.05, 100.0])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_step_is_the_update_written_out(grad_clip, parts):
    """Over three windows, the state carried on; a batch of 6 in 4 parts has parts of two sizes."""
    network = make_network(dropout=0.3, dropouth=0.25, dropoutx=0.2, dropouti=0.2, dropoute=0.3)
    descent, optimizer = make_descent(
        network, alpha=0.7, beta=0.9, weight_decay=0.01, grad_clip=grad_clip, grad_accum=parts
    )
    state = torch.zeros(6, NHID, dtype=torch.float64)
    for number, (length, rate) in enumerate([(4, 1.0), (7, 1.75), (2, 0.5)]):
        words = drawn_words(length, 6, f"x {number}"), drawn_words(length, 6, f"y {number}")
        before = copy.deepcopy(network)
        masks = network.draw_masks(6, generator(0, "masks", number))
        loss = descent.step(words, rate, generator(0, "masks", number), optimizer, Connections(SUPPORT))
        expected, state, after, norm = written_out(before, words, state, masks, rate, descent.options)
        assert (norm > grad_clip) == (grad_clip < 1)
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(descent.state, state, rtol=1e-12, atol=1e-14)
        assert not descent.state.requires_grad
        for name, value in network.named_parameters():
            torch.testing.assert_close(value.detach(), after[name], rtol=1e-11, atol=1e-14)
            assert torch.equal(value, before.get_parameter(name)) == (name == "cell.weights.1"), name
            assert value.grad is None
    assert descent.stepping.cost.image_passes == 6 * (4 + 7 + 2)


def test_without_penalties_a_step_is_of_the_loss_alone():
    found = {}
    for name, values in {"none": {"beta": 0.0}, "alpha": {"alpha": 0.5, "beta": 0.0}, "beta": {"beta": 0.5}}.items():
        network = make_network(dropout=0.3)
        descent, optimizer = make_descent(network, grad_clip=100.0, **values)
        words = drawn_words(4, 6, "x"), drawn_words(4, 6, "y")
        loss = descent.step(words, 1.0, generator(0, "masks"), optimizer, Connections(SUPPORT))
        found[name] = loss.item(), network.embedding.detach()
    assert found["none"][0] == found["alpha"][0] == found["beta"][0]
    assert not torch.equal(found["none"][1], found["alpha"][1]) and not torch.equal(found["none"][1], found["beta"][1])


def test_a_descent_goes_on_from_its_state():
    network = make_network()
    descent, optimizer = make_descent(network)
    assert descent.state_dict() == {"state": None}
    descent.step((drawn_words(4, 6, "x"), drawn_words(4, 6, "y")), 1.0, generator(0, "masks"), optimizer)
    other, _ = make_descent(network)
    other.load_state_dict(descent.state_dict())
    assert torch.equal(other.state, descent.state) and descent.state.any()
    for wrong in (descent.state[:4], descent.state[:, :3]):
        with pytest.raises(ValueError, match="it has no states of these columns"):
            other.load_state_dict({"state": wrong})


def a_word_at_a_time(network, table, support):
    """The mean loss of every word but a column's first."""
    losses = []
    for column in table.T.tolist():
        state = torch.zeros(1, NHID, dtype=torch.float64)
        for word, following in pairwise(column):
            x = network.embedding[word].view(1, 1, NHID)
            state = network.cell(x, state, support)[0]
            scores = (network.embedding @ state[0] + network.decoder_bias).detach()
            losses.append(math.log(sum(math.exp(score) for score in scores.tolist())) - scores[following].item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("words", "batch_size"), [(50, 1), (50, 4), (9, 4)])
@pytest.mark.parametrize("support", [SUPPORT, support_of([True] * 24, SPACE.sizes)])
def test_the_loss_of_a_text_is_that_of_its_words_one_by_one(words, batch_size, support):
    network = make_network(dropout=0.5, dropouth=0.5, dropoutx=0.5, dropouti=0.5, dropoute=0.5).eval()
    table = columns(drawn_words(words, 1, "text")[:, 0], batch_size, "the text")
    expected = a_word_at_a_time(network, table, support)
    for length in (1, 3, 7, 100):
        assert mean_loss(network, in_windows(table, length), Connections(support)) == pytest.approx(expected, rel=1e-12)


def test_perplexity_is_the_exponential_of_the_mean_over_words():
    averages = WordAverages(CPU)
    averages.add(torch.tensor(2.0), 30)
    averages.add(torch.tensor(5.0), 10)
    scores = averages.scores()
    assert scores.loss == pytest.approx(2.75) and scores.perplexity == pytest.approx(math.exp(2.75))
    assert WordScores(710.0).perplexity == math.inf
    assert WordScores(710.0).named("valid") == {"valid/loss": 710.0, "valid/perplexity": None}


def test_of_a_large_vocabulary_fewer_words_are_scored_at_once():
    tokens = torch.zeros(10_000, dtype=torch.int64)
    lengths = {words: judged(tokens, 10, "the text", words, CPU).length for words in (36, 10_000, 10**6, 10**9)}
    assert lengths == {36: 409, 10_000: 409, 10**6: 6, 10**9: 1}
    assert 6 * 10 * 10**6 * 4 < 2**28  # bytes

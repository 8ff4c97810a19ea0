"""DARTS: the mixture, both orders, running statistics, and what is kept of a table; kills change nothing."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from killing import differences, kill_when, run_and_kill, run_tool
from reference import literal_forward
from settings import make_method, noise
from torch.func import functional_call

from isnas.base.errors import UserError
from isnas.methods import mixed
from isnas.methods.registry import make_options
from isnas.space.connections import Connections

EDGES = [2, 3, 4, 5] * 2
SMOOTH = ["avg_pool_3x3", "skip_connect", "sep_conv_3x3"]


def literal_weights(alpha):
    """Of each node the softmax weights of its candidates; the zero operation has its share and adds nothing."""
    nodes = []
    for rows in alpha.split(EDGES):
        weights = []
        for row in rows:
            total = sum(value.exp() for value in row)
            weights += [value.exp() / total for value in row[:-1]]
        nodes.append(torch.stack(weights))
    return nodes


def test_every_candidate_has_its_share_of_the_softmax():
    method = make_method("darts", arch_init_scale=1.0)
    x, labels = noise(0)
    alpha = method.architecture["alpha"]
    assert alpha.shape == (28, 8) and 0.8 < alpha.std() < 1.2
    logits = literal_forward(method.network, literal_weights(alpha), x)
    (wanted,) = torch.autograd.grad(F.cross_entropy(logits, labels), [alpha])
    torch.testing.assert_close(method.predict(x).logits, logits, rtol=1e-10, atol=1e-12)
    method.find_gradient(noise(1), (x, labels))
    torch.testing.assert_close(alpha.grad, wanted, rtol=1e-8, atol=1e-12)
    assert (alpha.grad[:, -1] != 0).all()


def unrolled_loss(method, alpha, train, valid):
    """The validation loss at W after a step of SGD with these alphas on the training batch, as a formula."""

    def loss(weights, batch):
        scores = functional_call(method.network, weights, (batch[0], Connections(method.everything, coefficients)))
        return F.cross_entropy(scores.logits, batch[1])

    coefficients = tuple(literal_weights(alpha))
    (group,) = method.w_optimizer.param_groups
    weights = {name: value.detach().requires_grad_() for name, value in method.network.named_parameters()}
    gradients = torch.autograd.grad(loss(weights, train), list(weights.values()))
    moved = {}
    for (name, value), gradient, parameter in zip(weights.items(), gradients, method.network.parameters()):
        buffer = method.w_optimizer.state[parameter]["momentum_buffer"]
        moved[name] = value - group["lr"] * (0.9 * buffer + gradient + 3e-4 * value)
    return loss(moved, valid).item()


@pytest.fixture
def smooth(monkeypatch):
    """After a step, in a network without corners, in which a difference is close to the derivative."""
    monkeypatch.setattr(F, "relu", F.softplus)
    monkeypatch.setattr(F, "relu_", F.softplus)
    method = make_method(
        "darts", unrolled=True, operations=SMOOTH, init_channels=2, arch_init_scale=1.0, learning_rate=0.1
    )
    method.step(noise(0), noise(1))
    return method


@pytest.mark.parametrize("distance, tolerance", [(0.01, 5e-6), (1e-4, 1e-9)])
def test_second_order_is_the_slope_of_the_unrolled_loss(smooth, monkeypatch, distance, tolerance):
    monkeypatch.setattr(mixed, "_DISTANCE", distance)
    train, valid, h = noise(2), noise(3), 1e-4
    before = {name: value.clone() for name, value in smooth.network.state_dict().items()}
    smooth.find_gradient(train, valid)
    for name, value in smooth.network.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0.0, atol=0.0)
    alpha = smooth.architecture["alpha"]
    found = alpha.grad
    for place in [(0, 0), (1, 2), (5, 3), (13, 1), (14, 2), (27, 0)]:  # (., 3) is `none`
        ends = []
        for sign in (1.0, -1.0):
            moved = alpha.detach().clone()
            moved[place] += sign * h
            ends.append(unrolled_loss(smooth, moved, train, valid))
        assert found[place].item() == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=tolerance)
    alpha.grad = None
    smooth.stepping.backward(smooth.mixed_loss, valid, [alpha])
    assert (found - alpha.grad).abs().max() > 1000 * tolerance


@pytest.mark.parametrize(
    "values, momenta",
    [
        ({}, [0.0, 0.1]),
        ({"unrolled": True}, [0.0, 0.0, 0.0, 0.0, 0.1]),
        ({"arch_moves_statistics": True}, [0.1, 0.1]),
        ({"arch_moves_statistics": True, "unrolled": True}, [0.1, 0.0, 0.1, 0.1, 0.1]),  # never at W'
    ],
)
def test_running_statistics_move_with_w_alone_unless_asked(values, momenta):
    method, seen = make_method("darts", num_nodes=2, **values), []
    expected = copy.deepcopy(method.network)
    method.network.stem.bn.register_forward_pre_hook(lambda module, _: seen.append(module.momentum))
    train, valid = noise(0, image_size=8), noise(1, image_size=8)
    method.step(train, valid)
    assert seen == momenta
    if sum(momenta) == 0.1:
        expected(train[0], method.connections())
        for name, value in expected.named_buffers():
            torch.testing.assert_close(method.network.get_buffer(name), value, rtol=1e-9, atol=1e-12)


def table(method, rows):
    """A search whose weights of candidates are proportional to these, of every node's edges; the last is `none`."""
    with torch.no_grad():
        method.architecture["alpha"].copy_(torch.tensor(rows, dtype=torch.float64).log())
    return method.genotype()


def test_what_is_kept_of_a_table():
    """Two operations and `none`, two nodes: of equals the lower predecessor and operation, and `none` never."""
    method = make_method("darts", num_nodes=2, operations=["skip_connect", "sep_conv_3x3"])
    even = [[1, 1, 1]] * 5
    found = table(method, even + even)
    first = (("skip_connect", 0), ("skip_connect", 1))
    assert found.normal == found.reduce == (first, first)
    # (1, 2, 7): 0.2 of the whole, less than (3, 3, 4), which is a tie of 0.3, twice; and (1, 8, 1) is the strongest
    found = table(
        method, [[2, 1, 97], [1, 2, 97], [3, 3, 4], [1, 2, 7], [1, 8, 1], *even[:2], [1, 3, 6], [3, 1, 6], [3, 1, 6]]
    )
    assert found.normal == (
        (("skip_connect", 0), ("sep_conv_3x3", 1)),
        (("skip_connect", 0), ("sep_conv_3x3", 2)),
    )
    assert found.reduce == (first, (("sep_conv_3x3", 0), ("skip_connect", 1)))
    method = make_method("darts", num_nodes=2, operations=["skip_connect", "sep_conv_3x3"], sparseness=1)
    assert [len(node) for node in table(method, even + even).normal] == [1, 1]


METHODS = {
    "darts": {},
    "darts --unrolled": {"unrolled": True},
    "pc_darts": {"arch_start_epoch": 0},
    "pc_darts --unrolled": {"arch_start_epoch": 0, "unrolled": True},
}


def make(name, **values):
    small = {"init_channels": 4, "num_nodes": 2, "arch_init_scale": 0.5, "learning_rate": 0.1}
    return make_method(name.split()[0], **small | METHODS[name] | values)


@pytest.mark.parametrize("name", METHODS)
def test_the_layout_changes_nothing(name):
    both = [make(name, channels_last=channels_last, arch_moves_statistics=True) for channels_last in (True, False)]
    for number in range(2):
        results = [method.step(noise(number, image_size=8), noise(10 + number, image_size=8)) for method in both]
        torch.testing.assert_close(*[result.logits for result in results], rtol=1e-7, atol=1e-9)
    first, second = (method.architecture.state_dict() | method.network.state_dict() for method in both)
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_a_search_goes_on_from_its_state(name):
    straight, other = make(name), make(name, seed=1)
    for number in range(3):
        if number == 2:
            other.load_state_dict(copy.deepcopy(straight.state_dict()))
            other.step(noise(2, image_size=8), noise(12, image_size=8))
        straight.step(noise(number, image_size=8), noise(10 + number, image_size=8))
    for module, same in zip(straight.weights().values(), other.weights().values(), strict=True):
        for key, value in module.state_dict().items():
            assert torch.equal(value, same.state_dict()[key]), key
    assert straight.genotype() == other.genotype()


@pytest.mark.parametrize(
    "more, words",
    [({"amp": "fp16"}, "leave out --amp fp16"), ({"nesterov": True}, "leave out --nesterov")],
)
@pytest.mark.parametrize("method", ["darts", "pc_darts"])
def test_what_second_order_cannot_have(method, more, words):
    with pytest.raises(UserError, match=words):
        make_options(method, unrolled=True, **more)
    make_options(method, **more)


SMALL = ["--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3, "--epochs", 3, "--seed", 3]
SMALL += ["--max_train_images", 200, "--batch_size", 24, "--report_freq", 1, "--no_tensorboard", "--num_nodes", 2]
FLAGS = {name: [] for name in METHODS} | {"pc_darts": ["--arch_start_epoch", 1, "--partial_channels", 2]}


def at_least(steps, state):
    """Whether a checkpoint holds so many steps."""
    return state.get("global_step", 0) >= steps


@pytest.mark.slow
@pytest.mark.parametrize("name", ["darts", "darts --unrolled", "pc_darts"])
def test_kills_change_nothing(name, tmp_path):
    straight, run = tmp_path / "straight", tmp_path / "killed"
    arguments = ["--method", *name.split(), *SMALL, *FLAGS[name]]
    done = run_tool("train_search.py", *arguments, "--run_dir", straight, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    often = [*arguments, "--checkpoint_minutes", 1e-6]
    for least in (2, 6):  # of 12 steps; pc_darts learns alpha and beta from the fifth on
        reached = partial(at_least, least)
        state = kill_when("train_search.py", *often, run_dir=run, reached=reached)
        assert state["global_step"] < 12
    assert state["method"]["arch_optimizer"]["state"]
    run_and_kill("train_search.py", run_dir=run, kills=1, longest=0.3)
    assert set(differences(run, straight)) <= {"checkpoint_previous.pt"}  # of another moment

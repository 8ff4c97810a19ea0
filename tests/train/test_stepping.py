"""Precision, parts of a batch, layout and compilation, each against the plain step."""

import copy

import pytest
import torch
import torch.nn.functional as F

from isnas.base.random import initialising
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import target_network
from isnas.train.stepping import Stepping
from isnas.train.train_options import StepOptions

CPU = torch.device("cpu")
NODES = ((("sep_conv_3x3", 0), ("skip_connect", 1)), (("max_pool_3x3", 0), ("dil_conv_5x5", 2)))
GENOTYPE = Genotype(normal=NODES, normal_concat=(2, 3), reduce=NODES, reduce_concat=(2, 3))


def make_network():
    with initialising(0, "weights"):
        return target_network(GENOTYPE, stem="cifar", in_channels=3, num_classes=10, init_channels=4, layers=3)


def batch(size=12):
    drawn = torch.Generator().manual_seed(0)
    return torch.randn(size, 3, 8, 8, generator=drawn), torch.randint(10, (size,), generator=drawn)


def one_step(stepping, network, x, labels):
    """The result of a step of SGD, which the network has taken."""
    stepping.place(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)

    def loss(x, labels):
        logits = stepping.forward(network, x).logits
        return F.cross_entropy(logits, labels), logits

    result = stepping.backward(loss, (x, labels), network.parameters())
    stepping.update(optimizer, grad_clip=5.0)
    return result


def stepped(x, labels, dtype=torch.float32, **options):
    network = make_network().to(dtype)
    return one_step(Stepping(StepOptions(**options), CPU), network, x.to(dtype), labels), network


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_lower_precision_is_close_and_leaves_the_weights_full(amp):
    x, labels = batch()
    plain, reference = stepped(x, labels)
    result, network = stepped(x, labels, amp=amp)
    assert result.logits.dtype == result.loss.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in network.parameters())
    difference = (result.logits - plain.logits).abs().max()
    assert 0 < difference < (0.15 if amp == "bf16" else 0.02)
    for mine, other in zip(network.parameters(), reference.parameters()):
        torch.testing.assert_close(mine, other, rtol=0.0, atol=0.02)


def test_a_gradient_that_overflows_is_left_out_and_lowers_the_scale():
    network = make_network()
    stepping = Stepping(StepOptions(amp="fp16"), CPU)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    before = copy.deepcopy(network)
    scale = stepping.scaler.get_scale()

    def loss(x, labels):
        logits = stepping.forward(network, x).logits
        return F.cross_entropy(logits, labels) * float("inf"), logits

    stepping.backward(loss, batch(), network.parameters())
    stepping.update(optimizer, grad_clip=5.0)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before.parameters()))
    assert stepping.scaler.get_scale() < scale
    other = Stepping(StepOptions(amp="fp16"), CPU)
    other.load_state_dict(stepping.state_dict())
    assert other.scaler.get_scale() == stepping.scaler.get_scale()


def test_parts_of_a_batch_give_the_mean_gradient_of_the_parts():
    x, labels = batch(11)  # 4 parts of 3, 3, 3 and 2
    result, network = stepped(x, labels, torch.float64, grad_accum=4)
    reference = make_network().double()
    loss = 0.0
    for part in ([0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]):
        loss = loss + F.cross_entropy(reference(x[part].double()).logits, labels[part], reduction="sum") / 11
    loss.backward()
    torch.testing.assert_close(result.loss, loss.detach())
    assert result.logits.shape == (11, 10)
    for mine, other in zip(network.parameters(), reference.parameters()):
        torch.testing.assert_close(mine, other - 0.1 * other.grad, rtol=1e-9, atol=1e-12)  # the norm is below 5


def test_the_layout_leaves_the_function():
    x, labels = batch()
    plain, reference = stepped(x, labels)
    result, network = stepped(x, labels, channels_last=False)
    torch.testing.assert_close(result.logits, plain.logits, rtol=1e-4, atol=1e-5)
    for mine, other in zip(network.parameters(), reference.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def test_a_compiled_operation_is_the_same_function():
    network, reference = make_network(), make_network()
    Stepping(StepOptions(compile=True), CPU).place(network)  # each operation compiles when it first runs
    x = torch.randn(4, 4, 8, 8).to(memory_format=torch.channels_last)
    outputs = []
    for operation in (network.cells[0].nodes[1][1], reference.cells[0].nodes[1][1]):
        coefficient = torch.tensor(0.3, requires_grad=True)
        output = operation(x, coefficient)
        output.square().sum().backward()
        outputs.append([output, coefficient.grad, *(p.grad for p in operation.parameters())])
    assert "_compiled_call_impl" in vars(network.cells[0].nodes[1][1])
    for mine, other in zip(*outputs):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_what_does_nothing_here_is_said(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False, "avx512_bf16": False})
    assert "no instructions" in Stepping(StepOptions(amp="bf16"), CPU).notes()[0]
    assert Stepping(StepOptions(), CPU).notes() == []


def test_two_optimisers_of_one_backward_pass_share_the_scale_of_their_gradients():
    network = make_network()
    stepping = Stepping(StepOptions(amp="fp16"), CPU)
    stepping.scaler.set_growth_interval(1)  # the scale doubles with every step
    first, second = network.stem.conv.weight, network.classifier.bias
    seen = []
    optimizers = [torch.optim.SGD([first], 0.1), torch.optim.SGD([second], 0.1)]
    for optimizer, parameter in zip(optimizers, (first, second)):
        optimizer.register_step_pre_hook(lambda *_, p=parameter: seen.append(p.grad.clone()))

    def loss(x, labels):
        logits = stepping.forward(network, x).logits
        return first.float().square().sum() + second.float().square().sum() + 0.0 * logits.sum(), logits

    before = [first.detach().clone(), second.detach().clone()]
    stepping.backward(loss, batch(), [first, second])
    stepping.update(*optimizers)
    for gradient, start in zip(seen, before):
        torch.testing.assert_close(gradient, 2.0 * start)

"""A training step of a target network against its equations; drop-path; schedules."""

import copy
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

from isnas.base.options import build
from isnas.base.random import initialising
from isnas.space.cells.network import target_network
from isnas.space.cells.published import published
from isnas.train.fixed import Training, draw_scales, drop_path_probability
from isnas.train.optim import cosine, make_sgd
from isnas.train.stepping import Stepping
from isnas.train.train_options import SgdOptions, StepOptions, TrainingOptions

CPU = torch.device("cpu")
SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 3}
LR, MOMENTUM, DECAY, CLIP = 0.1, 0.9, 3e-4, 0.5


@dataclass(frozen=True)
class Options(TrainingOptions, SgdOptions):
    pass


def make_training(arch="ISTA_twostage", auxiliary=True, without_decay=lambda network: (), **options):
    options = build(Options, {"learning_rate": LR, "auxiliary": auxiliary, **options})
    with initialising(0, "weights"):
        network = target_network(published(arch).genotype, **SIZES, auxiliary=auxiliary).double()
    stepping = Stepping(StepOptions(), CPU)
    optimizer = make_sgd(network.parameters(), options, without_decay=without_decay(network))
    return Training(network, optimizer, stepping, options, CLIP)


def batch(size=6):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(size, 3, 16, 16, generator=drawn, dtype=torch.float64)
    return x, torch.randint(10, (size,), generator=drawn)


def norms(network):
    """Gamma and beta of all batch normalisations, which nothing but their number of dimensions tells from biases."""
    return [p for name, p in network.named_parameters() if p.ndim == 1 and "classifier" not in name]


def literal_scores(network, x, scales, dropout):
    """The DARTS target network written out: a ReLU per operation, drop-path after every one but a bare skip."""
    columns = iter(scales.unbind(1))
    s0, s1 = network.stem(x)
    auxiliary = None
    for layer, cell in enumerate(network.cells):
        states = [cell.preprocess0(F.relu(s0)), cell.preprocess1(F.relu(s1))]
        for operations, predecessors in zip(cell.nodes, cell.predecessors):
            terms = []
            for operation, predecessor in zip(operations, predecessors):
                x = states[predecessor]
                out = operation(F.relu(x) if operation.relu_first else x)
                scale = next(columns)
                terms.append(out if type(operation).__name__ == "Skip" else out * scale[:, None, None, None])
            states.append(sum(terms))
        s0, s1 = s1, torch.cat(states[2:], 1)
        if layer == 2:
            auxiliary = network.auxiliary(F.relu(s1))
    return network.classifier(s1.mean((2, 3)) * dropout), auxiliary


@pytest.mark.parametrize("rate, without_decay", [(0.0, lambda network: ()), (0.3, norms)], ids=["cells", "chains"])
def test_a_step_follows_the_equations(rate, without_decay):
    training = make_training(label_smooth=0.1, nesterov=True, ema_decay=0.75, without_decay=without_decay)
    reference = copy.deepcopy(training.network)
    x, labels = batch()
    columns = training.network.num_connections()
    assert columns == 3 * 8
    scales = draw_scales(0.4, len(x), columns, torch.Generator().manual_seed(1)).double()
    dropout = draw_scales(rate, len(x), reference.classifier.in_features, torch.Generator().manual_seed(2))
    assert rate == 0.0 or dropout.unique().tolist() == pytest.approx([0.0, 1 / 0.7])

    logits, auxiliary = literal_scores(reference, x, scales, 1.0 if dropout is None else dropout)
    target = 0.9 * F.one_hot(labels, 10).double() + 0.1 / 10
    losses = [-(target * torch.log_softmax(scores, 1)).sum(1).mean() for scores in (logits, auxiliary)]
    loss = losses[0] + 0.4 * losses[1]
    gradients = torch.autograd.grad(loss, list(reference.parameters()))
    norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    assert norm > CLIP
    before = [parameter.detach().clone() for parameter in reference.parameters()]

    free = {id(parameter) for parameter in without_decay(training.network)}
    result = training.step(x, labels, scales, dropout)
    torch.testing.assert_close(result.loss, loss.detach())
    torch.testing.assert_close(result.logits, logits.detach())
    for mine, start, gradient, average in zip(
        training.network.parameters(), before, gradients, training.average.parameters()
    ):
        direction = gradient * (CLIP / (norm + 1e-6)) + (0.0 if id(mine) in free else DECAY) * start
        expected = start - LR * (direction + MOMENTUM * direction)  # Nesterov; the first momentum is the gradient
        torch.testing.assert_close(mine.detach(), expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(average, 0.75 * start + 0.25 * expected, rtol=1e-9, atol=1e-12)
    for mine, other in zip(training.network.buffers(), reference.buffers()):
        torch.testing.assert_close(mine, other)


def test_drop_path_keeps_the_mean_and_spares_bare_skips():
    scales = draw_scales(0.3, 4000, 5, torch.Generator().manual_seed(0))
    assert scales.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (scales.mean(0) - 1.0).abs().max() < 4 * (0.3 / 0.7 / 4000) ** 0.5  # four standard errors
    assert draw_scales(0.0, 4, 5, torch.Generator()) is None
    # with every path dropped only bare skips get through; one with a BN of its own is dropped like any other
    for arch, spared in (("ISTA_twostage", True), ("ISTA_onestage", False)):
        cell = make_training(arch).network.cells[0]
        s0 = torch.randn(2, 12, 16, 16, dtype=torch.float64)
        assert bool((cell(s0, s0, path_scales=iter(torch.zeros(8, 2))) != 0).any()) == spared


def test_the_schedules():
    assert [drop_path_probability(e, 600, 0.2) for e in (0, 1, 599)] == [0.0, 0.2 / 600, 0.2 * 599 / 600]
    drawn = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(drawn.parameters(), 0.025)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for epoch in range(600):
        if epoch in (0, 1, 300, 599):
            assert cosine(epoch, 600, 0.025, 0.0) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()


def test_state_goes_on_bit_for_bit():
    straight, other = make_training(ema_decay=0.9), make_training(ema_decay=0.9)
    for seed in (1, 2):
        scales = draw_scales(0.2, 6, 24, torch.Generator().manual_seed(seed)).double()
        if seed == 2:
            other.load_state_dict(copy.deepcopy(straight.state_dict()))
            other.step(*batch(), scales)
        straight.step(*batch(), scales)
    for mine, theirs in zip(straight.result.state_dict().values(), other.result.state_dict().values()):
        assert torch.equal(mine, theirs)

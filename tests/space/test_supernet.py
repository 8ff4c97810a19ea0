"""The super-net against the definition, against the target network, and what inactive operations cost: nothing."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from reference import dense_weights, literal_forward, random_connections

from isnas.base.random import initialising
from isnas.nets.count import count_built
from isnas.space.batch_norm import BatchNorm
from isnas.space.cells.cell import Cell
from isnas.space.cells.network import CellNetwork, target_network
from isnas.space.cells.operations import ONE_STAGE_BN, SEARCH_BN, BatchNorms, target_bn
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections
from isnas.sparse.recovery import coefficients

SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 4}
CONCAT = (2, 3, 4, 5)
SPACE = CellSpace()


@pytest.fixture(scope="module")
def images():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make_super_net(bn, dtype=torch.float64):
    with initialising(0, "test"):
        cell = SPACE.candidates, CONCAT
        network = CellNetwork(cell, cell, bn, **SIZES).to(dtype)
    return network.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("bn", [SEARCH_BN, target_bn("none"), target_bn("all")])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_sum_over_all_candidates(images, bn, training):
    network = make_super_net(bn).train(training)
    literal = copy.deepcopy(network)
    connections = random_connections(1)
    leaves = [weights.requires_grad_() for weights in connections.coefficients]
    active = network.running_parameters(connections)
    names = {id(p): name for name, p in network.named_parameters()}
    twins = dict(literal.named_parameters())

    logits = network(images, connections).logits
    expected = literal_forward(literal, dense_weights(connections), images)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)

    projection = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=logits.dtype)
    ours = torch.autograd.grad((logits * projection).sum(), active + leaves)
    theirs = torch.autograd.grad((expected * projection).sum(), [twins[names[id(p)]] for p in active] + leaves)
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


def test_planted_sparse_z_gives_the_network_of_eq_1(images):
    """With b = A z for an s-sparse z, Eq. 11's network is Eq. 1's with z as weights (Proposition 1's premise)."""
    network = make_super_net(SEARCH_BN)
    planted = random_connections(2)
    generator = torch.Generator().manual_seed(3)
    carried = []
    for indices, z in zip(planted.support, dense_weights(planted)):
        A = torch.rand(7, len(z), generator=generator, dtype=torch.float64)
        S = list(indices)
        carried.append(coefficients(A[:, S], A @ z, z[S]))
    expected = literal_forward(copy.deepcopy(network), dense_weights(planted), images)
    torch.testing.assert_close(
        network(images, Connections(planted.support, tuple(carried))).logits, expected, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("extra_bn", ["none", "pools", "all"])
@pytest.mark.parametrize("sparseness", [1, 2])
def test_coefficient_one_equals_the_target_network(images, extra_bn, sparseness):
    network = make_super_net(target_bn(extra_bn))
    connections = random_connections(4, sparseness, coefficient=1.0)
    genotype = replace(SPACE.genotype(connections.support), extra_bn=extra_bn)
    target = target_network(genotype, **SIZES).double().to(memory_format=torch.channels_last)
    target.load_state_dict(network.extract_state(network.state_dict(), connections.support))
    for training in (True, False):
        ours, theirs = network.train(training)(images, connections), target.train(training)(images)
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-13, atol=1e-13)
        assert ours.auxiliary is None and theirs.auxiliary is None


def test_search_super_net_equals_a_network_with_the_same_bns(images):
    """The search's own BNs: a BN after pools, none after a stride-1 skip, no gamma and beta."""
    network = make_super_net(SEARCH_BN)
    connections = random_connections(5, coefficient=1.0)
    genotype = SPACE.genotype(connections.support)
    target = CellNetwork((genotype.normal, CONCAT), (genotype.reduce, CONCAT), SEARCH_BN, **SIZES).double()
    target.load_state_dict(network.extract_state(network.state_dict(), connections.support))
    torch.testing.assert_close(network(images, connections).logits, target(images).logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("one_stage", "bn"), [(False, SEARCH_BN), (True, ONE_STAGE_BN)])
def test_the_spaces_super_net_has_the_batch_norms_of_its_search(images, one_stage, bn):
    with initialising(0, "test"):
        network = SPACE.super_net(one_stage, **SIZES).double()
    other = make_super_net(bn)
    assert network.state_dict().keys() == other.state_dict().keys()
    connections = random_connections(5)
    torch.testing.assert_close(network(images, connections).logits, other(images, connections).logits)


def test_gradients_in_float32_channels_last(images):
    """A channels_last backward that reads a coefficient's memory wrongly gives gradients of any size."""
    connections = random_connections(6, coefficient=0.003)
    reference = make_super_net(SEARCH_BN).to(memory_format=torch.contiguous_format)
    network = make_super_net(SEARCH_BN, torch.float32)
    labels = torch.arange(6)
    for model, x in ((reference, images), (network, images.float().to(memory_format=torch.channels_last))):
        F.cross_entropy(model(x, connections).logits, labels).backward()
    scale = max(p.grad.abs().max() for p in reference.parameters() if p.grad is not None)
    for p, q in zip(reference.parameters(), network.parameters()):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            assert (p.grad - q.grad).abs().max() < 1e-3 * scale


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_carries_the_coefficient(affine, training):
    generator = torch.Generator().manual_seed(7)
    bn = BatchNorm(5, affine).double().train(training)
    if affine:
        with torch.no_grad():
            bn.weight.normal_(generator=generator)
            bn.bias.normal_(generator=generator)
    x = torch.randn(3, 5, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    c = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    leaves = [x, c, *bn.parameters()]
    carried, literal = bn(x, c), c * bn(x)
    torch.testing.assert_close(carried, literal, rtol=1e-14, atol=1e-14)
    cubes = [torch.autograd.grad((out**3).sum(), leaves) for out in (carried, literal)]
    for mine, other in zip(*cubes):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", [False, True])
def test_a_node_without_connections_is_zero(reduction):
    nodes = ((("sep_conv_3x3", 0),), ())
    cell = Cell(nodes, (2, 3), (4, 4), 4, reduction, False, BatchNorms(True, False, False))
    out = cell(torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8))
    assert out.shape == (2, 8, 4, 4) if reduction else (2, 8, 8, 8)
    assert out[:, 4:].abs().max() == 0 and out[:, :4].abs().max() > 0


@pytest.mark.parametrize("unread", [0, 1])
def test_an_input_that_nobody_reads_is_not_preprocessed(images, unread):
    """The scores are as if it were; its convolution has neither statistics nor gradient, and is not said to run."""
    network = make_super_net(target_bn("none"))
    literal = copy.deepcopy(network)
    read = 7 * (1 - unread)
    of_normal = ((read + 3, read + 4), (read, 14), (14, 17), (15, 24))
    support = of_normal + random_connections(1).support[4:]
    connections = Connections(support, tuple(torch.ones(2, dtype=torch.float64) for _ in support))
    genotype = SPACE.genotype(support)
    target = target_network(genotype, **SIZES).double()
    target.load_state_dict(network.extract_state(network.state_dict(), support))

    expected = literal_forward(literal, dense_weights(connections), images)
    running = set(network.running_parameters(connections))
    for own, arguments in ((network, (connections,)), (target, ())):
        logits = own(images, *arguments).logits
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)
        logits.square().sum().backward(inputs=list(own.parameters()))
        for cell in own.cells:
            for number, part in enumerate((cell.preprocess0, cell.preprocess1)):
                idle = not cell.reduction and number == unread
                assert (part.bn.running_mean.abs().sum() == 0) == idle
                for parameter in part.parameters():
                    assert parameter.grad is None or not idle
                    assert own is target or (parameter in running) != idle
    counts = [count_built(partial(target_network, g, **SIZES), 3, 16) for g in (genotype, _reading_both(genotype))]
    areas = {0: 256, 3: 16}  # of the normal cells' images
    convolutions = [getattr(network.cells[number], f"preprocess{unread}") for number in areas]
    spared = sum(
        sum(p.numel() for name, p in part.named_parameters() if name.startswith("conv")) * area
        for part, area in zip(convolutions, areas.values(), strict=True)
    )
    assert counts[1].conv_linear_multiply_adds - counts[0].conv_linear_multiply_adds == spared


def _reading_both(genotype):
    """The same with a skip from each input beside, which costs no convolution in a normal cell."""
    first, *others = genotype.normal
    return replace(genotype, normal=((*first, ("skip_connect", 0), ("skip_connect", 1)), *others))

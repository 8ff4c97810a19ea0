"""One cell that is searched and is both the normal and the reduction cell."""

import pytest
import torch
from settings import make_method, make_setting, noise
from torch.nn.functional import cross_entropy

from isnas.methods.registry import METHODS, SEARCHES, TRAININGS, make_options
from isnas.space.cells.cell_options import FullCellOptions
from isnas.space.cells.network import CellNetwork
from isnas.space.cells.operations import SEARCH_BN
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections

OPERATIONS = ("avg_pool_3x3", "skip_connect", "sep_conv_3x3")
SMALL = {"num_nodes": 2, "operations": OPERATIONS, "shared_cell": True}
SPACE = CellSpace(OPERATIONS, 2, reduction=False)
BOTH = CellSpace(OPERATIONS, 2)
SIZES = {"stem": "cifar", "in_channels": 1, "num_classes": 10, "init_channels": 4, "layers": 4}


def super_net():
    torch.manual_seed(0)
    return SPACE.super_net(**SIZES).double()


def test_it_is_the_super_net_of_two_cells_that_have_the_same_connections():
    """Scores, the gradients of coefficients that stand for both cells, and what runs."""
    network, other, support = super_net(), BOTH.super_net(**SIZES).double(), ((0, 5), (4, 8))
    other.load_state_dict(network.state_dict())
    images, labels = noise(1)
    drawn = torch.Generator().manual_seed(0)
    ours = [torch.randn(2, generator=drawn, dtype=torch.float64).requires_grad_() for _ in support]
    theirs = [each.detach().clone().requires_grad_() for each in ours * 2]
    one, two = Connections(support, tuple(ours)), Connections(support * 2, tuple(theirs))
    scores = [net(images, connections).logits for net, connections in ((network, one), (other, two))]
    torch.testing.assert_close(*scores, rtol=0, atol=0)
    for logits in scores:
        cross_entropy(logits, labels).backward()
    for node, mine in enumerate(ours):
        torch.testing.assert_close(mine.grad, theirs[node].grad + theirs[node + 2].grad, rtol=1e-10, atol=1e-12)
    names = {id(p): name for net in (network, other) for name, p in net.named_parameters()}
    running = [
        [names[id(p)] for p in net.running_parameters(connections)]
        for net, connections in ((network, one), (other, two))
    ]
    assert running[0] == running[1] and network.num_connections(one) == other.num_connections(two) == 16


def test_its_sub_network_is_the_target_network():
    network, support = super_net(), ((1, 3), (2, 7))
    genotype = SPACE.genotype(support)
    assert genotype.normal == genotype.reduce and SPACE.support(genotype) == support
    cells = (genotype.normal, genotype.normal_concat), (genotype.reduce, genotype.reduce_concat)
    target = CellNetwork(*cells, SEARCH_BN, **SIZES).double()
    target.load_state_dict(network.extract_state(network.state_dict(), support))
    images, _ = noise(2)
    for training in (True, False):
        found = network.train(training)(images, Connections(support)).logits
        torch.testing.assert_close(found, target.train(training)(images).logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", sorted(SEARCHES))
def test_every_search_takes_a_step(method):
    parts = {"partial_channels": 2} if method == "pc_darts" else {}
    made = make_method(method, **SMALL, **parts)
    space = made.options.make_space()
    assert space == SPACE and space.sizes == (6, 9) and space.node_names == ("normal node 2", "normal node 3")
    made.begin_epoch(0)
    made.before_step(0)
    made.step(*(noise(number) for number in range(len(made.splits))))
    found = made.genotype()
    assert found.normal == found.reduce and sum(space.operation_counts(found).values()) == sum(map(len, found.normal))


def test_one_stage_terminates_and_absorbs():
    options = make_options("one_stage", **SMALL, init_channels=4, layers=3, arch_init_scale=0.1)
    method = TRAININGS["one_stage"].build(options, make_setting(options))
    method.network.double()
    method.recover(0)
    method.begin_epoch(0)
    method.step(*noise(0))
    method.terminate(1)
    trained = {name for name, p in method.network.named_parameters() if p.requires_grad and ".nodes." in name}
    norms = {name for name in trained if ".bn" in name}
    assert norms and all(name.split(".")[3] == "1" for name in norms) and {n.split(".")[1] for n in norms} == set("012")
    images, _ = noise(3)
    method.network.eval()
    with torch.no_grad():
        before = method.predict(images).logits
        method.fix(1)
        method.network.double().eval()
        torch.testing.assert_close(method.predict(images).logits, before)
        torch.testing.assert_close(method.plain().eval()(images).logits, before)
    found = method.genotype()
    assert found.normal == found.reduce


def test_a_random_architecture_of_it_names_one_cell_twice():
    options = make_options("evaluation", **SMALL, arch="random:3", init_channels=4, layers=3)
    assert isinstance(options, FullCellOptions) and set(METHODS) == {*SEARCHES, *TRAININGS}
    genotype = options.resolve(options.arch)
    assert genotype.normal == genotype.reduce and options.lasting(options.arch) == "random:3"

"""Cells with any number of connections per node: bits, the connection that stands in, random wiring, the network."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch
from reference import literal_forward

from isnas.apps.counting import count_in
from isnas.base.errors import UserError
from isnas.base.random import initialising
from isnas.methods.registry import make_options
from isnas.space.cells.genotype import genotype_from_json, genotype_from_text
from isnas.space.cells.network import CellNetwork, target_network
from isnas.space.cells.operations import SEARCH_BN, FactorizedReduce, Skip
from isnas.space.cells.published import published
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections, bits_of, support_of

#: CoNAS's
FIVE = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5")
SPACE = CellSpace(FIVE)
CONCAT = (2, 3, 4, 5)
SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 4}


def random_bits(rng, portion, sizes=SPACE.sizes):
    return [rng.random() < portion for _ in range(sum(sizes))]


def connections_of(genotype):
    return sum(map(len, genotype.normal + genotype.reduce))


def test_the_numbers_of_bits():
    assert sum(SPACE.sizes) == 140 and sum(CellSpace().sizes) == 196
    assert sum(CellSpace(FIVE, 2).sizes) == 50


def test_bits_stand_by_cell_node_predecessor_and_operation():
    """Bit ``type 14 K + (offset_i + j) K + k`` of 196 is operation k from predecessor j to intermediate node i."""
    space, offsets = CellSpace(), (0, 2, 5, 9)
    for cell, kind in enumerate(("normal", "reduce")):
        for i, offset in enumerate(offsets):
            for j in range(i + 2):
                for k, operation in enumerate(space.operations):
                    bit = cell * 14 * 7 + (offset + j) * 7 + k
                    genotype = space.genotype(support_of([n == bit for n in range(196)], space.sizes))
                    assert getattr(genotype, kind)[i] == ((operation, j),) and connections_of(genotype) == 1


@pytest.mark.parametrize("portion", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("pool_bn", [False, True])
def test_bits_and_genotypes_are_one(portion, pool_bn):
    rng = random.Random(0)
    for _ in range(10):
        bits = random_bits(rng, portion)
        genotype = SPACE.genotype(support_of(bits, SPACE.sizes), pool_bn=pool_bn)
        assert genotype.extra_bn == ("pools" if pool_bn else "none") and connections_of(genotype) == sum(bits)
        for read in (genotype_from_text(str(genotype)), genotype_from_json(json.loads(json.dumps(genotype.to_json())))):
            assert read == genotype and bits_of(SPACE.support(read), SPACE.sizes) == bits


def test_what_does_not_fit_is_no_support():
    for active in ([True] * 139, [True] * 141):
        with pytest.raises(AssertionError):
            support_of(active, SPACE.sizes)
    with pytest.raises(AssertionError):
        bits_of(((0, 10), *[()] * 7), SPACE.sizes)  # the first node has 10 candidates, 0 to 9


def test_a_node_without_connections_reads_the_cell_before_the_last_by_a_skip():
    support = ((3,), (), (0, 14), (1,), (), (2, 3), (), (24,))
    skip = 2  # of predecessor 0
    connected = SPACE.connected(support)
    assert connected == ((3,), (skip,), (0, 14), (1,), (skip,), (2, 3), (skip,), (24,))
    assert SPACE.connected(connected) == connected
    assert SPACE.genotype(connected).reduce[0] == (("skip_connect", 0),)
    alone = CellSpace(FIVE, reduction=False)
    assert alone.connected(((), (0,), (), ())) == ((skip,), (0,), (skip,), (skip,))

    unable = CellSpace(("max_pool_3x3", "sep_conv_3x3"), 2)
    full = ((0,), (1,), (2,), (3,))
    assert unable.connected(full) == full
    with pytest.raises(UserError, match=r"reduction node 3 has no connection, and only a skip .* to --operations$"):
        unable.connected((*full[:3], ()))


def test_the_stand_in_is_free_in_a_normal_cell_and_not_in_a_reduction_cell():
    """The paper has it cost nothing; at stride 2 it is two convolutions C x C / 2 and a batch normalisation."""
    full = SPACE.genotype(((3,),) * 8)
    normal = replace(full, normal=((), *full.normal[1:]))
    reduction = replace(full, reduce=((), *full.reduce[1:]))
    before, after = (
        [count_in("cifar", g) for g in (normal, reduction)],
        [count_in("cifar", SPACE.genotype(SPACE.connected(SPACE.support(g)))) for g in (normal, reduction)],
    )
    parameters, multiply_adds = zip(
        *(
            (b.num_params - a.num_params, b.conv_linear_multiply_adds - a.conv_linear_multiply_adds)
            for a, b in zip(before, after)
        )
    )
    channels, areas = (72, 144), (16 * 16, 8 * 8)  # of the two reduction cells, at 20 cells and C = 36
    assert parameters == (0, sum(c * c + 2 * c for c in channels))
    assert multiply_adds == (0, sum(c * c * area for c, area in zip(channels, areas)))
    assert round(parameters[1] / 1e6, 3) == 0.026 and round(multiply_adds[1] / 1e6, 2) == 2.65


@pytest.mark.parametrize("size", [16, 17])
def test_shapes_with_nothing_but_stand_ins(size):
    genotype = SPACE.genotype(SPACE.connected(((),) * 8))
    network = target_network(genotype, **SIZES, auxiliary=True)
    kinds = {type(op) for cell in network.cells for node in cell.nodes for op in node}
    assert kinds == {Skip, FactorizedReduce}
    out = network(torch.randn(3, 3, size, size), drop_path=torch.zeros(3, network.num_connections()))
    assert out.logits.shape == out.auxiliary.shape == (3, 10)
    out.logits.sum().backward()
    assert network.cells[1].nodes[0][0].conv1.weight.grad is not None


def test_a_skip_of_stride_2_can_be_dropped_and_the_identity_cannot():
    """All paths scaled by zero: what is left of the cells are the identities of the normal ones."""
    genotype = SPACE.genotype(SPACE.connected(((),) * 8))
    network = target_network(genotype, **SIZES).eval()
    x = torch.randn(2, 3, 16, 16)
    cut = network(x, drop_path=torch.zeros(2, network.num_connections())).logits
    bias = network.classifier.bias
    # cell 3 adds up c_{k-2}, the output of the reduction cell 1, which is zero
    torch.testing.assert_close(cut, bias.expand(2, -1), rtol=0, atol=0)
    assert (network(x).logits - bias).abs().max() > 1e-3
    identities = SPACE.genotype((*((2,),) * 4, *((0,),) * 4))
    one_cell = target_network(identities, **(SIZES | {"layers": 1})).eval()
    assert torch.equal(one_cell(x, drop_path=torch.zeros(2, 4)).logits, one_cell(x).logits)


def test_randomly_wired_cells_have_a_quarter_of_the_candidates():
    drawn = [resolve_genotype(f"random_wired:{seed}", SPACE) for seed in range(400)]
    with torch.device("meta"):  # where networks are counted
        assert len({*drawn}) == 400 and drawn[3] == resolve_genotype("random_wired:3", SPACE)
    bits = torch.tensor([bits_of(SPACE.support(genotype), SPACE.sizes) for genotype in drawn]).double()
    stand_ins = torch.zeros(140, dtype=torch.bool)
    stand_ins[[sum(SPACE.sizes[:node]) + SPACE.flat(("skip_connect", 0)) for node in range(8)]] = True
    portions, error = bits.mean(0), math.sqrt(0.25 * 0.75 / 400)
    assert (portions[~stand_ins] - 0.25).abs().max() < 4.5 * error
    # a node without any of its n candidates has its skip besides: 0.25 + 0.75^n
    expected = torch.tensor([0.25 + 0.75**size for size in SPACE.sizes])
    assert (portions[stand_ins] - expected).abs().max() < 4.5 * error
    totals = bits[:, ~stand_ins].sum(1)
    assert abs(totals.mean() - 33) < 4 * math.sqrt(132 * 3 / 16 / 400) and totals.std() > 4  # sqrt(132 3 / 16) = 5.0


@pytest.mark.parametrize("count", [1, 30, 140])
def test_randomly_wired_cells_of_so_many_connections(count):
    """As many in all, beside a skip for each node that they leave out, and every candidate as often as any other."""
    seen = torch.zeros(140)
    for seed in range(300):
        support = SPACE.support(resolve_genotype(f"random_wired:{seed}:{count}", SPACE))
        bits = torch.tensor(bits_of(support, SPACE.sizes))
        alone = sum(node == (2,) for node in support)
        assert all(support) and count <= bits.sum() <= count + alone
        seen += bits
    if count == 30:
        node, portion = SPACE.flat(("sep_conv_3x3", 0)), 30 / 140
        first = torch.tensor([sum(SPACE.sizes[:number]) + node for number in range(8)])
        assert (seen[first] / 300 - portion).abs().max() < 4 * math.sqrt(portion * (1 - portion) / 300)
    assert (seen == 300).all() or count < 140


@pytest.mark.parametrize("tail", ["", ":", ":-1", ":1:", ":1:0", ":1:141", ":1:x", ":1:2:3", ":1:1e1", ":" * 9**5])
def test_bad_random_wiring(tail):
    with pytest.raises(UserError, match=r"random_wired:SEED:CONNECTIONS with 1 to 140 of .*, not 'random_wi") as caught:
        resolve_genotype(f"random_wired{tail}", SPACE)
    assert len(str(caught.value)) < 300


def test_random_wiring_needs_a_skip_for_what_it_leaves_out():
    options = make_options("evaluation", operations=("sep_conv_3x3",), num_nodes=2, arch="random_wired:0:1")
    with pytest.raises(UserError, match="add skip_connect to --operations"):
        options.self_contained()
    options = make_options("evaluation", operations=FIVE, arch="random_wired:0")
    assert options.self_contained() == options and options.genotype() == resolve_genotype("random_wired:0", SPACE)


def test_the_released_cell_is_among_the_bits_of_seven_operations():
    """CoNAS's released cells, which read the pools through BNs: 2.865286 M parameters at 20 cells and C = 36."""
    space, genotype = CellSpace(), published("CoNAS_release").genotype
    bits = bits_of(space.support(genotype), space.sizes)
    again = space.genotype(support_of(bits, space.sizes), pool_bn=True)
    assert again == genotype and len(bits) == 196
    counts = count_in("cifar", again)
    assert counts.num_params == 2_865_286 and round(counts.conv_linear_multiply_adds / 1e6, 2) == 433.42
    wide = count_in("cifar", again, {"init_channels": 60})
    assert wide.num_params == 7_772_110 and round(wide.conv_linear_multiply_adds / 1e6, 2) == 1172.10


def test_nothing_runs_but_what_is_connected():
    """The size of cells without any operation, and of one or two operations more, is what their definition says."""
    none = SPACE.genotype(((),) * 8)
    assert count_in("cifar", none).num_params == 1_370_134
    for operation, parameters in (("sep_conv_3x3", 359_856), ("sep_conv_5x5", 408_240)):
        more = replace(none, normal=(((operation, 1),), (), (), ()))
        assert count_in("cifar", more).num_params - 1_370_134 == parameters


@pytest.fixture(scope="module")
def images():
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


AWKWARD = (
    (
        (3, 4),
        (),
        (0, 1, 2, 3, 4),
        (17, 22),
    ),  # both kernels on an edge, nothing, all of input 0, later nodes
    ((0, 1, 2, 3, 4), (), (10, 12, 14), tuple(range(10, 25))),  # nothing reads input 1
)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("drawn", ["awkward", 0.5, 0.05])
def test_a_sampled_forward_is_the_network_of_the_cells(images, training, drawn):
    """And both are the definition: a node sums all that is active on it, unweighted, be it nothing."""
    support = AWKWARD[0] + AWKWARD[1]
    if drawn != "awkward":
        support = support_of(random_bits(random.Random(1), drawn), SPACE.sizes)
    with initialising(0, "test"):
        super_net = SPACE.super_net(**SIZES).double().train(training)
    genotype = SPACE.genotype(support)
    alone = CellNetwork((genotype.normal, CONCAT), (genotype.reduce, CONCAT), SEARCH_BN, **SIZES).double()
    alone.load_state_dict(super_net.extract_state(super_net.state_dict(), support))
    literal = SPACE.super_net(**SIZES).double().train(training)
    literal.load_state_dict(super_net.state_dict())
    bits = torch.tensor(bits_of(support, SPACE.sizes)).double()
    expected = literal_forward(literal, bits.split(SPACE.sizes), images)
    sampled = super_net(images, Connections(support)).logits
    torch.testing.assert_close(sampled, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(alone.train(training)(images).logits, expected, rtol=1e-10, atol=1e-12)
    assert super_net.num_connections(Connections(support)) == alone.num_connections()

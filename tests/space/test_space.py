"""The space of cells: flat indices, supports and genotypes, random ones, the heaviest; and what names a random one."""

import itertools
import math
import random
from collections import Counter

import pytest
import torch

from isnas.base.errors import UserError
from isnas.space.cells.genotype import DARTS_OPERATIONS, NAMES, Genotype
from isnas.space.cells.operations import OPERATIONS
from isnas.space.cells.published import PUBLISHED, published
from isnas.space.cells.resolve import random_genotype, resolve_genotype
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections

SPACE = CellSpace()
OTHERS = (CellSpace(num_nodes=1), CellSpace(NAMES, 3), CellSpace(("sep_conv_7x7", "max_pool_3x3"), 2))


def check_uniform(counts, choices, total):
    """Each of so many choices as often as chance has it, within four standard deviations."""
    error = math.sqrt(total / choices)  # of a count, at most
    assert len(counts) == choices and all(abs(n - total / choices) < 4 * error for n in counts.values())


def test_the_flat_index_counts_candidates_by_predecessor_then_operation():
    convolutions = [f"{kind}_conv_{size}x{size}" for kind in ("sep", "dil") for size in (3, 5)]
    operations = ["max_pool_3x3", "avg_pool_3x3", "skip_connect", *convolutions]
    assert SPACE.sizes == (14, 21, 28, 35, 14, 21, 28, 35)
    for node, count in enumerate((14, 21, 28, 35)):
        expected = [(operation, predecessor) for predecessor in range(node + 2) for operation in operations]
        assert [SPACE.connection(index) for index in range(count)] == expected
        assert list(map(SPACE.flat, expected)) == list(range(count))
        assert list(SPACE.candidates[node]) == expected
        assert list(SPACE.groups[node]) == list(SPACE.groups[node + 4]) == [predecessor for _, predecessor in expected]


@pytest.mark.parametrize("space", OTHERS)
def test_other_operations_and_numbers_of_nodes(space):
    assert space.sizes == tuple((2 + node) * len(space.operations) for node in range(space.num_nodes)) * 2
    assert len(space.node_names) == len(set(space.node_names)) == len(space.sizes) == len(space.groups)
    assert space.node_names[0] == "normal node 2" and space.node_names[-1] == f"reduction node {space.num_nodes + 1}"
    for node, candidates in enumerate(space.candidates):
        expected = {(operation, predecessor) for operation in space.operations for predecessor in range(node + 2)}
        assert len(candidates) == len(expected) and set(candidates) == expected
        assert [space.flat(connection) for connection in candidates] == list(range(len(candidates)))


def test_supports_name_a_published_cell():
    # by hand: 7 * predecessor + position of the operation
    normal = ((2, 12), (4, 19), (3, 12), (2, 17))
    reduce = ((1, 11), (7, 20), (10, 27), (11, 34))
    assert SPACE.genotype(normal + reduce) == published("ISTA_twostage").genotype
    assert SPACE.support(published("ISTA_twostage").genotype) == normal + reduce


@pytest.mark.parametrize("space", [SPACE, *OTHERS])
@pytest.mark.parametrize("one_stage", [False, True])
def test_a_support_and_its_genotype_are_one(space, one_stage):
    rng = random.Random(0)
    for _ in range(20):
        sizes = [(size, rng.randint(0, min(5, size))) for size in space.sizes]
        support = tuple(tuple(sorted(rng.sample(range(size), count))) for size, count in sizes)
        genotype = space.genotype(support, one_stage)
        assert space.support(genotype) == support
        assert genotype.extra_bn == ("all" if one_stage else "none")
        assert genotype.normal_concat == genotype.reduce_concat == tuple(range(2, 2 + space.num_nodes))
        nodes = [
            tuple((space.operations[k % len(space.operations)], k // len(space.operations)) for k in node)
            for node in support
        ]
        for mine, expected in zip(genotype.normal + genotype.reduce, nodes):
            assert sorted(mine) == sorted(expected)
        named = Counter(operation for node in nodes for operation, _ in node)
        assert space.operation_counts(genotype) == {name: named[name] for name in space.operations}


def test_a_genotype_of_another_space_has_no_support():
    for name in ("NASNet", "AmoebaNet"):
        with pytest.raises(UserError, match=r"not of the space that is searched: it .*"):
            SPACE.support(PUBLISHED[name].genotype)
    with pytest.raises(UserError, match="it does not have 2 nodes"):
        CellSpace(num_nodes=2).support(published("ISTA_twostage").genotype)
    node = ((("sep_conv_7x7", 0), ("conv_7x1_1x7", 1), ("skip_connect", 0)),)
    with pytest.raises(UserError, match=r"it has conv_7x1_1x7, sep_conv_7x7$"):
        CellSpace(num_nodes=1).support(Genotype(node, (2,), node, (2,)))


def test_connections_hold_what_fits_together():
    Connections(((0, 3), ()), (torch.ones(2), torch.ones(0)))
    for support, coefficients in [
        (((3, 0),), None),
        (((1, 1),), None),
        (((0, 3),), (torch.ones(3),)),
        (((0, 3),), (torch.ones(1, 2),)),
        (((0, 3), (1,)), (torch.ones(2),)),
    ]:
        with pytest.raises(AssertionError):
            Connections(support, coefficients)


@pytest.mark.parametrize("prefix", ["random", "random_distinct"])
def test_random_cells_are_uniform_and_reproducible(prefix):
    distinct = prefix == "random_distinct"
    genotypes = [random_genotype(seed, distinct_inputs=distinct) for seed in range(1000)]
    again = random_genotype(3, distinct_inputs=distinct)
    assert again == genotypes[3] == resolve_genotype(f"{prefix}:3") and len({*genotypes}) == 1000
    nodes = [genotype.reduce[3] for genotype in genotypes]
    assert all(len(set(node)) == 2 for node in nodes)
    check_uniform(Counter(operation for node in nodes for operation, _ in node), len(DARTS_OPERATIONS), 2000)
    check_uniform(Counter(predecessor for node in nodes for _, predecessor in node), 5, 2000)
    one_predecessor = sum(len({predecessor for _, predecessor in node}) == 1 for node in nodes)
    expected = 0 if distinct else 1000 * 6 / 34  # of the 34 candidates beside the first 6 have its predecessor
    assert abs(one_predecessor - expected) <= 4 * math.sqrt(expected)


def test_random_cells_of_another_space():
    space = OTHERS[2]
    genotype = resolve_genotype("random:5", space)
    assert genotype == random_genotype(5, space) and len(genotype.normal) == len(genotype.reduce) == 2
    assert genotype != random_genotype(5, CellSpace(num_nodes=2))
    named = {operation for node in genotype.normal + genotype.reduce for operation, _ in node}
    assert named <= set(space.operations)


@pytest.mark.parametrize("distinct", [False, True])
def test_random_supports_are_uniform(distinct):
    """Over whole pairs: every pair of candidates, of distinct predecessors or not, is as likely as any other."""
    space, rng = CellSpace(("skip_connect", "sep_conv_3x3"), 1), torch.Generator().manual_seed(0)
    assert space.sizes == (4, 4)
    drawn = [space.random(rng, 2, distinct) for _ in range(3000)]
    pairs = {pair for pair in itertools.combinations(range(4), 2) if not distinct or pair[0] // 2 != pair[1] // 2}
    for node in range(2):
        counts = Counter(support[node] for support in drawn)
        assert set(counts) == pairs
        check_uniform(counts, len(pairs), len(drawn))
    check_uniform(Counter(drawn), len(pairs) ** 2, len(drawn))  # the nodes know nothing of each other


def test_none_is_drawn_as_often_as_any_operation():
    space, rng = CellSpace(num_nodes=2), torch.Generator().manual_seed(1)
    drawn = [space.random(rng, 2, distinct_inputs=True, none=True) for _ in range(1000)]
    left_out = Counter(2 - len(support[1]) for support in drawn)
    for count, share in ((0, 49 / 64), (1, 14 / 64), (2, 1 / 64)):
        assert abs(left_out[count] - 1000 * share) < 4 * math.sqrt(1000 * share)
    kept = [space.connection(index) for support in drawn for index in support[1]]
    check_uniform(Counter(operation for operation, _ in kept), 7, len(kept))
    with pytest.raises(AssertionError):
        space.random(rng, none=True)


@pytest.mark.parametrize("value_bytes", [4, 2, 1])
@pytest.mark.parametrize("sparseness", [1, 2, 3])
def test_the_heaviest_of_a_node_is_the_heaviest_of_all_that_it_may_have(sparseness, value_bytes):
    """In units of a tensor of the node's size; a reduction cell's inputs are four times as large."""
    inner = {"sep_conv_3x3": 5, "sep_conv_5x5": 5, "dil_conv_3x3": 2, "dil_conv_5x5": 2, "avg_pool_3x3": 1}
    inner |= {"max_pool_3x3": 1 + 8 / value_bytes, "skip_connect": 0}  # where the maxima were, in int64

    def weight(support, input_size):
        connections = [space.connection(index) for index in support]
        inputs = {(predecessor, "conv" in operation) for operation, predecessor in connections}
        return sum(inner[operation] for operation, _ in connections) + input_size * len(inputs)

    space = CellSpace(num_nodes=1)
    for support, input_size in zip(space.heaviest(sparseness, value_bytes), (1, 4)):
        weights = [weight(each, input_size) for each in itertools.combinations(range(14), sparseness)]
        assert weight(support, input_size) == max(weights) > min(weights)


def test_the_heaviest_of_later_nodes_and_of_other_operations():
    named = [[SPACE.connection(index) for index in node] for node in SPACE.heaviest(2)]
    assert all(operation in ("sep_conv_3x3", "sep_conv_5x5") for node in named[:4] for operation, _ in node)
    for node in range(1, 4):  # its newest predecessor is the one that nobody reads yet
        assert max(predecessor for _, predecessor in named[node]) == node + 1
    for name in OPERATIONS:
        assert CellSpace((name,), 1).heaviest(2) == ((0, 1), (0, 1))
    assert CellSpace(("skip_connect", "conv_7x1_1x7", "sep_conv_7x7"), 1).heaviest(2) == ((1, 4), (1, 4))


def test_a_folder_does_not_hide_a_published_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ISTA_twostage").mkdir()
    assert resolve_genotype("ISTA_twostage") == published("ISTA_twostage").genotype


@pytest.mark.parametrize("prefix", ["random", "random_distinct"])
def test_a_seed_is_a_number(prefix):
    for text in ("", "-1", "x", "1.0", " 1"):
        with pytest.raises(UserError, match=f"{prefix}:SEED"):
            resolve_genotype(f"{prefix}:{text}")


def test_operations_stand_in_the_order_of_genotypes():
    space = CellSpace(("avg_pool_3x3", "max_pool_3x3"), 1)
    assert space == CellSpace(("max_pool_3x3", "avg_pool_3x3"), 1)
    assert space.genotype(((0, 1), (2, 3))).normal[0] == (space.connection(0), space.connection(1))

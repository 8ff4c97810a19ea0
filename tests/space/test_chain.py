"""The space of chains: its candidates, the sizes of its networks, genotypes and their text, what is refused."""

import hashlib
import json
import math
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.base.random import generator
from isnas.nets.count import count_built
from isnas.space.cells.published import published as published_cell
from isnas.space.chain.candidates import CANDIDATES, NAMES
from isnas.space.chain.chain_options import ChainOptions
from isnas.space.chain.genotype import ChainGenotype, genotype_from_json, genotype_from_text, read_genotype
from isnas.space.chain.network import target_network
from isnas.space.chain.published import PUBLISHED, published
from isnas.space.chain.resolve import random_genotype, resolve_genotype, uniform_genotype
from isnas.space.chain.space import ChainSpace
from isnas.space.chain.widths import WIDTHS

SPACE = ChainSpace()
OTHERS = (
    ChainSpace("digits"),
    ChainSpace("cifar", (1, 5, 2)),
    ChainSpace("digits", (2, 3), ("skip", "k7_e6", "k3_e3")),
    ChainSpace("digits", operations=("k5_e3", "k5_e6")),
)
ONE = ChainGenotype(((("k3_e3",), ("skip",)), (("k7_e6",),)))


def text(chain="['k3_e3 skip', 'k7_e6']", rest="") -> str:
    return f"Genotype(chain={chain}{rest})"


def counted(genotype, widths="default"):
    return count_built(
        partial(target_network, genotype, widths=widths, in_channels=3, num_classes=1000), 3, WIDTHS[widths].image_size
    )


def test_candidates_of_the_blocks():
    assert len(SPACE.sizes) == 21
    assert SPACE.sizes == (6, 7, 7, 7) * 5 + (6,) and sum(SPACE.sizes) == 141
    assert math.prod(SPACE.sizes) == 6**6 * 7**15
    mbconv = ("k3_e3", "k3_e6", "k5_e3", "k5_e6", "k7_e3", "k7_e6")
    assert SPACE.candidates == (mbconv, *[(*mbconv, "skip")] * 3) * 5 + (mbconv,) == SPACE.candidate_names
    assert SPACE.node_names == tuple(f"block {number}" for number in range(1, 22))
    assert [set(group) for group in SPACE.groups] == [{0}] * 21
    assert ChainSpace("digits", (2, 3), ("skip", "k7_e6", "k3_e3")).sizes == (2, 3, 2, 3, 3)
    assert ChainSpace("digits", operations=("k5_e3", "k5_e6")).sizes == (2,) * 6
    assert (
        ChainSpace("default", (4, 4, 4, 4, 4, 1)) == SPACE != ChainSpace("mobile") and len({SPACE, ChainSpace()}) == 1
    )
    for name, row in CANDIDATES.items():
        assert name == ("skip" if name == NAMES[-1] else f"k{row.kernel}_e{row.expansion}")


@pytest.mark.parametrize(
    ("widths", "candidate", "params_millions", "multiply_adds_millions"),
    [
        ("default", "skip", 2.15, 102.5),
        ("default", "k3_e3", 3.19, 257.42),
        ("default", "k7_e6", 5.10, 606.59),
        ("mobile", "skip", 2.16, 108.9),
        ("mobile", "k3_e3", 3.20, 291.1),
        ("mobile", "k7_e6", 5.14, 693.5),
        ("gpu", "skip", 3.30, 182.5),
        ("gpu", "k3_e3", 5.15, 460.9),
        ("gpu", "k7_e6", 8.38, 1036.7),
    ],
)
def test_the_lightest_and_the_heaviest_chains(widths, candidate, params_millions, multiply_adds_millions):
    counts = counted(uniform_genotype(candidate, ChainSpace(widths)), widths)
    assert round(counts.params_millions, 2) == params_millions
    digits = len(str(multiply_adds_millions).partition(".")[2])  # as many as are known
    assert round(counts.conv_linear_multiply_adds / 1e6, digits) == multiply_adds_millions


@pytest.mark.parametrize(
    ("name", "params", "multiply_adds_millions"),
    [
        ("ProxylessNAS_GPU", 7_119_848, 465.26),
        ("ProxylessNAS_CPU", 4_361_648, 439.24),
        ("ProxylessNAS_Mobile", 4_080_512, 320.43),
        ("ProxylessNAS_Mobile14", 6_857_568, 580.88),
    ],
)
def test_published_sizes(name, params, multiply_adds_millions):
    entry = published(name)
    counts = counted(entry.genotype, entry.widths)
    assert counts.num_params == params
    assert round(counts.conv_linear_multiply_adds / 1e6, 2) == multiply_adds_millions
    for reported in entry.reported:
        assert reported.params_millions == round(params / 1e6, 1)
        assert reported.multiply_adds_millions == round(multiply_adds_millions)
    assert SPACE.genotype(SPACE.support(entry.genotype)) == entry.genotype


@pytest.mark.parametrize("space", [SPACE, *OTHERS])
@pytest.mark.parametrize("one_stage", [False, True])
def test_a_support_and_its_genotype_are_one(space, one_stage):
    rng = generator(0, "supports")
    for connections in (1, 2):
        support = space.random(rng, connections)
        genotype = space.genotype(support, one_stage)
        assert space.support(genotype) == support and genotype.extra_bn == ("all" if one_stage else "none")
        assert genotype.stage_blocks == space.blocks
        named = Counter(names[k] for names, node in zip(space.candidates, support) for k in node)
        assert space.operation_counts(genotype) == {name: named[name] for name in space.operations}
        assert genotype_from_text(str(genotype)) == genotype == genotype_from_json(genotype.to_json())


def test_random_chains_are_uniform():
    rng = generator(0, "uniform")
    drawn = [SPACE.random(rng, 3, distinct_inputs=True, none=True) for _ in range(1000)]  # one of a group, the only one
    assert all(len(node) == 1 for support in drawn for node in support)
    for block, size in ((0, 6), (1, 7)):
        counts = Counter(support[block] for support in drawn)
        assert len(counts) == size
        assert all(abs(n - 1000 / size) < 4 * math.sqrt(1000 / size) for n in counts.values())


def test_a_block_without_a_candidate_is_skipped_or_has_its_first():
    space = ChainSpace("digits", (2, 2), ("k5_e3", "k5_e6", "skip"))
    assert space.connected(((), (), (1,), ())) == ((0,), (2,), (1,), (2,))
    assert ChainSpace("digits", (2, 1), ("k5_e6",)).connected(((),) * 3) == ((0,),) * 3
    with pytest.raises(UserError, match="block 2 of stage 1 has no candidate"):
        space.genotype(((0,), (), (1,), (0,)))


def test_the_text_and_json_of_a_chain(tmp_path):
    entry = PUBLISHED["ProxylessNAS_GPU"].genotype
    assert entry.to_json()["chain"][1] == ["k7_e3", "skip", "skip", "k3_e3"]
    assert str(ONE) == text() and str(replace(ONE, extra_bn="all")) == text(rest=", extra_bn='all'")
    assert resolve_genotype("\n".join(replace(ONE, extra_bn="all").lines())) == replace(ONE, extra_bn="all")
    path = tmp_path / "genotype.json"
    for chain in (entry, ONE, replace(ONE, extra_bn="all")):
        path.write_text(json.dumps({"genotype": chain.to_json(), "valid_acc": 1.0}))
        for written in (str(path), str(tmp_path), f"genotype = {chain}\n"):
            assert resolve_genotype(written) == chain
        assert read_genotype(path) == chain
    assert genotype_from_text(text("[['k3_e3', 'skip'], ['k7_e6']]")) == ONE
    several = genotype_from_text(text("['k7_e6+k3_e3 skip+k5_e3']"))
    assert several.chain == ((("k3_e3", "k7_e6"), ("k5_e3", "skip")),)
    assert str(several) == text("['k3_e3+k7_e6 k5_e3+skip']")


def test_the_hash_is_of_the_architecture_alone():
    content = b'{"chain": [["k3_e3", "skip"], ["k7_e6"]], "extra_bn": "none"}'
    assert ONE.hash() == hashlib.sha256(content).hexdigest()[:12]
    different = [
        ONE,
        replace(ONE, extra_bn="all"),
        replace(ONE, chain=(ONE.blocks[:1], ONE.blocks[2:])),
        replace(ONE, chain=((("k3_e3",), ("k7_e6",)),)),
        replace(ONE, chain=((("k3_e3",), ("skip", "k3_e3")), (("k7_e6",),))),
    ]
    assert len({genotype.hash() for genotype in different}) == len(different)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (text("['k9_e3']"), "unknown candidate 'k9_e3' in block 1 of stage 1; choose from k3_e3, "),
        (text("['k3_e3 k3-e3']"), "unknown candidate 'k3-e3' in block 2 of stage 1"),
        (text("['k3_e3', 'skip k3_e3']"), "block 1 of stage 2 cannot be skipped"),
        (text("['k3_e3 k3_e3+k3_e3']"), "block 2 of stage 1 has a candidate twice"),
        (text("['k3_e3+']"), "unknown candidate ''"),
        (text("['k3_e3', '']"), "each stage a block"),
        (text("[]"), "chain must have a stage at least"),
        (text("'k3_e3'"), "chain must be a list of stages"),
        (text("[3]"), "stage 1 must be a list of blocks like 'k5_e6', not 3"),
        (text("[['k3_e3', 3]]"), "stage 1 must be a list of blocks"),
        (text(f"['{'k3_e3 ' * 97}']"), "chain has 97 blocks; it may have 96 at most"),
        (text(rest=", extra_bn='pools'"), "extra_bn must be one of none, all, not 'pools'"),
        (text(rest=", colour='red'"), "unknown field 'colour'"),
        (text(rest=", chain=[]"), "every field must be given once"),
        (text(f"['{'x' * 90_000}']"), "unknown candidate 'xxx"),
        (str(published_cell("DARTS_V2").genotype), "it is a pair of cells, and a chain is needed"),
        ("Genotype(recurrent=[('relu', 0)], concat=[1])", "it is a recurrent cell, and a chain is needed"),
        ("Genotype()", "the field chain is missing"),
        ("Genotype(", "not of the form Genotype(chain="),
        ("", "give --arch: a published chain"),
        ("random:", "a random chain is written random:SEED with a number from 0 up, not 'random:'"),
        ("random:-1", "a random chain is written random:SEED"),
        ("random:" + "9" * 5000, "a random chain is written random:SEED"),
        ("all:k9_e3", "a chain of one candidate is written all:CANDIDATE with one of k3_e3, k3_e6"),
        ("ProxylessNAS", "unknown architecture 'ProxylessNAS'; did you mean ProxylessNAS_GPU?"),
        ("Proxy", "unknown architecture 'Proxy': give a published chain"),
        ("x" * 10**5, "unknown architecture 'xxx"),
        ("missing.json", "missing.json"),
    ],
)
def test_what_is_no_chain_is_refused_in_a_line(wrong, words):
    with pytest.raises(UserError) as caught:
        resolve_genotype(wrong)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_json_that_is_no_chain_is_refused():
    for wrong, words in (
        ([], "expected a JSON object"),
        ({"chain": 3}, "list of stages"),
        ({"chain": [{}]}, "stage 1"),
    ):
        with pytest.raises(UserError, match=words):
            genotype_from_json(wrong)
    with pytest.raises(UserError, match="extra_bn must be one of none, all, not \\['all'\\]"):
        genotype_from_json({"chain": [["k3_e3"]], "extra_bn": ["all"]})
    with pytest.raises(UserError, match="published chains are ProxylessNAS_GPU, "):
        published("DARTS_V2")


def test_names_of_chains_of_a_space():
    assert resolve_genotype("random:7") == resolve_genotype("random:7") == random_genotype(7) != random_genotype(8)
    assert resolve_genotype("random:7", OTHERS[1]).stage_blocks == (1, 5, 2)
    shortest = resolve_genotype("all:skip", OTHERS[2])
    assert shortest.chain == ((("k3_e3",), ("skip",)), (("k3_e3",), ("skip",), ("skip",)))
    assert set(resolve_genotype("all:k5_e6").blocks) == {("k5_e6",)}


def test_a_chain_of_another_space_has_no_support():
    for space, words in (
        (OTHERS[0], "its stages have 2 1 blocks"),
        (OTHERS[3], "it has k3_e3, k7_e6, skip"),
    ):
        with pytest.raises(UserError, match=f"not of the space that is searched: {words}"):
            space.support(ONE)


def test_options_resolve_to_what_fits_their_widths():
    options = build(ChainOptions, {"widths": "gpu"})
    assert options.resolve("ProxylessNAS_GPU") == PUBLISHED["ProxylessNAS_GPU"].genotype
    assert options.sizes(3, 10) == {"widths": "gpu", "in_channels": 3, "num_classes": 10}
    assert options.lasting("ProxylessNAS_GPU") == "ProxylessNAS_GPU"
    small = build(ChainOptions, {"widths": "digits", "blocks": (2, 1)})
    assert small.resolve(str(ONE)) == ONE and small.make_space().support(ONE) == ((0,), (6,), (5,))
    assert small.lasting("random:3") == "random:3"
    assert build(ChainOptions, {"widths": "digits"}).lasting(str(ONE)) == str(ONE)
    one_stage = str(replace(ONE, extra_bn="all"))
    assert small.resolve(one_stage, True).extra_bn == "all"
    for refused, words in (
        (lambda: options.resolve("ProxylessNAS_CPU"), "ProxylessNAS_CPU has other widths than --widths gpu; give cpu"),
        (lambda: options.resolve(str(ONE)), "--widths gpu are of 6 stages, not of 2; give --widths digits"),
        (lambda: small.resolve(str(ONE), True), "--onestage contradicts --arch Genotype.*, whose skips have no BN"),
        (lambda: small.resolve(one_stage, False), "--no_onestage contradicts"),
        (lambda: small.lasting(str(ONE)), "--blocks and --operations have no effect on --arch"),
        (lambda: small.check_parts(4), "--partial_channels 4 cannot be had"),
        (lambda: small.check_images(32, True), "--auxiliary cannot be had"),
        (lambda: build(ChainOptions, {"blocks": (2, 1)}), "--blocks must have 6 numbers, one for each stage"),
        (lambda: build(ChainOptions, {"blocks": (50, 50, 1, 1, 1, 1)}), "--blocks are 104 together"),
        (lambda: build(ChainOptions, {"operations": ("skip",)}), "one at least beside skip"),
        (lambda: build(ChainOptions, {"operations": ("skip", "k3_e3", "k3_e3")}), "must name different operations"),
    ):
        with pytest.raises(UserError, match=words):
            refused()
    small.check_images(1, False)
    small.check_parts(1)

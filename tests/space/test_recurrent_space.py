"""The recurrent space: flat indices, supports and genotypes, their JSON and text, what is refused, and pictures."""

import itertools
import json
import math
from collections import Counter, namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch
from geometry import check_layout
from matplotlib.image import imread

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.draw.layout import lay_out
from isnas.space.cells import genotype as of_images
from isnas.space.cells.published import PUBLISHED as PUBLISHED_IMAGE_CELLS
from isnas.space.cells.resolve import resolve_genotype as resolve_image_cell
from isnas.space.recurrent.genotype import RecurrentGenotype, genotype_from_json, genotype_from_text, read_genotype
from isnas.space.recurrent.operations import OPERATIONS
from isnas.space.recurrent.picture import cell_graph
from isnas.space.recurrent.published import PUBLISHED, published
from isnas.space.recurrent.resolve import random_genotype, resolve_genotype
from isnas.space.recurrent.space import RecurrentSpace

SPACE = RecurrentSpace()
OTHERS = (RecurrentSpace(num_nodes=1), RecurrentSpace(("identity", "tanh"), 3))
CELLS = {name: entry.genotype for name, entry in PUBLISHED.items()}
CELLS |= {f"{count} inputs": random_genotype(0, connections=count) for count in (2, 5, 40)}
PAIR = "('relu', 0), "
ONE = RecurrentGenotype(((("relu", 0),), (("tanh", 1),)), (1, 2))


def text(recurrent="[('relu', 0), ('tanh', 1)]", concat="range(1, 3)", rest="") -> str:
    return f"Genotype(recurrent={recurrent}, concat={concat}{rest})"


def fields(**changes) -> dict:
    return {"recurrent": [[["relu", 0]], [["tanh", 1]]], "concat": [1, 2]} | changes


def test_the_flat_index_counts_candidates_by_predecessor_then_operation():
    assert SPACE.sizes == (4, 8, 12, 16, 20, 24, 28, 32) and sum(SPACE.sizes) == 144
    assert RecurrentSpace() == SPACE and len({SPACE, RecurrentSpace()}) == 1
    for number, candidates in enumerate(SPACE.candidates, 1):
        expected = list(itertools.product(range(number), ("tanh", "relu", "sigmoid", "identity")))
        assert [(predecessor, operation) for operation, predecessor in candidates] == expected
        assert list(map(SPACE.flat, candidates)) == list(range(4 * number))
        assert list(SPACE.groups[number - 1]) == [predecessor for predecessor, _ in expected]
        assert SPACE.candidate_names[number - 1] == tuple(f"{name} of {predecessor}" for predecessor, name in expected)
    assert SPACE.node_names == tuple(f"node {number}" for number in range(1, 9))
    assert OTHERS[1].operations == ("tanh", "identity") and OTHERS[1].sizes == (2, 4, 6)


def test_a_support_names_a_published_cell():
    # by hand: 4 * predecessor + position of the operation
    support = ((2,), (5,), (5,), (7,), (8,), (22,), (12,), (21,))
    assert SPACE.support(published("DARTS_V2").genotype) == support
    assert SPACE.genotype(support) == published("DARTS").genotype == CELLS["DARTS_V2"] != CELLS["DARTS_V1"]
    counts = {"tanh": 2, "relu": 3, "sigmoid": 2, "identity": 1}
    assert SPACE.operation_counts(CELLS["DARTS_V2"]) == counts


@pytest.mark.parametrize("space", [SPACE, *OTHERS])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_random_supports_are_supports_and_uniform(space, count):
    drawn = [space.random(generator(0, "random", n), count) for n in range(400)]
    for support in drawn:
        assert [len(node) for node in support] == [min(count, size) for size in space.sizes]
        assert space.support(space.genotype(support)) == support
    for place, size in enumerate(space.sizes):
        portion = min(count, size) / size
        counts = Counter(k for support in drawn for k in support[place])
        deviation = math.sqrt(400 * portion * (1 - portion))
        assert all(abs(counts[k] - 400 * portion) <= 4.5 * deviation for k in range(size))


def test_random_supports_from_distinct_predecessors():
    for number in range(50):
        support = SPACE.random(generator(0, "distinct", number), 2, distinct_inputs=True)
        for node, (kept, groups) in enumerate(zip(support, SPACE.groups), 1):
            assert len({groups[k] for k in kept}) == len(kept) == min(2, node)
    left_out = [SPACE.random(generator(1, number), 1, distinct_inputs=True, none=True) for number in range(200)]
    empty = sum(not node for support in left_out for node in support)
    assert abs(empty - 1600 / 5) < 4.5 * math.sqrt(1600 * 0.2 * 0.8)


def test_an_empty_node_reads_the_one_before_by_a_relu():
    support = ((), (3, 6), (), (1,), (), (), (2,), (0,))
    names = SPACE.genotype(SPACE.connected(support)).recurrent
    assert names[0] == (("relu", 0),) and names[2] == (("relu", 2),) and names[5] == (("relu", 5),)
    assert SPACE.support(SPACE.genotype(SPACE.connected(support)))[1] == (3, 6)
    full = ((0,), (0,), (0,))
    assert OTHERS[1].connected(full) == full
    with pytest.raises(UserError, match="node 2 has no connection, and only a relu can stand in; add relu"):
        OTHERS[1].connected(((0,), (), (1,)))


@pytest.mark.parametrize(
    ("genotype", "words"),
    [
        (ONE, "it does not have 8 nodes"),
        (CELLS["ENAS"], "it does not have 8 nodes"),
        (replace(CELLS["DARTS_V1"], concat=(8,)), "its output is not the mean of all nodes"),
    ],
)
def test_cells_of_another_space_are_refused(genotype, words):
    with pytest.raises(UserError, match=words):
        SPACE.support(genotype)
    with pytest.raises(UserError, match="it has relu, sigmoid"):
        RecurrentSpace(("tanh", "identity")).support(CELLS["DARTS_V2"])


@pytest.mark.parametrize("name", CELLS)
def test_cells_survive_json_and_text(tmp_path, name):
    genotype = CELLS[name]
    path = tmp_path / "genotype.json"
    for content in (genotype.to_json(), {"genotype": genotype.to_json(), "valid_loss": 4.5}):
        path.write_text(json.dumps(content))
        assert read_genotype(path) == resolve_genotype(str(path)) == resolve_genotype(str(tmp_path)) == genotype
    assert genotype_from_text(str(genotype)) == resolve_genotype(f"genotype = {genotype}") == genotype
    assert genotype_from_json(genotype.to_json()).hash() == genotype.hash()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_text_is_what_the_code_of_darts_evaluates(name):
    darts = namedtuple("Genotype", "recurrent concat")
    read = eval(str(CELLS[name]), {"Genotype": darts, "range": range})
    assert tuple((pair,) for pair in read.recurrent) == CELLS[name].recurrent
    assert tuple(read.concat) == CELLS[name].concat


def test_facts_of_published_cells():
    assert str(CELLS["DARTS_V2"]).startswith("Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1)")
    assert str(CELLS["DARTS_V2"]).endswith("('relu', 5)], concat=range(1, 9))")
    assert len(CELLS["ENAS"].recurrent) == 11 and CELLS["ENAS"].concat == (2, 5, 6, 9, 10, 11)
    assert all(len(node) == 1 for name in PUBLISHED for node in CELLS[name].recurrent)
    reported = [str(figure) for entry in PUBLISHED.values() for figure in entry.reported]
    assert "58.1 / 55.7, 23 M (CoNAS, Table 3)" in reported and "- / 56.3, 24 M (CoNAS, Table 3)" in reported


def test_the_order_of_inputs_means_nothing_and_all_else_something():
    connections = [("sigmoid", 0), ("identity", 1), ("tanh", 1), ("relu", 0)]
    nodes = (("relu", 0),)
    same = {RecurrentGenotype((nodes, order), (2, 1)) for order in itertools.permutations(connections)}
    assert len(same) == 1 and len({genotype.hash() for genotype in same}) == 1
    # by predecessor, then in the order of the operations
    assert same.pop().recurrent[1] == (("relu", 0), ("sigmoid", 0), ("tanh", 1), ("identity", 1))
    different = [ONE, replace(ONE, concat=(1,)), replace(ONE, concat=(2,)), *CELLS.values()]
    different += [replace(ONE, recurrent=(*ONE.recurrent, (("relu", 2),)))]
    different += [replace(ONE, recurrent=(node, ONE.recurrent[1])) for node in ((("tanh", 0),), (("tanh", 0), *nodes))]
    assert len({genotype.hash() for genotype in different}) == len(different)


def test_every_form_of_text_is_one_genotype():
    forms = ["[('relu', 0), ('tanh', 1)]", "[[('relu', 0)], [('tanh', 1)]]", "[('relu', 0), [('tanh', 1)]]"]
    read = {genotype_from_text(text(form, concat)) for form in forms for concat in ("range(1, 3)", "[2, 1]", "(1, 2)")}
    assert read == {ONE}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (text("[('gelu', 0)]", "[1]"), "unknown operation 'gelu'; choose from tanh, relu, sigmoid, identity"),
        (text("[('none', 0)]", "[1]"), "unknown operation 'none'"),
        (text("[('relu', 1)]", "[1]"), "node 1 of recurrent cannot have predecessor 1"),
        (text("[('relu', -1)]", "[1]"), "node 1 of recurrent cannot have predecessor -1"),
        (text("[('relu', True)]", "[1]"), "cannot have predecessor True"),
        (text("[('relu', 0.0)]", "[1]"), "cannot have predecessor 0.0"),
        (text("[]"), "recurrent must be a list of nodes"),
        (text("{'relu': 0}"), "recurrent must be a list of nodes"),
        (text("[('relu', 0), 3]"), "node 2 of recurrent must be a list"),
        (text("[('relu', 0), [3]]"), "3 in node 2 of recurrent is not an (operation, predecessor) pair"),
        (text("[('relu', 0), []]"), "node 2 of recurrent has no connection; it needs one at least"),
        (text("[[('relu', 0), ('relu', 0)]]", "[1]"), "node 1 of recurrent has a connection twice"),
        (text(f"[{PAIR * 97}]", "[1]"), "recurrent has 97 nodes; a cell has 96 at most"),
        (text(f"[[{PAIR * 9}]]", "[1]"), "node 1 of recurrent has 9 connections; there are 4"),
        (text(concat="range(1, 9)"), "concat names node 3, but recurrent has nodes 1..2"),
        (text(concat="[0]"), "concat names node 0"),
        (text(concat="[]"), "concat must list at least one node"),
        (text(concat="[1, 1]"), "concat names a node twice"),
        (text(concat="range(10 ** 9)"), "expressions"),
        (text(rest=", colour='red'"), "unknown field 'colour'"),
        (text(rest=", concat=[1]"), "every field must be given once, by name, as in recurrent=[...]"),
        ("Genotype()", "the field recurrent is missing"),
        ("Genotype(recurrent=[('relu', 0)])", "the field concat is missing"),
        ("Genotype(", "not of the form Genotype(recurrent=[...], concat=...)"),
        (text("[" * 90_000 + "]" * 90_000), "not of the form"),
        (text("[" + "1, " * 10**6 + "]"), "the text has 3,000,"),
        (text(f"[('relu', {'9' * 4000})]"), "cannot have predecessor 9999"),
        (str(PUBLISHED_IMAGE_CELLS["DARTS_V2"].genotype), "it is a cell for networks of images; language models need"),
    ],
    ids=lambda value: value[:50],
)
def test_refused_texts(wrong, words):
    for read in (genotype_from_text, resolve_genotype):
        with pytest.raises(UserError) as caught:
            read(wrong)
        assert words in str(caught.value) and len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_text_is_never_evaluated(tmp_path):
    made = tmp_path / "made"
    attack = f"__import__('pathlib').Path({str(made)!r}).touch()"
    forms = [text(attack), text(f"[({attack}, 0)]"), text(concat=f"range({attack})"), text(rest=f", x={attack}")]
    for form in [*forms, f"Genotype({attack})", f"{text()}({attack})"]:
        with pytest.raises(UserError):
            resolve_genotype(form)
    assert not made.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not JSON"),
        (str(ONE), "is not JSON"),
        ("[]", "expected a JSON object with recurrent, concat"),
        ("{}", "the field recurrent is missing"),
        (json.dumps(fields(recurrent=[[["gelu", 0]]])), "unknown operation 'gelu'"),
        (json.dumps(fields(recurrent=[[["relu", float("nan")]]])), "cannot have predecessor nan"),
        (json.dumps(fields(recurrent="relu")), "recurrent must be a list of nodes"),
        (json.dumps(fields(recurrent=[[]])), "node 1 of recurrent has no connection"),
        (json.dumps(fields(concat=2)), "concat must list at least one node"),
        (json.dumps(fields(colour="red")), "unknown field 'colour'"),
        (json.dumps(fields())[:-1] + ', "concat": [1]}', "it gives 'concat' twice"),
        (json.dumps(fields(recurrent=[[]] * 10**6)), "it has more than 1,000,000 bytes"),
        (json.dumps(PUBLISHED_IMAGE_CELLS["DARTS_V1"].genotype.to_json()), "it is a cell for networks of images"),
    ],
    ids=lambda value: value[:50],
)
def test_refused_files_are_named(tmp_path, content, words):
    path = tmp_path / "cell.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_genotype(path)
    assert str(caught.value).startswith(str(path)) and words in str(caught.value) and len(str(caught.value)) < 400


def test_networks_of_images_refuse_a_recurrent_cell(tmp_path):
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps({"genotype": ONE.to_json()}))
    words = "it is a recurrent cell, for language models"
    readers = (of_images.genotype_from_text, resolve_image_cell)
    for read, given in [*((read, str(ONE)) for read in readers), (of_images.read_genotype, path)]:
        with pytest.raises(UserError, match=words) as caught:
            read(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["random:", "random:-1", "random:x", "random:1:2", "random:" + "9" * 20, "random"])
def test_the_seed_of_a_random_cell_is_few_digits(wrong):
    with pytest.raises(UserError, match="a random cell is written random:SEED with a number from 0 up, not 'random"):
        resolve_genotype(wrong)


def test_names():
    assert resolve_genotype("random:7") == resolve_genotype("random:7") != resolve_genotype("random:8")
    assert len(resolve_genotype("random:7", OTHERS[1]).recurrent) == 3
    for name in ("x" * 10**5, "ISTA_twostage", "missing.json"):
        with pytest.raises(UserError) as caught:
            resolve_genotype(name)
        assert len(str(caught.value)) < 400
    with pytest.raises(UserError, match="published recurrent cells are DARTS_V1, DARTS_V2, ENAS"):
        published("ISTA_twostage")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DARTS_V2", "ENAS", "2 inputs", "40 inputs"])
def test_pictures_have_every_connection(name, tmp_path):
    genotype = CELLS[name]
    if name == "40 inputs":  # all candidates are more than a picture shows
        genotype = random_genotype(1, RecurrentSpace(num_nodes=3), 40)
    graph = cell_graph(genotype)
    check_layout(graph, lay_out(graph))
    count = len(genotype.recurrent)
    numbers = ["x", "h", *range(count + 1), "output"]
    found = Counter((numbers[a.source], a.text, numbers[a.target]) for a in graph.arrows)
    expected = Counter((p, name, number) for number, node in enumerate(genotype.recurrent, 1) for name, p in node)
    expected += Counter([("x", "", 0), ("h", "", 0), *((number, "", "output") for number in genotype.concat)])
    assert found == expected
    paths = SPACE.draw(genotype, tmp_path / "new")
    assert paths == [tmp_path / "new" / "cell.png", tmp_path / "new" / "cell.svg"]
    svg = paths[1].read_text()
    assert all(f">{operation}<" in svg for node in genotype.recurrent for operation, _ in node)
    pixels = imread(paths[0])[..., :3]
    assert 0.02 < (pixels < 0.98).any(-1).mean() < 0.7
    filling = {tuple(int(row.colors[1][i : i + 2], 16) for i in (1, 3, 5)) for row in OPERATIONS.values()}
    assert len(filling) == len(OPERATIONS)
    seen = {tuple(color) for color in np.unique(np.round(pixels * 255).astype(int).reshape(-1, 3), axis=0).tolist()}
    used = {operation for node in genotype.recurrent for operation, _ in node}
    assert {tuple(int(OPERATIONS[o].colors[1][i : i + 2], 16) for i in (1, 3, 5)) for o in used} <= seen


def test_the_super_net_holds_all_candidates():
    network = RecurrentSpace(num_nodes=3).super_net(vocabulary=5, ninp=4, nhid=4)
    assert network.num_connections() == 24 and len(network.cell.weights) == 3
    tokens = torch.zeros(2, 1, dtype=torch.long)
    assert network(tokens, network.first_state(1)).logits.shape == (2, 1, 5)

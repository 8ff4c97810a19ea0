import hashlib
import itertools
import json
import os
from collections import namedtuple
from dataclasses import replace

import pytest

from isnas.base.errors import UserError
from isnas.methods.registry import make_options
from isnas.space.cells.genotype import EXTRA_BN, Genotype, genotype_from_json, genotype_from_text, read_genotype
from isnas.space.cells.published import PUBLISHED, on_imagenet, published
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.cells.space import CellSpace

CELLS = {name: entry.genotype for name, entry in PUBLISHED.items()}
PAIRS = "[('skip_connect', 0), ('sep_conv_3x3', 1)]"


def text(normal=PAIRS, normal_concat="range(2, 3)", rest="") -> str:
    return f"Genotype(normal={normal}, normal_concat={normal_concat}, reduce={PAIRS}, reduce_concat=[2]{rest})"


def fields(**changes) -> dict:
    pairs = [[["skip_connect", 0], ["sep_conv_3x3", 1]]]
    return {"normal": pairs, "normal_concat": [2], "reduce": pairs, "reduce_concat": [2]} | changes


def short(value: str) -> str:
    return value[:60]


ONE_NODE = genotype_from_json(fields())


@pytest.mark.parametrize("name", CELLS)
def test_published_cells_survive_json_and_text(tmp_path, name):
    genotype = CELLS[name]
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(genotype.to_json()))
    assert read_genotype(path) == genotype
    path.write_text(json.dumps({"genotype": genotype.to_json(), "valid_acc": 1.0}))
    assert read_genotype(path) == genotype
    assert genotype_from_text(str(genotype)) == genotype


@pytest.mark.parametrize("name", CELLS)
def test_the_text_is_what_the_code_of_darts_evaluates(name):
    darts = namedtuple(  # as in its genotypes.py, with a field more
        "Genotype", "normal normal_concat reduce reduce_concat extra_bn", defaults=["none"]
    )
    genotype = CELLS[name]
    read = eval(str(genotype), {"Genotype": darts, "range": range})
    for kind in ("normal", "reduce"):
        pairs = getattr(read, kind)
        if isinstance(pairs[0], tuple):
            pairs = [pairs[2 * node : 2 * node + 2] for node in range(len(pairs) // 2)]
        assert tuple(map(tuple, pairs)) == getattr(genotype, kind)
        assert tuple(getattr(read, f"{kind}_concat")) == getattr(genotype, f"{kind}_concat")
    assert read.extra_bn == genotype.extra_bn


@pytest.mark.parametrize("extra_bn", EXTRA_BN)
@pytest.mark.parametrize("name", CELLS)
def test_a_log_has_the_four_fields_of_darts_and_what_else_there_is_below(name, extra_bn):
    genotype = replace(CELLS[name], extra_bn=extra_bn)
    first, *others = genotype.lines()
    darts = namedtuple("Genotype", "normal normal_concat reduce reduce_concat")  # as in its genotypes.py
    names = {"Genotype": darts, "range": range}
    exec(first, names)
    assert genotype_from_json(names["genotype"]._asdict()) == replace(genotype, extra_bn="none")
    assert others == ([] if extra_bn == "none" else [f"extra_bn = '{extra_bn}'"])
    logged = [f"07/23 10:12:11 AM {line}" for line in (first, *others)]
    for copied in ("\n".join([first, *others]), "\n".join(logged), " ".join(logged), "\n".join([*logged, ""])):
        assert resolve_genotype(copied) == genotype
    assert resolve_genotype(logged[0]) == replace(genotype, extra_bn="none")


def test_what_stands_below_a_genotype_is_taken_for_no_other_thing():
    for below in ("train 000 2.3", "extra_bn = 'some'", "extra_bn = all", "x extra_bn = 'all'", "extra_bn = 'all' 1"):
        with pytest.raises(UserError):
            resolve_genotype(f"{CELLS['ISTA_twostage'].lines()[0]}\n{below}")
    with pytest.raises(UserError, match="every field must be given once"):
        resolve_genotype(f"{text(rest=', extra_bn=True')}\nextra_bn = 'all'")


def test_flat_and_nested_pairs_and_every_concat_are_one_genotype():
    nested = f"[{PAIRS}, [('skip_connect', 2), ('max_pool_3x3', 0)]]"
    flat = "[('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0)]"
    forms = {
        genotype_from_text(text(pairs, concat)) for pairs in (nested, flat) for concat in ("range(2, 4)", "[3, 2]")
    }
    assert len(forms) == 1
    (genotype,) = forms
    assert len(genotype.normal) == 2 and genotype.normal_concat == (2, 3)
    assert genotype_from_text(text(rest=", extra_bn=True")).extra_bn == "all"


def test_the_order_of_connections_means_nothing():
    connections = [("dil_conv_5x5", 0), ("skip_connect", 1), ("max_pool_3x3", 1), ("sep_conv_3x3", 1)]
    genotypes = {replace(ONE_NODE, normal=(order,)) for order in itertools.permutations(connections)}
    assert len(genotypes) == 1
    # by predecessor, then in the order of the paper's operations
    canonical = (("dil_conv_5x5", 0), ("max_pool_3x3", 1), ("skip_connect", 1), ("sep_conv_3x3", 1))
    assert genotypes.pop().normal == (canonical,)


def test_the_hash_is_of_the_architecture_alone():
    content = (
        '{"normal": [[["skip_connect", 0], ["sep_conv_3x3", 1]]], "normal_concat": [2], '
        '"reduce": [[["skip_connect", 0], ["sep_conv_3x3", 1]]], "reduce_concat": [2], "extra_bn": "none"}'
    )
    assert ONE_NODE.hash() == hashlib.sha256(content.encode()).hexdigest()[:12]
    different = [
        ONE_NODE,
        replace(ONE_NODE, normal=((("skip_connect", 1), ("sep_conv_3x3", 1)),)),
        replace(ONE_NODE, reduce=((("skip_connect", 1), ("sep_conv_3x3", 1)),)),
        replace(ONE_NODE, normal=((("skip_connect", 0), ("sep_conv_5x5", 1)),)),
        replace(ONE_NODE, normal=((("skip_connect", 0),),)),
        replace(ONE_NODE, normal=(*ONE_NODE.normal, ())),
        replace(ONE_NODE, normal=(*ONE_NODE.normal, ()), normal_concat=(2, 3)),
        replace(ONE_NODE, extra_bn="pools"),
        *CELLS.values(),
    ]
    assert len({genotype.hash() for genotype in different}) == len(different)


@pytest.mark.parametrize("sizes", [(0,), (1,), (3, 0), (2, 2), (1, 5, 2)])
def test_nodes_have_any_number_of_connections(sizes):
    nodes = tuple(tuple(itertools.islice(itertools.cycle(CellSpace().candidates[0]), size)) for size in sizes)
    genotype = Genotype(nodes, (2,), nodes, (1 + len(sizes),), "pools")
    assert tuple(map(len, genotype.normal)) == sizes
    assert genotype_from_text(str(genotype)) == genotype
    assert genotype_from_json(json.loads(json.dumps(genotype.to_json()))) == genotype


def test_facts_of_published_cells():
    two_stage, conas = CELLS["ISTA_twostage"], CELLS["CoNAS_release"]
    assert two_stage.normal[0] == (("skip_connect", 0), ("dil_conv_3x3", 1))
    assert set(two_stage.reduce[3]) == {("dil_conv_5x5", 4), ("sep_conv_5x5", 1)}
    assert len(conas.reduce[3]) == 5 and conas.extra_bn == "pools"
    assert (two_stage.extra_bn, CELLS["ISTA_onestage"].extra_bn) == ("none", "all")
    assert on_imagenet(CELLS["ISTA_onestage"]).extra_bn == "none"
    assert published("DARTS").genotype == CELLS["DARTS_V2"] != CELLS["DARTS_V1"]
    ista = [CELLS[name] for name in ("ISTA_twostage", "ISTA_onestage", "ISTA_ImageNet")]
    nodes = [node for genotype in ista for node in genotype.normal + genotype.reduce]
    assert len(nodes) == 24
    assert all(len({predecessor for _, predecessor in node}) == 2 == len(node) for node in nodes)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (text("[('conv_9x9', 0), ('skip_connect', 1)]"), "unknown operation 'conv_9x9'; choose from max_pool_3x3"),
        (text("[('skip_connect', 0), ('skip_connect', 2)]"), "node 2 of normal cannot have predecessor 2"),
        (text("[('skip_connect', 0), ('skip_connect', -1)]"), "node 2 of normal cannot have predecessor -1"),
        (text("[('skip_connect', 0), ('skip_connect', 1.0)]"), "cannot have predecessor 1.0"),
        (text("[('skip_connect', 0), ('skip_connect', True)]"), "cannot have predecessor True"),
        (text("[('skip_connect', 0)]"), "normal has 1 pairs; a flat list needs two per node"),
        (text("[]"), "normal must be a list of nodes"),
        (text("[('skip_connect', 0), 3]"), "3 in node 2 of normal is not an (operation, predecessor) pair"),
        (text("[[('skip_connect', 0)], 3]"), "node 3 of normal must be a list"),
        (text("{'skip_connect': 0}"), "normal must be a list of nodes"),
        (text(normal_concat="range(2, 6)"), "normal_concat names node 3, but normal has nodes 2..2"),
        (text(normal_concat="[1]"), "normal_concat names node 1"),
        (text(normal_concat="[2.0]"), "normal_concat names node 2.0"),
        (text(normal_concat="[2, 2]"), "normal_concat names a node twice"),
        (text(normal_concat="[]"), "normal_concat must list at least one node"),
        (text(normal_concat="range(10 ** 9)"), "expressions"),
        (text(normal_concat="range(101)"), "range takes one or two small integers"),
        (text(rest=", extra_bn='some'"), "extra_bn must be one of none, pools, all"),
        (text(rest=", extra_bn=[]"), "extra_bn must be one of none, pools, all"),
        (text(rest=", colour='red'"), "unknown field 'colour'"),
        (text(rest=", normal=[]"), "every field must be given once"),
        (text(rest=", **{}"), "every field must be given once"),
        ("Genotype()", "the field normal is missing"),
        ("Genotype(", "not of the form Genotype(normal="),
        ("print(1)", "not of the form Genotype(normal="),
        ("", "not of the form Genotype(normal="),
        ("Genotype(normal=\0)", "not of the form Genotype(normal="),
        (text("[" * 90 + "]" * 90), "not an (operation, predecessor) pair"),
        (text("[" * 90_000 + "]" * 90_000), "not of the form"),
        (text("-" * 50_000 + "1"), "not of the form"),
        (text("[" + "1, " * 10**6 + "]"), "the text has 3,000,"),
        (text("[" + "[], " * 97 + "]"), "normal has 97 nodes; a cell has 96 at most"),
        (text("[[" + "('skip_connect', 0), " * 99 + "]]"), "node 2 of normal has 99 connections; there are"),
        (text(f"[('skip_connect', {'9' * 4000}), ('skip_connect', 0)]"), "cannot have predecessor 9999"),
        (text(f"[('skip_connect', 0x{'f' * 90_000}), ('skip_connect', 0)]"), "predecessor a number of thousands of"),
        (text(f"[('{'x' * 90_000}', 0), ('skip_connect', 0)]"), "unknown operation 'xxx"),
        (text(f"[('skip_connect', 0), {'[1, 2], ' * 9_000}]"), "normal has 9001 pairs"),
        (text(f"[('skip_connect', 0), {[7] * 30_000}]"), "[7, 7, 7, 7, 7, 7, ...] in node 2"),
        (text(normal_concat=f"['{'x' * 90_000}']"), "normal_concat names node 'xxx"),
        (text(rest=f", extra_bn='{'x' * 90_000}'"), "extra_bn must be one of none, pools, all, not 'xxx"),
        (text(rest=f", {'x' * 90_000}=1"), "unknown field 'xxx"),
        (text("[('\\d', 0), ('skip_connect', 0)]"), "unknown operation"),  # Python has a warning for the escape
    ],
    ids=short,
)
def test_refused_texts(wrong, words):
    with pytest.raises(UserError) as caught:
        genotype_from_text(wrong)
    assert words in str(caught.value) and len(str(caught.value)) < 400


def test_text_is_never_evaluated(tmp_path):
    made = tmp_path / "made"
    attack = f"__import__('pathlib').Path({str(made)!r}).touch()"
    assert eval(attack) is None and made.exists()  # it would work
    made.unlink()
    forms = [
        text(attack),
        text(f"[{attack}]"),
        text(f"[({attack}, 0), ('skip_connect', 1)]"),
        text(rest=f", x={attack}"),
    ]
    forms += [text(normal_concat=f"range({attack})"), f"Genotype({attack})", attack, f"({attack}, {text()})"]
    forms += [text(f"[x for x in [{attack}]]"), text(f"f'{{{attack}}}'"), f"{text()}.normal", f"{text()}({attack})"]
    for form in forms:
        with pytest.raises(UserError):
            genotype_from_text(form)
        with pytest.raises(UserError):
            resolve_genotype(form)
    assert not made.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        (str(ONE_NODE), "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("null", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ("{}", "the field normal is missing"),
        ('{"genotype": {}}', "the field normal is missing"),
        (json.dumps(fields(normal=[[["conv_9x9", 0]]])), "unknown operation 'conv_9x9'"),
        (json.dumps(fields(normal=[[["skip_connect", 2]]])), "cannot have predecessor 2"),
        (json.dumps(fields(normal="skip_connect")), "normal must be a list of nodes"),
        (json.dumps(fields(normal=[[[[[[]]]]]])), "pair"),
        (json.dumps(fields(normal_concat=2)), "normal_concat must list at least one node"),
        (json.dumps(fields(normal_concat=[7])), "normal_concat names node 7"),
        (json.dumps(fields(extra_bn=None)), "extra_bn must be one of"),
        (json.dumps(fields(colour="red")), "unknown field 'colour'"),
        (json.dumps(fields())[:-1] + ', "normal": []}', "it gives 'normal' twice"),
        (json.dumps({"genotype": fields()})[:-2] + ', "normal": []}}', "it gives 'normal' twice"),
        (json.dumps(fields(normal=[[["skip_connect", float("nan")]]])), "cannot have predecessor nan"),
        (json.dumps(fields(normal=[[["skip_connect", 1e30]]])), "cannot have predecessor 1e+30"),
        (json.dumps(fields(normal=[[["skip_connect", "0"]]])), "cannot have predecessor '0'"),
        (json.dumps(fields()).replace("1]", "9" * 5000 + "]"), "is not JSON"),
        (json.dumps(fields()).replace("1]", "9" * 4000 + "]"), "cannot have predecessor 9999"),
        (json.dumps(fields(normal=[[]] * 10**5)), "normal has 100000 nodes; a cell has 96 at most"),
        (json.dumps(fields(normal=[[]] * 10**6)), "is not JSON (it has more than 1,000,000 bytes)"),
        (json.dumps(fields(normal=[[["skip_connect", 0]] * 10**4])), "node 2 of normal has 10000 connections"),
        (json.dumps(fields(**{"x" * 10**5: 1})), "unknown field 'xxx"),
    ],
    ids=short,
)
def test_refused_files_are_named(tmp_path, content, words):
    path = tmp_path / "cell.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_genotype(path)
    assert str(caught.value).startswith(str(path)) and words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.json").write_bytes(b'{"normal": "\xe9"}')
    for path in (tmp_path, tmp_path / "missing.json", tmp_path / "latin.json"):
        with pytest.raises(UserError, match=str(path)):
            read_genotype(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_file_in_the_way_of_another_editor(tmp_path, encoding, ending):
    path = tmp_path / "cell.json"
    path.write_bytes(json.dumps(fields(), indent=1).replace("\n", ending).encode(encoding))
    assert read_genotype(path) == ONE_NODE
    assert resolve_genotype(str(path)) == ONE_NODE


def test_the_largest_cells_of_a_search_can_be_read(tmp_path):
    nodes = tuple(node[: 7 * (index + 2)] for index, node in enumerate(CellSpace(num_nodes=32).candidates))
    genotype = Genotype(nodes, (33,), nodes, (2,), "all")
    assert genotype_from_text(str(replace(genotype, reduce=ONE_NODE.reduce))).normal == nodes
    (tmp_path / "genotype.json").write_text(json.dumps(genotype.to_json(), indent=1))
    assert read_genotype(tmp_path / "genotype.json") == genotype


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cell.json")
    with pytest.raises(UserError, match="it is a pipe or a device"):
        read_genotype(tmp_path / "cell.json")


@pytest.mark.parametrize("kind", ["random", "random_distinct"])
@pytest.mark.parametrize("seed", ["9" * 5000, "9" * 20, "٣", "-1", "1_0", "", "1e3"])
def test_the_seed_of_a_random_architecture_is_few_digits(kind, seed):
    with pytest.raises(UserError, match=f"is written {kind}:SEED with a number from 0 up, not 'random") as caught:
        resolve_genotype(f"{kind}:{seed}")
    assert len(str(caught.value)) < 300


def test_messages_repeat_little_of_a_long_name():
    for name in ("x" * 10**5, "x" * 10**5 + ".json", "x/" * 10**5):
        with pytest.raises(UserError, match="unknown architecture 'x") as caught:
            resolve_genotype(name)
        assert len(str(caught.value)) < 500
    options = make_options("evaluation")
    for refused in (lambda: options.resolve(text(" " * 10**5 + PAIRS), True), lambda: published("x" * 10**5)):
        with pytest.raises(UserError) as caught:
            refused()
        assert len(str(caught.value)) < 500


def test_an_architecture_is_a_name_a_file_a_folder_or_text(tmp_path):
    genotype = CELLS["NASNet"]
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps({"genotype": genotype.to_json()}))
    for written in ("NASNet", str(path), str(tmp_path), f" {genotype}\n"):
        assert resolve_genotype(written) == genotype
    for written, meant in (("nasnet", "NASNet"), ("ISTA_twostge", "ISTA_twostage"), ("darts_v1", "DARTS_V1")):
        with pytest.raises(UserError, match=rf"^unknown architecture '{written}'; did you mean {meant}\?$"):
            resolve_genotype(written)
    for written in ("A" * 10_000, "a\0b", str(tmp_path / "missing")):
        with pytest.raises(UserError, match=r"unknown architecture .*\(ISTA_twostage, "):
            resolve_genotype(written)
    with pytest.raises(UserError, match=str(tmp_path / "missing.json")):
        resolve_genotype(str(tmp_path / "missing.json"))

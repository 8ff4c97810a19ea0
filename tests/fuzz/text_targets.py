"""Fuzz targets for what people write: genotypes, options, and the files of finished runs."""

import dataclasses
import json
import random
import re
import typing
from functools import cache

import sklearn.linear_model  # noqa: F401  # or every process would import it anew
import yaml
from fuzz.harness import Target
from fuzz.mutation import WORDS, damaged, grafted, misspelt, odd

from isnas.analysis.commands import ANALYSES
from isnas.analysis.conas_stability import cifar_size
from isnas.analysis.runs import SummaryOptions, analyse
from isnas.analysis.tabulated.queries import open_benchmark
from isnas.analysis.tabulated.table import row_of
from isnas.base.errors import UserError
from isnas.base.options import build, load_yaml, to_dict, to_yaml
from isnas.methods.registry import METHODS, make_options, parse_run
from isnas.space.cells.genotype import genotype_from_text, read_genotype
from isnas.space.cells.published import PUBLISHED
from isnas.space.cells.resolve import random_genotype, resolve_genotype
from isnas.space.cells.space import CellSpace
from isnas.space.recurrent import genotype as recurrent
from isnas.space.recurrent import resolve as of_recurrent
from isnas.space.recurrent.published import PUBLISHED as RECURRENT_CELLS


def a_genotype(rng):
    """A published genotype, or a random one."""
    published = rng.choice(list(PUBLISHED.values())).genotype
    return published if rng.random() < 0.5 else random_genotype(rng.randrange(20), connections=rng.choice((1, 2, 3)))


def make_genotype_text(rng):
    """A text after ``--arch``."""
    text = rng.choice((str(a_genotype(rng)), str(a_genotype(rng)), "random:7", "random_wired:7:9", "ISTA_twostage"))
    return misspelt(rng, text)


def check_genotype_text(text, folder):
    """It is the genotype that its own text and JSON say, and nothing was run."""
    genotype = resolve_genotype(text)
    check_genotype(genotype, folder)


def make_genotype_file(rng):
    """The bytes of a genotype.json."""
    tree = a_genotype(rng).to_json()
    if rng.random() < 0.6:
        tree = grafted(rng, tree)
    text = dumped({"genotype": tree, "valid_acc": 50.0} if rng.random() < 0.3 else tree)
    data = text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")
    return data if rng.random() < 0.7 else damaged(rng, data)


def check_genotype_file(data, folder):
    """As above, in a file."""
    (folder / "genotype.json").write_bytes(data)
    check_genotype(read_genotype(folder / "genotype.json"), folder)


def check_genotype(genotype, folder):
    """It can be written and read again."""
    assert genotype_from_text(str(genotype)) == genotype
    (folder / "again.json").write_text(json.dumps(genotype.to_json()))
    assert read_genotype(folder / "again.json") == genotype


def a_recurrent_genotype(rng):
    """A published recurrent cell, or a random one."""
    published = rng.choice(list(RECURRENT_CELLS.values())).genotype
    return published if rng.random() < 0.5 else of_recurrent.random_genotype(rng.randrange(20), connections=2)


def make_recurrent(rng):
    """A text after ``--arch``, or the bytes of a genotype.json."""
    if rng.random() < 0.5:
        return misspelt(rng, rng.choice((str(a_recurrent_genotype(rng)), str(a_genotype(rng)), "random:7", "ENAS")))
    tree = a_recurrent_genotype(rng).to_json()
    return dumped(grafted(rng, tree) if rng.random() < 0.7 else tree).encode("utf-8", "surrogatepass")


def check_recurrent(given, folder):
    """It is the genotype that its own text and JSON say, and nothing was run."""
    if isinstance(given, str):
        genotype = of_recurrent.resolve_genotype(given)
    else:
        (folder / "genotype.json").write_bytes(given)
        genotype = recurrent.read_genotype(folder / "genotype.json")
    assert recurrent.genotype_from_text(str(genotype)) == genotype
    (folder / "again.json").write_text(json.dumps(genotype.to_json()))
    assert recurrent.read_genotype(folder / "again.json") == genotype


#: Values of options as a line of a config and a flag may give them, plain words in YAML too.
_PLAIN = """1 2 3 7 0.5 1e-3 1e3 100 digits fake cpu off bf16 homotopy fista 1.0 1. .5 +3 007 0b11 0o17 1_000 3e2 12e03
1:04 yes epoch 1e19 1:2:3.5"""
PLAIN = (*_PLAIN.split(), *(word for word in WORDS if re.fullmatch(r"[\w.+:-]+", word) and word not in ("-", "null")))


@cache
def fields_of(method):
    """The options of a method's run and their types, but for its own name and the space's."""
    cls = type(make_options(method, **({"arch": "random:1"} if method == "evaluation" else {})))
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.name not in ("method", "space")]
    return {name: hints[name] for name in names}


def make_config(rng):
    """A method and a config for it: lines of an option and a word, or any YAML."""
    method = rng.choice(list(METHODS))
    names = list(fields_of(method))
    pairs = [(rng.choice(names), rng.choice(PLAIN)) for _ in range(rng.choice((1, 1, 2, 3)))]
    if rng.random() < 0.5:
        return method, dict(pairs), b""
    text = "".join(f"{name}: {word}\n" for name, word in pairs)
    if rng.random() < 0.3:
        text = dumped({name: odd(rng) for name, _ in pairs})
    data = misspelt(rng, text).encode("utf-8", "surrogatepass")
    return method, {}, data if rng.random() < 0.7 else damaged(rng, data)


def check_config(given, folder):
    """It is read as its own YAML, and what a plain line says is what a flag with the same word says."""
    method, words, data = given
    path = folder / "config.yaml"
    path.write_bytes(data or "".join(f"{name}: {word}\n" for name, word in words.items()).encode())
    arguments = [*(["--arch", "random:1"] if method == "evaluation" else []), "--method", method]
    options = parse_run([*arguments, "--config", str(path)], METHODS, method, "")[1]
    path.write_text(to_yaml(options))
    assert build(type(options), load_yaml(type(options), path)) == options
    flags = [f"--{name}={word}" for name, word in words.items() if fields_of(method)[name] in (int, float, int | None)]
    if flags:
        told = to_dict(parse_run([*arguments, *flags], METHODS, method, "")[1])
        for flag in flags:
            name = flag[2:].partition("=")[0]
            assert told[name] == to_dict(options)[name], f"{flag} is {to_dict(options)[name]!r} in a config"


def make_flags(rng):
    """A method and a command line."""
    method = rng.choice(list(METHODS))
    names = [*fields_of(method), "config", "resume", "method", "space", "epoch", "stepz"]
    flags = []
    for _ in range(rng.choice((1, 2, 3))):
        flags += [rng.choice(("--", "--", "--no_", "-")) + rng.choice(names), rng.choice((*PLAIN, *WORDS))]
        if rng.random() < 0.2:
            flags[-2:] = ["=".join(flags[-2:])]
    return method, flags


def check_flags(given, folder):
    """What is accepted can be given again as a config."""
    method, flags = given
    arguments = ["--arch", "random:1"] if method == "evaluation" else []
    try:
        options = parse_run([*flags, *arguments], METHODS, method, "")[1]
    except SystemExit as end:  # --help
        assert end.code == 0
        return
    (folder / "config.yaml").write_text(to_yaml(options), encoding="utf-8", errors="surrogatepass")
    assert build(type(options), load_yaml(type(options), folder / "config.yaml")) == options


@cache
def finished():
    """The files of a finished search and of a finished training, as the tools write them."""
    genotype = random_genotype(1)
    row = {"hash": genotype.hash(), "genotype": genotype.to_json(), "valid_acc": 50.0}
    metrics = {"step": 4, "epoch": 1, "derived/params_millions": 3.0, "derived/multiply_adds_millions": 500.0}
    metrics |= {"time/seconds": 60.0, "valid/acc": 50.0, "final": True}
    evaluation = make_options("evaluation", arch="random:1")
    settings = {key: value for key, value in to_dict(evaluation).items() if not isinstance(value, tuple)}
    result = {"arch": str(genotype), "hash": genotype.hash(), "seed": 0, "epochs": 2, "test_acc": 90.0}
    result |= {"test_acc_top5": 99.0, "test_error": 10.0, "valid_acc": None, "params_millions": 3.3}
    result |= {"multiply_adds_millions": 500.0, "seconds": 60.0, "settings": settings}
    rows = [{"epoch": epoch, **row} for epoch in range(2)] + [{"epoch": 2, **row, "final": True}]
    search = {"genotype": genotype.to_json(), "text": str(genotype), "valid_acc": 50.0}
    return (
        {
            "config.yaml": yaml.safe_load(to_yaml(make_options("two_stage"))),
            "genotype.json": search,
            "metrics.jsonl": [metrics, metrics],
            "genotypes.jsonl": rows,
        },
        {"config.yaml": yaml.safe_load(to_yaml(evaluation)), "result.json": result},
    )


def make_results(rng):
    """A run folder, one of whose files has another value in it, or is damaged."""
    return spoilt(rng, dict(rng.choice(finished())))


def make_searches(rng):
    """The same of a search, whose metrics have an epoch, that was trained, as one-stage runs are, or not."""
    search, training = finished()
    last = search["metrics.jsonl"][-1]
    epoch = {key: value for key, value in last.items() if key != "final"} | {"test/acc": 40.0}
    one_stage = {"config.yaml": search["config.yaml"] | {"method": "one_stage"}, "result.json": training["result.json"]}
    metrics = {"metrics.jsonl": [epoch, {**epoch, "searching": 1.0, "arch/distance": 0.1}, last]}
    return spoilt(rng, search | metrics | (one_stage if rng.random() < 0.5 else {}))


@cache
def measured():
    """The files of a search of CoNAS that has ended, as values."""
    search, _ = finished()
    cifar_size(CellSpace(), random_genotype(1))  # or every process would import anew what it takes to count
    options = make_options("conas", num_nodes=1, monomials=2, stages=2, measurements=12)
    rng = random.Random(0)
    rows = []
    for stage, number in ((stage, number) for stage in (1, 2) for number in range(12)):
        bits = "1" * (stage > 1) + "".join(rng.choice("01") for _ in range(20 - (stage > 1)))
        loss = 2.0 - 0.5 * int(bits[0]) + 0.01 * rng.random()
        rows.append({"stage": stage, "number": number, "bits": bits, "loss": loss, "acc": 40.0})
    best = {"genotype": search["genotype.json"]["genotype"]}
    own = {"config.yaml": yaml.safe_load(to_yaml(options)), "measurements.jsonl": rows, "best_sampled.json": best}
    last = search["metrics.jsonl"][-1] | {"choice/loss": 1.5}
    return search | own | {"metrics.jsonl": [{key: last[key] for key in last if key != "final"}, last]}


def make_measured(rng):
    """The same, one of whose files has another value in it, or is damaged: most often the measurements."""
    trees = dict(measured())
    if rng.random() < 0.5:
        return spoilt(rng, trees)
    own = spoilt(rng, {"measurements.jsonl": trees["measurements.jsonl"]})
    return {name: written(name, tree) for name, tree in trees.items()} | own


def spoilt(rng, trees):
    """Files by name, with another value in one of them, or damaged."""
    name = rng.choice(list(trees))
    as_tree = rng.random() < 0.6
    if as_tree:
        trees[name] = grafted(rng, trees[name])
    files = {key: written(key, tree) for key, tree in trees.items()}
    if not as_tree:
        files[name] = rng.choice((damaged(rng, files[name]), misspelt(rng, files[name].decode()).encode()))
    return files


def written(name, tree):
    """A file of a run."""
    if name.endswith(".jsonl"):
        return "".join(f"{dumped(row)}\n" for row in (tree if isinstance(tree, list) else [tree])).encode()
    return dumped(tree).encode()  # JSON is YAML, too


def dumped(tree):
    """JSON text of a tree."""
    return json.dumps(tree, default=repr)


def check_results(files, folder):
    """The table has the run's own numbers, and its lines are the table's."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    report = analyse(SummaryOptions(runs=(str(folder),)))
    (row,) = report.values["trainings"] or next(iter(report.values["searches"].values()))
    for name, value in row.items():
        wanted = {int: int, float: int | float}.get({"seed": int, "epochs": int}.get(name, float))
        number = name not in ("arch", "hash", "genotype", "settings") and value is not None
        assert not number or (isinstance(value, wanted) and not isinstance(value, bool)), f"{name} is {value!r:.80}"
    assert "\x1b" not in report.text


def check_searches(files, folder):
    """An analysis of searches answers, or all refuse the folder, each in a line."""
    check_analyses(files, folder, ("kendall", "coverage", "agreement", "figure2", "table3", "table4", "conas_table5"))


def check_measured(files, folder):
    """The same of the analyses of CoNAS."""
    check_analyses(files, folder, ("conas", "conas_table4"))


def check_analyses(files, folder, names):
    """An analysis answers, or all of ``names`` refuse the folder, each in a line."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    refused = []
    few = {"agreement": {"draws": 10}, "conas": {"folds": 2, "inner_folds": 2, "weights": 2}}
    few["conas_table4"] = {"lambdas": (1.0,)}
    for name in names:
        analysis = ANALYSES[name]
        try:
            report = analysis.analyse(analysis.options(runs=(str(folder),), **few.get(name, {})))
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000
            refused.append(error)
        else:
            assert "\x1b" not in report.text
    if len(refused) == len(names):
        raise refused[0]


@cache
def rows_of_a_table():
    """The lines of a small table of a tabulated benchmark, as values."""
    facts = {"benchmark": "mini_digits", "train_digest": "0", "test_digest": "1"}
    return facts, *(row_of(cell, [0.5 + cell / 9, 0.7], [80.0 - cell, 75.0], 1.0) for cell in range(5))


def make_table(rng):
    """The bytes of a table."""
    rows = list(rows_of_a_table())
    if rng.random() < 0.7:
        place = rng.randrange(len(rows))
        rows[place] = grafted(rng, rows[place])
    data = "".join(f"{dumped(row)}\n" for row in rows).encode("utf-8", "surrogatepass")
    return data if rng.random() < 0.7 else damaged(rng, data)


def check_table(data, folder):
    """Every architecture has an answer, and the percentiles are half of 100 on average."""
    (folder / "table.jsonl").write_bytes(data)
    benchmark = open_benchmark("mini_digits", str(folder / "table.jsonl"))
    percentiles = [benchmark.query(support).percentile for support in benchmark.supports]
    assert abs(sum(percentiles) / len(percentiles) - 50) < 1e-9


@cache
def rows_of_searches():
    """The lines of the file of a few searches on digits, as values; one's cell is trained, another's is not."""
    facts = {key: open_benchmark("mini_digits").table.facts[key] for key in ("benchmark", "train_digest")}
    own = {"budget": 4, "passes": 9.0, "search_acc": 50.0, "tau": 0.1, "ranked": 100, "seconds": 1.5}
    cells = ([[0, 1], [2, 3]], [[0, 1], [2, 4]], [[2, 5], [0, 1, 2]], [[1, 2], [0, 8]])
    found = ({"search": "one-stage", "seed": 1000 + seed, "support": cell} | own for seed, cell in enumerate(cells))
    return facts, *found, {"trained": cells[2], "loss": [0.3, 0.4], "acc": [90.0, 91.0]}


def make_searched(rng):
    """The bytes of a file of rows."""
    rows = list(rows_of_searches())
    place = rng.randrange(len(rows))
    rows[place] = grafted(rng, rows[place])
    data = "".join(f"{dumped(row)}\n" for row in rows).encode("utf-8", "surrogatepass")
    return data if rng.random() < 0.8 else damaged(rng, data)


def check_searched(data, folder):
    """There is an answer, and the file is as it was."""
    path, analysis = folder / "rows.jsonl", ANALYSES["searches"]
    path.write_bytes(data)
    asked = {"table": "mini_digits", "rows": str(path), "search": False, "resamples": 100}
    report = analysis.analyse(analysis.options(**asked))
    assert "best of" in report.text and path.read_bytes() == data


TARGETS = (
    Target("genotype-text", make_genotype_text, check_genotype_text, inputs=500),
    Target("genotype-json", make_genotype_file, check_genotype_file, inputs=500),
    Target("genotype-recurrent", make_recurrent, check_recurrent, inputs=500),
    Target("config", make_config, check_config, inputs=120),
    Target("flags", make_flags, check_flags, inputs=200),
    Target("results", make_results, check_results, inputs=150),
    Target("searches", make_searches, check_searches, inputs=150),
    Target("measurements", make_measured, check_measured, inputs=80),
    Target("table", make_table, check_table, inputs=300),
    Target("searched", make_searched, check_searched, inputs=150),
)

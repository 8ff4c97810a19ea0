"""Tabulated benchmarks: how a table is trained, kept and resumed, and what queries to one answer."""

import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from starting import ROOT

import isnas
import isnas.analysis.tabulated.table as tables
from isnas.analysis.tabulated.benchmarks import BENCHMARKS
from isnas.analysis.tabulated.table import TableFile, read_table, row_of
from isnas.analysis.tabulated.training import images_of
from isnas.base.errors import UserError
from isnas.base.random import initialising
from isnas.data.small.batches import Augmentation, Batches
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.resolve import random_genotype

SHORT = replace(BENCHMARKS["mini_digits"], epochs=1)


@pytest.fixture
def table(monkeypatch):
    """benchmarks/mini/table.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "mini")
    return importlib.import_module("table")


def trained_alone(support, seed):
    """Loss and accuracy of one network, trained by torch's own parts, a step after the other."""
    dataset, space = images_of(SHORT), SHORT.space
    sizes = {"stem": "cifar", "in_channels": 1, "num_classes": 10, "init_channels": 2, "layers": 3}
    with initialising(seed, "weights"):
        network = space.target_network(space.genotype(support), **sizes)
    optimizer = torch.optim.SGD(network.parameters(), 0.025, 0.9, weight_decay=3e-4)
    batches = Batches(dataset.train, None, 64, seed, "train", Augmentation(0, False), "cpu")
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    for step in range(len(batches)):
        x, labels = batches.batch(0, step)
        optimizer.zero_grad()
        F.cross_entropy(network(x).logits, labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    ((x, labels),) = Batches(dataset.test, None, 1000, 0, "test", None, "cpu").epoch()
    with torch.no_grad():
        logits = network.eval()(x).logits
    return float(F.cross_entropy(logits, labels)), 100 * float((logits.argmax(1) == labels).double().mean())


@pytest.mark.slow
def test_a_table_is_trained_and_resumed(table, tmp_path, monkeypatch, capsys):
    path = tmp_path / "tables" / "table.jsonl"
    table.fill(SHORT, 2, 1, path)
    assert f"2 of 540 architectures in {path}" in capsys.readouterr().out
    whole, lines = read_table(path), path.read_text().splitlines(keepends=True)
    assert set(whole.cells) == set(SHORT.order[:2]) and len(lines) == 3
    losses, accs = zip(*(trained_alone(SHORT.supports[whole.cells[0]], seed) for seed in range(2)))
    assert whole.losses[0] == pytest.approx(losses, abs=1e-3) and whole.accs[0] == pytest.approx(accs, abs=0.6)
    assert abs(losses[0] - losses[1]) > 0.01  # the seeds are networks of their own

    path.write_text("".join(lines[:2]) + lines[2][:20])  # killed while it wrote
    table.fill(SHORT, 2, 1, path)
    again = path.read_text().splitlines(keepends=True)
    timeless = [re.sub(r'"seconds": .*', "", line) for line in again]
    assert again[:2] == lines[:2] and timeless == [re.sub(r'"seconds": .*', "", line) for line in lines]
    table.fill(SHORT, 1, 1, path)  # nothing is missing
    assert path.read_text().splitlines(keepends=True) == again
    first, second = (TableFile(path, json.loads(lines[0])) for _ in range(2))
    first.append(row_of(7, [1.0, 2.0], [3.0, 4.0], 5.0))
    with pytest.raises(UserError, match="another process writes to "):
        second.append(row_of(8, [1.0, 2.0], [3.0, 4.0], 5.0))
    assert read_table(path).cells == tuple(sorted({*whole.cells, 7}))


def test_other_tables_are_left_alone(table, tmp_path):
    path = tmp_path / "table.jsonl"
    facts = {"benchmark": "mini_digits", "train_digest": "a", "test_digest": "b"}
    of_others = {
        "train_digest": json.dumps(facts) + "\n",
        "cannot read the rows": "notes\nwithout an end",
        "benchmark 'mini', not 'mini_digits'": json.dumps(facts | {"benchmark": "mini"}) + "\n",
    }
    for words, text in of_others.items():
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            table.fill(SHORT, 2, 1, path)
        assert path.read_text() == text
    for argv in (["mini_digits", "--count", "0"], ["mini_digits", "--quick"]):
        with pytest.raises(UserError, match="must be 1 or more" if "--count" in argv else "--quick makes a table"):
            table.main(argv)


def made_up(path, name="mini", count=None, seed=0):
    """A table of made-up values, with ties; the first ``count`` cells of the random order."""
    benchmark, rng = BENCHMARKS[name], np.random.default_rng(seed)
    rows = [json.dumps({"benchmark": name, "train_digest": "", "test_digest": ""})]
    for cell in benchmark.order[:count]:
        losses = rng.integers(1, 9, benchmark.seeds) / 8
        accs = (100 - 50 * losses + rng.normal(size=benchmark.seeds)).round(3)
        rows.append(json.dumps({"cell": cell, "loss": losses.tolist(), "acc": accs.tolist(), "seconds": 1.5}))
    path.write_text("\n".join(rows) + "\n")
    return {row["cell"]: row for row in map(json.loads, rows[1:])}


@pytest.mark.parametrize("count", [None, 40])
def test_answers_by_brute_force(tmp_path, count):
    rows = made_up(tmp_path / "table.jsonl", count=count)
    benchmark = isnas.benchmark("mini", str(tmp_path / "table.jsonl"))
    assert len(benchmark) == len(rows) == len(benchmark.genotypes())
    means = {cell: np.mean(row["loss"]) for cell, row in rows.items()}
    percentiles = []
    for cell, row in rows.items():
        support = BENCHMARKS["mini"].supports[cell]
        answer = benchmark.query(support)
        assert answer == benchmark.query(benchmark.space.genotype(support)) == benchmark.query(map(reversed, support))
        others = np.array([mean for other, mean in means.items() if other != cell])
        signs = np.sign(others - means[cell]).tolist()
        assert answer.percentile == pytest.approx(50 + 50 * np.mean(signs)) and answer.rank == 1 + signs.count(-1)
        assert (answer.losses, answer.accs) == (tuple(row["loss"]), tuple(row["acc"]))
        assert answer.loss == pytest.approx(means[cell]) and answer.acc == pytest.approx(np.mean(row["acc"]))
        assert answer.regret == pytest.approx(max(np.mean(each["acc"]) for each in rows.values()) - answer.acc)
        assert answer.loss_regret == pytest.approx(means[cell] - min(means.values()))
        of_all = sum(signs) / len(rows)
        assert benchmark.percentile_of(answer.loss) == pytest.approx(50 + 50 * of_all)
        percentiles.append(answer.percentile)
    assert np.mean(percentiles) == pytest.approx(50) and len({*percentiles}) < len(rows)
    assert benchmark.query(benchmark.best).rank == 1 and benchmark.query(benchmark.best).loss_regret == 0
    assert benchmark.percentile_of(0.0) == 100 and benchmark.percentile_of(9.0) == 0
    drawn = torch.Generator().manual_seed(0)
    found = {benchmark.random(drawn) for _ in range(300)}
    assert found <= {*benchmark.genotypes()} and len(found) > min(len(rows), 200) * 0.9


def test_what_is_not_in_the_table(tmp_path):
    made_up(tmp_path / "table.jsonl", count=40)
    benchmark = isnas.benchmark("mini", str(tmp_path / "table.jsonl"))
    absent = BENCHMARKS["mini"].supports[BENCHMARKS["mini"].order[40]]
    with pytest.raises(UserError, match=r"has 40 of 540 architectures, and not this one; .*percentile_of\(loss\)"):
        benchmark.query(absent)
    genotype = benchmark.best
    strangers = {
        random_genotype(0): "not of the space that is searched: it has",
        Genotype(genotype.normal, (3,), genotype.reduce, (3,)): "put out all nodes",
        Genotype(genotype.normal, (2, 3), (genotype.normal[0],) * 2, (2, 3)): "normal and reduction cell are alike",
        Genotype(genotype.normal, (2, 3), genotype.reduce, (2, 3), "all"): "is not in the space of mini",
        ((0, 1), (2, 9)): "no support of mini: .* numbers from 0 to 5 and 0 to 8",
        ((0, 0), (1, 2)): "2 different connections for each node",
        7: "7 is no support of mini",
    }
    for stranger, words in strangers.items():
        with pytest.raises(UserError, match=words):
            benchmark.query(stranger)
    with pytest.raises(UserError, match="no benchmark 'nasbench'; choose from mini, mini_dil, mini_digits"):
        isnas.benchmark("nasbench")
    with pytest.raises(UserError, match="is the table of mini, not of mini_dil"):
        isnas.benchmark("mini_dil", str(tmp_path / "table.jsonl"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"cell": ', '"cell": 9999', "a cell twice, or one that is not in the space"),
        ('"cell": ', '"cel": ', "it has no 'cell'"),
        ('"loss": [', '"loss": [1, ', "inhomogeneous"),
        ('"loss": [', '"loss": [NaN, ', "inhomogeneous"),
        ('"seconds": 1.5', '"seconds": Infinity', "numbers that no loss, accuracy or time can be"),
        ('"seconds": 1.5', '"seconds": -1', "numbers that no loss, accuracy or time can be"),
        ('"acc": [', '"acc": [1', "numbers that no loss, accuracy or time can be"),
        ('"mini"', '"maxi"', "it has no 'maxi'"),
        ("}", "", "delimiter"),
    ],
)
def test_damaged_tables(tmp_path, old, new, words):
    path = tmp_path / "table.jsonl"
    made_up(path, count=5)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=words) as caught:
        read_table(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_the_examples_of_the_page(tmp_path, monkeypatch):
    made_up(tmp_path / "mini.jsonl")
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    search, rest = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/tabulated.md").read_text(), re.M | re.S)
    assert search.count("\n") == 7
    found = {}
    exec(search, found)
    percentiles = sorted(found["benchmark"].query(each).percentile for each in found["tried"])
    assert found["answer"].percentile == percentiles[-1] > 50 and len(percentiles) == 16
    exec(rest, found)


def test_the_tables_of_the_package():
    for path in tables.TABLES.glob("*.jsonl"):
        table = read_table(path)
        assert table.benchmark.name == path.stem and "quick" not in table.facts and len(table.cells) >= 100


def test_importing_the_package_is_cheap():
    code = "import sys, isnas; assert isnas.benchmark; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

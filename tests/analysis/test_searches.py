"""What searches are worth on a table: what is to be done, places, the best of random, and a search itself."""

import json
from dataclasses import replace
from itertools import product
from statistics import mean

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm, rankdata, t

from isnas.analysis import commands
from isnas.analysis.options.searches import SearchesOptions
from isnas.analysis.tabulated import queries
from isnas.analysis.tabulated.benchmarks import BENCHMARKS
from isnas.analysis.tabulated.queries import TabulatedBenchmark
from isnas.analysis.tabulated.reached import best_of_random, interval, results
from isnas.analysis.tabulated.rows import RowFile
from isnas.analysis.tabulated.searches import Task, pending
from isnas.analysis.tabulated.searches_report import report
from isnas.analysis.tabulated.searching import Searcher, sub_network_loss
from isnas.analysis.tabulated.suite import SUITE
from isnas.analysis.tabulated.table import TableFile, read_table, row_of
from isnas.analysis.tabulated.training import Trainer, images_of
from isnas.base.errors import UserError

FACTS = {"benchmark": "mini", "train_digest": "a", "test_digest": "b"}
ONLY = ("two-stage, z every epoch", "sampled recovery")


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """40 cells of made-up losses, as the package's table of mini."""
    monkeypatch.setattr(queries, "table_path", lambda name: tmp_path / f"{name}.jsonl")
    file = TableFile(tmp_path / "mini.jsonl", FACTS)
    rng = np.random.default_rng(0)
    for cell in BENCHMARKS["mini"].order[:40]:
        own = rng.normal(0.7, 0.05)
        losses = own + rng.normal(0, 0.03, 4)
        file.append(row_of(cell, losses.tolist(), (100 - 40 * losses).tolist(), 1.0))
    return TabulatedBenchmark(read_table(file.path))


def options(tmp_path, **values):
    given = {"rows": str(tmp_path / "rows.jsonl"), "only": ONLY[:1], "budgets": (4,), "num_seeds": 2, "most_seeds": 3}
    return SearchesOptions(**given | values)


def test_what_is_done_next(benchmark, tmp_path):
    given = options(tmp_path)
    file = RowFile(given.path, FACTS, ("benchmark",))
    name = "two-stage, z every epoch"
    # searches, the warmed-up one included, whose name begins alike
    names = (name, f"{name}, W warmed up")
    assert set(pending(given, benchmark, file)) == {Task(n, 4, s) for n, s in product(names, (1000, 1001))}
    known, other = benchmark.supports[0], ((0, 1), (0, 1, 2))
    ordered = sorted(benchmark.supports, key=lambda support: benchmark.query(support).loss)
    for each, support in ((name, known), (names[1], ordered[0])):
        for seed in (1000, 1001):
            file.append({"search": each, "budget": 4, "seed": seed, "support": support})
    file.rows[0]["support"] = other
    # then what they found and the table does not have
    assert pending(given, benchmark, file) == [Task("", 4, 1000, other)]
    file.append({"trained": other, "loss": [9.0, 9.0], "acc": [10.0, 10.0]})
    # then a fourth seed of what may be better or worse than random search, and not of what is always the best, whatever
    # seeds are there beyond the first three
    given = options(tmp_path, num_seeds=3, most_seeds=4)
    for each in names:
        file.append({"search": each, "budget": 4, "seed": 1002, "support": ordered[0]})
    first = {each.search: each for each in results(given, benchmark, file)}
    line = best_of_random(benchmark, 4, given)
    assert line.against(first[name]) == "not told apart" and line.against(first[names[1]]) == "above"
    assert pending(given, benchmark, file) == [Task(name, 4, 1003)]
    file.append({"search": name, "budget": 4, "seed": 1003, "support": ordered[0]})
    assert pending(given, benchmark, file) == []
    file.append({"search": name, "budget": 4, "seed": 999, "support": ordered[0]})  # another seed than is asked for
    (found,) = (each for each in results(given, benchmark, file) if each.search == name)
    assert found.seeds == (1000, 1001, 1002, 1003)
    # a file that is read again says the same; the half of a row that a kill has left gives way to the next row
    with given.path.open("a") as text:
        text.write('{"search": "two-st')
    half = given.path.read_text()
    again = RowFile(given.path, FACTS, ("benchmark",))
    assert len(again.rows) == len(file.rows) and given.path.read_text() == half
    with pytest.raises(UserError, match="another process writes"):
        file.append(file.rows[0])
    # rows of another machine follow a line that says so, once
    for _ in range(2):
        elsewhere = RowFile(given.path, FACTS | {"processor": "another"}, ("benchmark",))
        elsewhere.append({"search": name, "budget": 8, "seed": len(elsewhere.rows), "support": known})
    assert [line for line in given.path.read_text().splitlines() if "another" in line] == ['{"processor": "another"}']
    assert len(RowFile(given.path, FACTS, ("benchmark",)).rows) == len(file.rows) + 2


def test_places(benchmark, tmp_path):
    given = options(tmp_path, resamples=40_000, first_seed=0)
    file = RowFile(given.path, FACTS, ("benchmark",))
    ranked = sorted(benchmark.supports, key=lambda support: benchmark.query(support).loss)
    beyond = ((0, 1, 2), (3, 4, 5))
    for seed, support in enumerate((ranked[0], ranked[9], beyond)):
        file.append({"search": ONLY[0], "budget": 4, "seed": seed, "support": support, "search_acc": 50.0 + seed})
    losses = [benchmark.query(support).loss for support in ranked]
    between = (losses[20] + losses[21]) / 2
    file.append({"trained": beyond, "loss": [between, between], "acc": [70.0, 74.0]})
    (found,) = results(given, benchmark, file)
    assert found.percentiles == pytest.approx([100.0, 100 * 30 / 39, 100 * 19 / 40])
    best = max(benchmark.query(support).acc for support in ranked)
    assert found.regrets[2] == pytest.approx(best - 72.0)
    assert found.low < mean(found.percentiles) < found.high
    # the best of two cells by one seed's loss: all pairs with replacement, each with all pairs of seeds
    table = benchmark.table
    places = [benchmark.query(support).percentile for support in benchmark.supports]
    exact = mean(
        places[i if table.losses[i, a] <= table.losses[j, b] else j]
        for i, j in product(range(40), repeat=2)
        for a, b in product(range(4), repeat=2)
    )
    line = best_of_random(benchmark, 2, given)
    assert line.mean == pytest.approx(exact, abs=0.6)
    # and judged by the other three
    apart = np.array([rankdata(-np.delete(table.losses, seed, 1).mean(1)) - 1 for seed in range(4)]) * 100 / 39
    exact = mean(
        apart[a, i] if table.losses[i, a] <= table.losses[j, b] else apart[b, j]
        for i, j in product(range(40), repeat=2)
        for a, b in product(range(4), repeat=2)
    )
    assert line.others == pytest.approx(exact, abs=0.6) and line.others < line.mean
    text = report(given, benchmark, file).text
    assert "best of 4 random cells" in text and "Two-stage" not in text and "not trained" not in text
    del file.rows[-1]
    text = report(given, benchmark, file).text
    assert "1 of the cells that were found is not trained" in text and "above" not in text  # two seeds tell nothing


def test_interval():
    """Of values without skewness it is Student's, be they few."""
    values = norm.ppf((np.arange(8) + 0.5) / 8)
    low, high = interval(values.tolist(), 200_000, 0.95, 0)
    expected = t.interval(0.95, 7, values.mean(), values.std(ddof=1) / 8**0.5)
    assert (low, high) == pytest.approx(expected, abs=0.05)


def test_search(tmp_path, monkeypatch):
    """A search and its variants on real images, and a super-net's loss against the target network's."""
    small = replace(BENCHMARKS["mini_digits"], epochs=2, max_train_images=256)
    monkeypatch.setitem(BENCHMARKS, "mini_digits", small)
    file = TableFile(tmp_path / "table.jsonl", FACTS | {"benchmark": "mini_digits"})
    for number, cell in enumerate(small.order[:5]):
        file.append(row_of(cell, [number + 1.0, number + 1.5], [50.0, 50.0], 1.0))
    torch.set_num_threads(1)
    searcher = Searcher(Trainer(small, images_of(small)), read_table(file.path))
    (sampled,) = (each for each in SUITE if each.name == "sampled recovery")
    rows = searcher.rows(sampled, 2, 7)
    assert [row["search"] for row in rows] == [sampled.name, *sampled.variants]
    first, *_, by_scores = rows
    assert json.loads(json.dumps(rows)) and all(len(node) == 2 for row in rows for node in row["support"])
    assert first["passes"] <= 2 * 2 * 256 and first["ranked"] == 5
    u = [np.array(halves).sum(0) for halves in first["scores"]]
    assert by_scores["support"] == tuple(tuple(sorted(np.argsort(-part, kind="stable")[:2])) for part in u)
    assert searcher.rows(sampled, 2, 7)[0]["support"] == first["support"]
    (one_stage,) = (each for each in SUITE if each.name == "one-stage")
    (row,) = searcher.rows(one_stage, 2, 7)
    assert row["passes"] <= 2 * 2 * 256 and "tau" not in row
    trained = searcher.trained_row(by_scores["support"])
    assert len(trained["loss"]) == 2 and 0 < trained["loss"][0] < 5

    space, sizes = small.space, {"stem": "cifar", "in_channels": 1, "num_classes": 10, "init_channels": 2, "layers": 3}
    support = small.supports[small.order[0]]
    whole = space.super_net(**sizes)
    target = space.target_network(space.genotype(support, pool_bn=True), **sizes).train()
    target.load_state_dict(whole.extract_state(whole.state_dict(), support), strict=False)  # it has gammas and betas
    x, labels = torch.randn(64, 1, 8, 8), torch.randint(10, (64,))
    before = {name: buffer.clone() for name, buffer in whole.named_buffers()}
    with torch.no_grad():
        expected = F.cross_entropy(target(x).logits, labels)
    assert sub_network_loss(whole, support, x, labels) == pytest.approx(float(expected), abs=1e-5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in whole.named_buffers())


def test_mistakes(benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    analyse = commands.main
    with pytest.raises(UserError, match="--only nothing is the beginning of no search"):
        analyse(["searches", "--only", "nothing"])
    with pytest.raises(UserError, match=r"there is no file searches-mini\.jsonl"):
        analyse(["searches", "--no_search"])
    path = tmp_path / "searches-mini.jsonl"
    path.write_text(json.dumps(FACTS | {"train_digest": "other"}) + "\n")
    with pytest.raises(UserError, match="has train_digest 'other', not 'a'"):
        analyse(["searches", "--no_search"])
    path.write_text(json.dumps(FACTS) + "\n" + '{"search": 3}\n')
    with pytest.raises(UserError, match="has a row that is none of a search"):
        analyse(["searches", "--no_search"])
    row = {"search": ONLY[0], "budget": 4, "seed": 1000, "support": [[0, 1], [2, 3]], "search_acc": 50.0}
    for damage in ({"budget": 1e400}, {"tau": "x"}, {"support": [[0, [1]], [2, 3]]}, {"support": [[0, 9], [2, 3]]}):
        path.write_text(json.dumps(FACTS) + "\n" + json.dumps(row | damage) + "\n")
        with pytest.raises(UserError, match="has a row that is none of a search"):
            analyse(["searches", "--no_search"])
    with pytest.raises(UserError, match="DARTS, first order has no budget of 16 or more"):
        analyse(["searches", "--only", "DARTS", "--budgets", "16", "--rows", "new.jsonl"])
    with pytest.raises(UserError, match="a budget twice"):
        analyse(["searches", "--budgets", "4", "4"])
    assert not (tmp_path / "new.jsonl").exists()
    path.write_text(json.dumps(FACTS) + "\nnothing\n")
    with pytest.raises(UserError, match="cannot read"):
        analyse(["searches", "--no_search"])
    assert path.read_text().endswith("nothing\n")

"""tools/analyse.py mini on tables with planted effects, against scipy's taus, least squares and regressions."""

import json
import re
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
import torch
from killing import run_tool
from matplotlib.image import imread
from sklearn.linear_model import LinearRegression
from test_tabulated import made_up

from isnas.analysis.commands import main
from isnas.analysis.kendall import resamples_of
from isnas.analysis.tabulated.benchmarks import BENCHMARKS
from isnas.analysis.tabulated.statistics import agreement, components, degree_share, effects
from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.space.connections import bits_of

MINI = BENCHMARKS["mini"]
SIZES = MINI.space.sizes
ACTIVE = np.array([bits_of(support, SIZES) for support in MINI.supports], dtype=np.int8)


def planted(pairs, noise, seed=0):
    """Scores without and with noise: effects of connections, of pairs, and of seeds."""
    rng = np.random.default_rng(seed)
    n = ACTIVE.shape[1]
    f = ACTIVE @ rng.normal(size=n) + pairs * np.einsum("si,ij,sj->s", ACTIVE, rng.normal(size=(n, n)), ACTIVE)
    return f, f[:, None] + noise * rng.normal(size=(len(f), 4)) + rng.normal(size=4)


def test_components_of_the_variance():
    f, values = planted(0.3, 0.8)
    n, seeds = values.shape
    dummies = np.hstack([np.kron(np.eye(n), np.ones((seeds, 1))), np.tile(np.eye(seeds), (n, 1))])
    residual = values.ravel() - dummies @ np.linalg.lstsq(dummies, values.ravel(), rcond=None)[0]
    rest = residual @ residual / ((n - 1) * (seeds - 1))
    found = components(values)
    assert found.rest == pytest.approx(rest) and found.noise == pytest.approx(rest / 4)
    assert found.rest == pytest.approx(0.64, rel=0.1) and found.architectures == pytest.approx(f.var(), rel=0.05)
    assert found.within == pytest.approx(np.mean([np.var(row, ddof=1) for row in values]))
    assert found.seeds == pytest.approx(values.mean(0).var(ddof=1) - rest / n)
    assert found.reliability == pytest.approx(np.corrcoef(f, values.mean(1))[0, 1] ** 2, abs=0.01)
    nothing = components(np.random.default_rng(0).normal(size=(20, 2)) * [[1.0, -1.0]] + np.arange(2))
    assert nothing.architectures >= 0 and components(np.tile([1.0, 2.0], (9, 1))).reliability == 0


@pytest.mark.parametrize("size", [1, 2])
def test_agreement_of_seeds_is_scipys(size):
    values = planted(0.3, 3.0)[1][::9].round(1)  # with ties
    found = agreement(values, size, resamples_of(60, 100, 3), 0.8)
    splits = {
        1: list(combinations([(0,), (1,), (2,), (3,)], 2)),
        2: [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))],
    }

    def tau(rows):
        means = [[values[rows][:, list(part)].mean(1) for part in split] for split in splits[size]]
        return np.mean([scipy.stats.kendalltau(*each)[0] for each in means])

    assert found.pairs == len(splits[size]) and found.tau == pytest.approx(tau(slice(None)))
    drawn = torch.randint(60, (100, 60), generator=generator(3, "kendall")).numpy()
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile([tau(rows) for rows in drawn], [0.1, 0.9])))


@pytest.mark.parametrize("rows", [range(540), range(0, 540, 7)])
def test_effects_of_connections(rows):
    active, scores = ACTIVE[rows], planted(0.3, 0.1)[1][rows].mean(1)
    found = effects(active, SIZES, scores)
    assert [(each.node, each.candidate) for each in found] == [(j, k) for j in range(2) for k in range(SIZES[j])]
    free = [k for k in range(15) if k not in (5, 14)]  # the last candidate of a node is what the others leave
    coefficients = np.zeros(15)
    coefficients[free] = LinearRegression().fit(active[:, free], scores).coef_
    wanted = np.concatenate([part - part.mean() for part in np.split(coefficients, [6])])
    assert [each.fitted for each in found] == pytest.approx(wanted)
    for each, has in zip(found, active.T):
        mean = np.mean([score for score, bit in zip(scores, has) if bit])
        assert each.with_it == pytest.approx(mean - scores.mean()) and each.count == has.sum()
        if len(rows) == 540:
            assert each.fitted == pytest.approx(each.with_it * (SIZES[each.node] - 1) / (SIZES[each.node] - 2))


def test_shares_of_the_variance():
    f, values = planted(0.3, 2.0)
    alpha = 2 * ACTIVE - 1
    first, second = (degree_share(alpha, values, degree, True, 0) for degree in (1, 2))
    assert (first.terms, second.terms) == (14, 90)  # 1 + 5 + 8, and 9 + 27 in a node, 5 * 8 across
    share = LinearRegression().fit(ACTIVE, f).score(ACTIVE, f)
    assert 0.5 < share < 0.9 and first.of_explainable == pytest.approx(share, abs=0.03)
    assert second.of_explainable > 0.98 and second.fitted < 0.95  # the noise is not explained
    scores = values.mean(1)
    assert first.fitted == pytest.approx(LinearRegression().fit(ACTIVE, scores).score(ACTIVE, scores))
    assert first.held_out < first.fitted and second.held_out < second.fitted and first.lasso < second.lasso < 1
    exact = degree_share(alpha, np.stack([f, f], 1), 2, True, 0)
    assert exact.fitted == exact.held_out == exact.of_explainable == pytest.approx(1)
    sample = degree_share(alpha[::3], values[::3], 1, False, 0)
    assert sample.of_explainable == pytest.approx(share, abs=0.1) and sample.held_out < sample.of_explainable


def test_one_command_writes_everything(tmp_path, capsys):
    rows = made_up(tmp_path / "table.jsonl", count=60)
    main(["mini", "--file", str(tmp_path / "table.jsonl"), "--output", str(tmp_path / "out"), "--resamples", "100"])
    text = (tmp_path / "out/table.md").read_text()
    assert text in capsys.readouterr().out
    assert "node 2 | skip_connect | c_{k-2} (0) |" in text and "node 3 | skip_connect | node 2 |" in text
    assert "a uniform sample of 60 of the 540 architectures, 4 seeds of each, trained in 0:01:30 hours" in text
    values = json.loads((tmp_path / "out/mini.json").read_text())
    means = {cell: np.mean(row["loss"]) for cell, row in rows.items()}
    accs = {cell: np.mean(row["acc"]) for cell, row in rows.items()}
    assert re.search(
        r"\| accuracy \(%\) \| 2 \| (5\d|60) \|  \|  \| -?[\d.]+ \| [\d.]+ \|", text
    )  # too few for 90 terms
    best, most, worst = values["extremes"]
    assert best["loss"] == min(means.values()) == means[best["cell"]] and worst["loss"] == max(means.values())
    assert most["acc"] == pytest.approx(max(accs.values())) == accs[most["cell"]]
    assert values["loss"]["quantiles"] == pytest.approx(np.percentile(list(means.values()), [0, 25, 50, 75, 100]))
    for operation, found in values["acc"]["operations"].items():
        times = {cell: str(MINI.space.genotype(MINI.supports[cell]).normal).count(operation) for cell in rows}
        for each in found:
            chosen = [accs[cell] for cell in rows if times[cell] == each["times"]]
            assert each["count"] == len(chosen) and each["mean"] == pytest.approx(np.mean(chosen))
        assert sum(each["count"] for each in found) == 60
    assert imread(tmp_path / "out/mini.png").std() > 0.05 and imread(tmp_path / "out/mini_effects.png").std() > 0.05


@pytest.mark.slow
def test_mistakes(tmp_path):
    made_up(tmp_path / "few.jsonl", count=19)
    text = (tmp_path / "few.jsonl").read_text()
    (tmp_path / "damaged.jsonl").write_text(text[:-9])
    for name, words in {
        "few.jsonl": "the table has 19 architectures; train 20 or more first",
        "damaged.jsonl": "cannot read the rows in damaged.jsonl: ",
        "none.jsonl": "cannot read the rows in none.jsonl: No such file",
    }.items():
        done = run_tool("analyse.py", "mini", "--file", name, "--output", "out", folder=tmp_path)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    header, *rows = text.splitlines()
    rows += [rows[0].replace(f'"cell": {MINI.order[0]}', f'"cell": {MINI.order[20]}')]
    same = [re.sub(r'"loss": \[[\d.]+', '"loss": [0.5', row) for row in rows]
    (tmp_path / "same.jsonl").write_text("\n".join([header, *same]))
    with pytest.raises(UserError, match="all architectures of the table have the same test loss with one seed"):
        main(["mini", "--file", str(tmp_path / "same.jsonl")])
    with pytest.raises(UserError, match="is the table of mini, not of mini_digits"):
        main(["mini", "--table", "mini_digits", "--file", str(tmp_path / "few.jsonl")])
    assert not (tmp_path / "out").exists()

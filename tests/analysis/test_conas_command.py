"""What stages measured, against numpy, and what polynomials explain of functions whose parts are known."""

import json
from itertools import product

import numpy as np
import pytest
from run_folders import cells, write_conas
from sklearn.metrics import r2_score

from isnas.analysis.commands import main
from isnas.analysis.conas import HOLDS, IN_PART, ConasOptions, StageSummary, analyse
from isnas.analysis.explained import Explained, explained, lasso_fit, sparse_fit
from isnas.sparse.boolean.recovery import RecoverySettings

CELL = cells(["skip_connect:0"])


def signs(seed, count, bits=12):
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), size=(count, bits))


def test_every_sample_is_held_out_once_and_the_shares_are_r_squared():
    alpha, y = signs(0, 23), np.random.default_rng(1).normal(3.0, 2.0, 23)
    seen = []

    def fit(train, values, other):
        seen.append((train, values, other))
        return np.full(len(other), values.mean()) + 0.5 * other[:, 0]

    shares = explained(fit, alpha, y, 4, 0, "x").shares
    place = {row.tobytes(): number for number, row in enumerate(alpha)}
    assert len(place) == 23 and sorted(place[row.tobytes()] for *_, other in seen for row in other) == list(range(23))
    for share, (train, values, other) in zip(shares, seen):
        own = y[[place[row.tobytes()] for row in other]]
        assert values.tolist() == y[[place[row.tobytes()] for row in train]].tolist()
        guess = values.mean() + 0.5 * other[:, 0]
        assert share == pytest.approx(1 - np.sum((own - guess) ** 2) / np.sum((own - values.mean()) ** 2))
        # scikit-learn's compares with the mean of what is held out, which explains nothing more than this
        assert share >= r2_score(own, guess)
    assert explained(fit, alpha, y, 4, 0, "x").shares == shares != explained(fit, alpha, y, 4, 1, "x").shares


def test_what_the_mean_explains_is_nothing():
    alpha, y = signs(0, 40), np.random.default_rng(1).normal(size=40)

    def mean(train, values, other):
        return np.full(len(other), values.mean())

    assert explained(mean, alpha, y, 5, 0).shares == pytest.approx([0.0] * 5)
    assert explained(lasso_fit(2, 5, 3), alpha, np.full(40, 7.0), 5, 0).shares == (0.0,) * 5


def test_each_degree_explains_its_part_of_the_variance():
    alpha = np.array(list(product([-1, 1], repeat=9)), dtype=np.int8)  # parities are orthogonal: variances add
    parts = 0.3 * alpha[:, 0] + 0.4 * alpha[:, 1], 0.5 * alpha[:, 2] * alpha[:, 3], 0.5 * alpha[:, [4, 5, 6]].prod(1)
    y = 2.0 + sum(parts)
    settings = RecoverySettings(monomials=4)
    fits = lasso_fit(1, 8, 3), lasso_fit(2, 8, 3), sparse_fit(settings), sparse_fit(RecoverySettings(monomials=2))
    first, second, sparse, sparser = (explained(fit, alpha, y, 4, 0).mean for fit in fits)
    assert first == pytest.approx(1 / 3, abs=0.06) and second == pytest.approx(2 / 3, abs=0.06)
    assert sparse == pytest.approx(2 / 3, abs=0.06)
    assert sparser == pytest.approx(1 / 3, abs=0.06)  # the constant is one of its terms
    beside = RecoverySettings(monomials=3, constant="intercept")
    assert explained(sparse_fit(beside), alpha, y, 4, 0).mean == pytest.approx(sparse, abs=0.01)
    noise = explained(lasso_fit(2, 8, 3), signs(3, 200), np.random.default_rng(4).normal(size=200), 4, 0).mean
    assert abs(noise) < 0.1


def summaries(*folders, **options):
    report = analyse(ConasOptions(runs=tuple(map(str, folders)), **options))
    return report, [search["stages"] for search in report.values["searches"]]


def test_the_stages_are_what_numpy_says(tmp_path):
    alpha = signs(0, 60)
    losses = np.random.default_rng(1).uniform(1.0, 2.0, 60) - 0.5 * alpha[:, 2]
    written = [None if number % 20 == 0 else loss for number, loss in enumerate(losses.tolist())]
    fixed = signs(1, 50)
    fixed[:, 2] = 1
    again = (fixed, (1.0 - 0.1 * fixed[:, 4]).tolist())
    settings = {"loss_of_result": 0.9, "max_loss": 2.0, "monomials": 2, "debias": True}
    folder = write_conas(tmp_path / "run", [(alpha, written), again], CELL, **settings)
    report, ((first, second),) = summaries(folder)
    finite = np.array([loss for loss in written if loss is not None])
    assert (first["measured"], first["missing"], first["unused"]) == (60, 3, int((finite > 2.0).sum()))
    assert (first["fixed"], second["fixed"], second["fixed_on"]) == (0, 1, 1)
    assert [first[name] for name in ("mean", "deviation", "least")] == pytest.approx(
        [finite.mean(), np.std(finite, ddof=1), finite.min()]
    )
    assert (first["found"], second["found"], second["least"], first["accuracy"]) == (None, 0.9, 0.9, 40.5)
    assert second["terms"]["shares"] == pytest.approx([1.0] * 5) and second["degree1"]["shares"][0] > 0.99
    stages, shares = (dict(zip(table.header, row)) for table in report.tables for row in table.rows[1:])
    assert (stages["loss"], stages["fixed"], stages["above max_loss"]) == (
        f"{np.mean(again[1]):.4f} ± {np.std(again[1], ddof=1):.4f}",
        "1 (1 on)",
        "0",
    )
    assert shares["assumption"] == "holds" and shares["s terms"] == "100.0 ± 0.0 %"
    (warning,) = report.warnings
    assert "another architecture" in warning


def test_too_few_measurements_have_no_shares(tmp_path):
    folder = write_conas(tmp_path / "run", [(signs(0, 19), [1.0] * 19)])
    report, ((stage,),) = summaries(folder)
    assert stage["terms"] is None and len(report.tables) == 1
    full = write_conas(tmp_path / "full", [(signs(0, 20), [1.0] * 20)])
    assert (
        summaries(full)[1][0][0]["terms"]["shares"] == (0.0,) * 5 and not summaries(full, explain=False)[0].tables[1:]
    )


@pytest.mark.parametrize(("share", "words"), [(HOLDS, "holds"), (IN_PART, "holds in part"), (0.49, "does not hold")])
def test_the_verdict(share, words):
    stage = StageSummary(1, 9, 0, 0, 0, 0, 1.0, 0.1, 40.0, 0.9, None, terms=Explained((share, share)))
    assert stage.assumption == words


def test_the_answer_is_kept_with_figure_4(tmp_path, capsys):
    stages = [(signs(seed, 40), (2.0 - 0.3 * signs(seed, 40)[:, 0]).tolist()) for seed in (0, 1)]
    stages[1][0][:, 0] = 1
    folders = [str(write_conas(tmp_path / f"{seed}", stages, seed=seed, monomials=2)) for seed in (0, 1)]
    main(["conas", *folders, "--no_explain", "--output", str(tmp_path / "out")])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"table.md", "conas.json", "conas.csv", "conas.tex", "conas_figure4.png", "conas_figure4.svg"}
    svg = (tmp_path / "out/conas_figure4.svg").read_text()
    assert "seed 0" in svg and "stage" in svg
    assert (tmp_path / "out/table.md").read_text() in capsys.readouterr().out
    assert json.loads((tmp_path / "out/conas.json").read_text())["searches"][1]["seed"] == 1

"""Kendall's tau against its formula, scipy and pairs that were written into run folders by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from run_folders import cells, write_search, write_training

from isnas.analysis.kendall import KendallOptions, analyse, bootstrap, kendall
from isnas.base.errors import UserError
from isnas.base.random import generator

CELLS = [cells(["skip_connect:0", f"{name}:1"]) for name in ("skip_connect", "max_pool_3x3", "sep_conv_3x3")]


@pytest.mark.parametrize("levels", [3, 1000])
def test_the_taus(levels):
    rng = np.random.default_rng(0)
    for n in (2, 3, 8, 40):
        x, y = rng.integers(levels, size=(2, n)) / 7.0
        x[:2] = y[:2] = [0.0, 1.0]
        differences = [(x[i] - x[j], y[i] - y[j]) for i in range(n) for j in range(i)]
        total = sum(int(a * b > 0) - int(a * b < 0) for a, b in differences)
        assert kendall(x, y) == pytest.approx((2 * total / (n * (n - 1)), scipy.stats.kendalltau(x, y)[0]))


def test_without_a_tau():
    one, same = np.array([1.0]), np.array([2.0, 2.0, 2.0])
    assert kendall(one, one) == (None, None)
    assert kendall(same, np.arange(3.0)) == (0.0, None)
    assert bootstrap(one, one, 100, 0.9, 0) == bootstrap(same, np.arange(3.0), 100, 0.9, 0) == (None, None)


def test_the_interval_is_that_of_scipy_on_the_same_samples():
    x, y = np.random.default_rng(1).normal(size=(2, 9))
    drawn = torch.randint(9, (200, 9), generator=generator(5, "kendall"))
    taus = [scipy.stats.kendalltau(x[rows], y[rows])[0] for rows in drawn.numpy()]
    assert bootstrap(x, y, 200, 0.8, 5) == pytest.approx(tuple(np.nanquantile(taus, [0.1, 0.9])))
    assert bootstrap(x, y, 200, 0.8, 6) != bootstrap(x, y, 200, 0.8, 5)


def correlations(*folders, **options):
    report = analyse(KendallOptions(runs=tuple(map(str, folders)), **options))
    return report, report.values["correlations"]


def test_pairs_of_what_the_seeds_found(tmp_path):
    searches, trainings = [], []
    for seed, (cell, in_search, trained) in enumerate(zip(CELLS, (60.0, 70.0, 80.0), (91.0, 95.0, 93.0))):
        searches.append(write_search(tmp_path / f"s{seed}", [CELLS[0]], cell, seed=seed, accuracies=[1.0, in_search]))
        for repeat, change in enumerate((-1.0, 1.0)):
            name = tmp_path / f"t{seed}{repeat}"
            trainings.append(write_training(name, cell, trained + change, seed=repeat))
    trainings.append(write_training(tmp_path / "other", cells(["max_pool_3x3:0", "max_pool_3x3:1"]), 50.0))
    longer = write_training(tmp_path / "longer", CELLS[0], 99.0, epochs=600)
    report, (short, long) = correlations(*searches, *trainings, longer)
    assert [(pair["search_acc"], pair["trained_acc"], pair["trainings"]) for pair in short["pairs"]] == [
        (60.0, 91.0, 2),
        (70.0, 95.0, 2),
        (80.0, 93.0, 2),
    ]
    assert short["tau_a"] == pytest.approx(1 / 3) and short["tau_b"] == pytest.approx(1 / 3) and short["paper"] == 0.43
    assert len(long["pairs"]) == 1 and long["tau_a"] is None and long["images"] == "digits, 600 epochs"
    assert "| Two-stage ISTA-NAS | digits, 7 epochs | 3 | 6 | 0.33 | 0.33 |" in report.text
    names = {path.name for path in report.draw(tmp_path)}
    assert names == {"kendall.png", "kendall.svg"} and (tmp_path / "kendall.svg").stat().st_size > 1000


def test_pairs_of_the_epochs_have_the_last_accuracy_of_each_architecture(tmp_path):
    epochs = [CELLS[0], CELLS[1], CELLS[0], CELLS[2]]
    search = write_search(tmp_path / "s", epochs, CELLS[2], accuracies=[10.0, 20.0, 30.0, 40.0, 99.0])
    trainings = [write_training(tmp_path / f"t{i}", cell, 90.0 + i) for i, cell in enumerate(CELLS)]
    _, (found,) = correlations(search, *trainings, pairs="epochs")
    assert sorted((pair["search_acc"], pair["trained_acc"]) for pair in found["pairs"]) == [
        (20.0, 91.0),
        (30.0, 90.0),
        (40.0, 92.0),
    ]


def test_a_one_stage_search_is_paired_by_its_own_network(tmp_path):
    cell = cells(["skip_connect:0", "skip_connect:1"], extra_bn="all")
    own = write_search(tmp_path / "own", [cell], cell, method="one_stage")
    write_training(tmp_path / "result", cell, 96.0, arch="one-stage")
    (tmp_path / "result/result.json").rename(own / "result.json")
    retrained = write_training(tmp_path / "again", cell, 95.0)
    _, (found,) = correlations(own, retrained)
    assert [(pair["search_acc"], pair["trained_acc"]) for pair in found["pairs"]] == [(96.0, 95.0)]
    assert found["paper"] == 0.57


def test_nothing_to_pair(tmp_path):
    search = write_search(tmp_path / "s", [CELLS[0]], CELLS[0])
    with pytest.raises(UserError, match="no training is of an architecture that these searches found; train them by"):
        correlations(search, write_training(tmp_path / "t", CELLS[1], 90.0))
    with pytest.raises(UserError, match="none of these folders is a search"):
        correlations(tmp_path / "t")

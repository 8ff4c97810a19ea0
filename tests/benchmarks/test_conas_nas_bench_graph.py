"""The table of all architectures that CoNAS is tried on: its ranks, its variance by degree, the searches beside it."""

import importlib
import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from starting import ROOT

from isnas.base.errors import UserError
from isnas.base.random import generator


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def made(num_bits, seed=0):
    values = np.random.default_rng(seed).normal(80.0, 5.0, 2**num_bits)
    return importlib.import_module("cube").Cube(values, values + 1.0)


def test_variance_by_degree_is_that_of_least_squares():
    cube, explained = made(5), []
    for degree in range(1, 6):
        subsets = (bits for count in range(degree + 1) for bits in itertools.combinations(range(5), count))
        features = np.stack([cube.alpha[:, list(bits)].prod(axis=1, dtype=float) for bits in subsets], axis=1)
        left = cube.error - features @ np.linalg.lstsq(features, cube.error)[0]
        explained.append(1.0 - left.var() / cube.error.var())
    shares = importlib.import_module("cube").variance_by_degree(cube.error)
    np.testing.assert_allclose(np.cumsum(shares), explained, atol=1e-12)


def test_rows_and_places():
    cube = made(6)
    assert [tuple(bits) for bits in cube.alpha] == list(itertools.product((-1, 1), repeat=6))
    assert cube.rows(cube.alpha).tolist() == list(range(64))
    places = [100.0 * (1 + sum(other < own for other in cube.error)) / 64 for own in cube.error]
    assert [cube.top(error) for error in cube.error] == places


def test_other_codes_are_the_same_architectures():
    cube = made(6)
    first, second = (each.valid.reshape(8, 8) for each in (cube, cube.recoded(1)))
    assert not np.array_equal(first, second)
    rows = [np.flatnonzero((np.sort(first) == np.sort(row)).all(axis=1)).item() for row in second]
    columns = [first[rows[0]].tolist().index(value) for value in second[0]]
    np.testing.assert_array_equal(first[np.ix_(rows, columns)], second)


def test_a_search_finds_what_was_planted():
    benchmark, alpha = importlib.import_module("conas_nas_bench_graph"), made(9).alpha.astype(float)
    error = 20.0 + 3 * alpha[:, 0] - 2 * alpha[:, 1] * alpha[:, 4] + alpha[:, 4] + 0.5 * alpha[:, 7] * alpha[:, 0]
    cube = importlib.import_module("cube").Cube(100.0 - error, 90.0 - error)
    settings = replace(benchmark.PAPER, monomials=5)
    (outcome,) = benchmark.search(cube, benchmark.Way("", 60, settings), 3, 1)
    assert outcome["found_top"] == 100.0 / 512 and outcome["found_regret"] == 0.0 and outcome["free_bits"] == 5
    assert outcome["explained"] > 0.999 and outcome["found_test"] == 90.0 - error.min()
    first, last = benchmark.search(cube, benchmark.Way("", 60, replace(settings, monomials=2)), 3, 2)
    assert first["free_bits"] > last["free_bits"] and last["mean_error"] < first["mean_error"]


@pytest.mark.parametrize("stages", [1, 3])
def test_random_search_measures_as_many(stages):
    benchmark, cube = importlib.import_module("conas_nas_bench_graph"), made(9)
    way = benchmark.Way("", 40, replace(benchmark.PAPER, monomials=3))
    last = benchmark.search(cube, way, 5, stages)[-1]
    assert 30 < last["measured"] <= 40 * stages + 1
    taken = torch.randperm(512, generator=generator(5, "random"))[: int(last["measured"])]
    assert last["random_top"] == cube.top(min(cube.error[taken])) >= 100.0 / 512
    assert last["best_seen_top"] <= last["found_top"]


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nas_bench_graph", None)
    with pytest.raises(UserError, match="pip install nas-bench-graph"):
        importlib.import_module("conas_nas_bench_graph").main([])

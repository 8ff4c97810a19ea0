"""A limit on the size of architectures: none above it is taken, and what gives way is worth least for its size."""

import importlib
import json
import re
from itertools import product

import numpy as np
import pytest
from settings import make_method, make_setting

from isnas.apps.counting import count_in
from isnas.base.errors import UserError
from isnas.methods.registry import make_options
from isnas.methods.size_limit import SizeLimit
from isnas.space.cells.genotype import read_genotype

SMALL = {"num_nodes": 1, "operations": ("max_pool_3x3", "skip_connect", "sep_conv_3x3"), "sparseness": 2}
AS_TESTED = {"in_channels": 1}


def millions(genotype):
    return count_in("cifar", genotype, AS_TESTED).params_millions


def limit_of(most, **values):
    options = make_options("two_stage", init_channels=4, layers=3, max_params=most, **SMALL | values)
    setting = make_setting(options)
    return SizeLimit(options, setting.space, setting.info), setting.space


def test_what_gives_way_loses_least_for_what_it_saves():
    """Against the best of all pairs of lighter connections, where one exchange is enough."""
    limit, space = limit_of(1e6)
    rng = np.random.default_rng(0)
    values = [rng.random(size) for size in space.sizes]
    convolutions = [tuple(k for k in range(6) if "sep" in names[k]) for names in space.candidate_names]
    support = list(convolutions)
    assert [len(node) for node in support] == [2, 2]
    whole = millions(space.genotype(tuple(support)))
    assert limit.within(support, values, [None, None]) == support and limit.trimmed == 0

    limit, _ = limit_of(0.95 * whole)
    found = limit.within(support, values, [None, None])
    weights = limit.weights
    swaps = [
        ((values[node][old] - values[node][new]) / (weights[node][old] - weights[node][new]), node, old, new)
        for node, old, new in product(range(2), range(6), range(6))
        if old in support[node] and new not in support[node] and weights[node][old] > weights[node][new]
    ]
    _, node, old, new = min(swaps)
    expected = list(support)
    expected[node] = tuple(sorted({*support[node]} - {old} | {new}))
    assert millions(space.genotype(tuple(expected))) < 0.95 * whole  # one is enough
    assert found == expected and limit.trimmed == 1
    assert limit.lines() == [f"1 connection gave way to lighter ones, as the architecture was too large for {limit}"]


def test_a_limit_below_everything_is_refused_and_the_lightest_is_reached():
    limit, space = limit_of(0.01)
    with pytest.raises(UserError, match=r"--max_params 0\.01 is less than the smallest architecture has"):
        limit.require(2, space.groups)
    smallest = min(
        millions(space.genotype(support))
        for support in product([(a, b) for a in range(6) for b in range(a + 1, 6)], repeat=2)
    )
    limit, _ = limit_of(1.0001 * smallest)
    limit.require(2, [None, None])
    rng = np.random.default_rng(1)
    found = limit.within([(2, 5), (2, 5)], [rng.random(6) for _ in range(2)], [None, None])
    assert millions(space.genotype(tuple(found))) == pytest.approx(smallest)


@pytest.mark.parametrize("name", ["two_stage", "sampled_recovery", "random"])
def test_no_method_takes_an_architecture_that_is_too_large(name):
    values = {"num_nodes": 2, "epochs": 2, "arch_init_scale": 1.0} if name == "two_stage" else {"num_nodes": 2}
    seeds = range(2)
    free = [taken(name, seed, **values) for seed in seeds]
    most = float(np.median([millions(genotype) for genotype in free]))
    limited = [taken(name, seed, **values, max_params=most) for seed in seeds]
    for without, within in zip(free, limited):
        assert millions(within) < most
        assert (within == without) == (millions(without) < most)
    assert free != limited


def taken(name, seed, **values):
    """The architecture of a method at its start, of random b or scores."""
    method = make_method(name, seed=seed, **values)
    rng = np.random.default_rng(seed)
    if name == "sampled_recovery":
        method.architecture.take_over([rng.standard_normal((2, size)) for size in method.space.sizes])
    if name != "random":
        method.recover()
    return method.genotype()


@pytest.mark.slow
def test_the_log_of_a_search_says_so_and_advises(tmp_path, monkeypatch):
    search = importlib.import_module("isnas.apps.train_search")
    monkeypatch.chdir(tmp_path)
    words = (
        "--dataset digits --image_size 8 --max_train_images 60 --init_channels 2 --layers 3 --batch_size 15 --epochs 2"
    )
    words += " --num_nodes 2 --max_params 0.8 --max_macs 30 --device cpu --no_tensorboard --run_dir run --seed 1"
    search.main(words.split())
    genotype = read_genotype(tmp_path / "run" / "genotype.json")
    counts = count_in("cifar", genotype, {"in_channels": 1, "image_size": 8})
    assert counts.params_millions < 0.8 and counts.conv_linear_multiply_adds < 30e6
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "way to lighter ones, as the architecture was too large for --max_params 0.8 --max_macs 30" in log
    cells, C = map(int, re.search(r"up to --layers (\d+) --init_channels (\d+)", log).groups())
    sizes = {"in_channels": 1, "image_size": 8, "layers": cells}
    fits = [count_in("cifar", genotype, sizes | {"init_channels": width}) for width in (C, C + 1)]
    within = [each.params_millions < 0.8 and each.conv_linear_multiply_adds < 30e6 for each in fits]
    assert within == [True, False]
    assert json.loads((tmp_path / "run" / "genotype.json").read_text())["genotype"] == genotype.to_json()

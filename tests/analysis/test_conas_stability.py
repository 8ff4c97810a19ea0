"""Table 4 of CoNAS: distances of random strings against all pairs, recoveries against the LASSO's closed form."""

import json
from itertools import combinations, product

import numpy as np
import pytest
from run_folders import cells, hash_of, write_conas, write_training
from scipy.stats import hypergeom

from isnas.analysis.commands import main
from isnas.analysis.conas_stability import StabilityOptions, analyse, cifar_size, random_distance
from isnas.base.errors import UserError
from isnas.space.cells.published import published
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.cells.space import CellSpace

CUBE = np.array(list(product([-1, 1], repeat=12)), dtype=np.int8)
#: Coefficients of single bits; over the whole cube a term is left out once lambda is 2 m times its size.
TERMS = {0: -0.3, 4: 0.2, 7: -0.1, 9: -0.05}
LOSS = 1.0 + sum(value * CUBE[:, bit] for bit, value in TERMS.items())
LIMITS = {bit: 2 * len(CUBE) * abs(value) for bit, value in TERMS.items()}
FOUND = cells(["max_pool_3x3:0"], ["skip_connect:0", "max_pool_3x3:1"])  # bits 0, 7 and 9


@pytest.mark.parametrize(("first", "second"), [(2, 3), (0, 4), (7, 7), (3, 3)])
def test_the_distance_of_random_strings_is_that_of_all_pairs(first, second):
    strings = [[set(each) for each in combinations(range(7), count)] for count in (first, second)]
    distances = [len(a ^ b) for a, b in product(*strings)]
    assert random_distance(7, first, second) == pytest.approx((np.mean(distances), np.std(distances)))


def test_the_distance_of_fifteen_of_140():
    common = hypergeom(140, 15, 15)
    assert random_distance(140, 15, 15) == pytest.approx((30 - 2 * common.mean(), 2 * common.std()))
    assert random_distance(140, 15, 15) == pytest.approx((26.79, 2.27), abs=0.005)


def test_the_size_is_that_of_the_papers_network():
    size = cifar_size(CellSpace(), published("DARTS_V2").genotype)  # 3.3 M and 548 M in CoNAS's Table 1
    assert size.params_millions == pytest.approx(3.349342, abs=1e-6)
    assert size.own_relus_multiply_adds / 1e6 == pytest.approx(548, abs=0.6)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return write_conas(tmp_path_factory.mktemp("runs") / "run", [(CUBE, LOSS.tolist())], FOUND, monomials=10)


def outcomes(*folders, lambdas=(1.0,)):
    report = analyse(StabilityOptions(runs=tuple(map(str, folders)), lambdas=lambdas))
    return report, report.values["searches"][0]["outcomes"]


def test_terms_go_as_lambda_grows_and_the_distance_counts_them(search):
    lambdas = tuple(sorted(factor * limit for limit in LIMITS.values() for factor in (0.9, 1.1)))
    report, found = outcomes(search, lambdas=lambdas)
    assert [each["weight"] for each in found] == [1.0, *lambdas]
    for each in found:
        left = {bit for bit, limit in LIMITS.items() if each["weight"] < limit}
        on = {bit for bit in left if TERMS[bit] < 0}
        assert (each["on"], each["off"], each["distance"]) == (len(on), len(left - on), len({0, 7, 9} - on))
    assert found[0]["genotype"] == FOUND
    nothing = cells(["skip_connect:0"], ["skip_connect:0"])  # a node without a connection reads c_{k-2}
    assert found[-1]["genotype"] == nothing
    row = dict(zip(report.tables[0].header, report.tables[0].rows[-1]))
    assert (row["lambda"], row["on"]) == ("random", "3")
    assert row["distance"] == f"{6 - 2 * 9 / 12:.2f} ± {2 * hypergeom(12, 3, 3).std():.2f}"
    assert row["paper: test error (%)"] == "4.43 ± 0.08"


def test_trainings_stand_beside_their_cells(search, tmp_path):
    weight = 1.02 * LIMITS[9]
    cell = cells(["max_pool_3x3:0"], ["skip_connect:0"])
    trainings = [write_training(tmp_path / f"f{seed}", FOUND, 96.0 + seed, seed=seed) for seed in (0, 1)]
    pools = hash_of(cell | {"extra_bn": "pools"})
    trainings += [write_training(tmp_path / "pools", pools, 93.0), write_training(tmp_path / "l", cell, 92.0, epochs=9)]
    for number, arch in enumerate(["random_wired:5:3", "random_wired:3", "random_wired:1:13", "random:3"]):
        trainings.append(write_training(tmp_path / f"r{number}", f"{number:012x}", 80.0 + number, arch=arch))
    report, _ = outcomes(search, *trainings, lambdas=(weight,))
    (table,) = report.tables
    errors = {row[3]: row[table.header.index("test error (%)")] for row in table.rows}
    assert errors == {
        "1": "3.50 ± 0.71 (n = 2, 7 epochs)",
        f"{weight:g}": "7.00 (n = 1, 7 epochs); 8.00 (n = 1, 9 epochs)",
        "random": "20.00 (n = 1, 7 epochs)",
    }


def test_the_papers_figures_stand_once_and_the_cells_are_kept(search, tmp_path):
    other = write_conas(tmp_path / "other", [(CUBE, LOSS.tolist())], FOUND, monomials=10, seed=1)
    main(["conas_table4", str(search), str(other), "--lambdas", "0.5", "5", "--output", str(tmp_path / "out")])
    for number, weight in product((0, 1), ("0.5", "1", "5")):
        kept = resolve_genotype(str(tmp_path / f"out/cells_{number}_lambda_{weight}.json"))
        assert kept.hash() == hash_of(FOUND)
    lines = (tmp_path / "out/table.md").read_text().splitlines()
    assert sum("3.74 ± 0.07" in line for line in lines) == sum("3.51 ± 0.06" in line for line in lines) == 1
    values = json.loads((tmp_path / "out/conas_table4.json").read_text())
    assert [each["seed"] for each in values["searches"]] == [0, 1] and values["paper"]["10"][0] == "12"


def test_what_has_no_lambda_or_no_stage(tmp_path):
    samples = (CUBE[::7], LOSS[::7].tolist())
    iht = write_conas(tmp_path / "iht", [samples], FOUND, recovery="iht")
    with pytest.raises(UserError, match="iht has recovered by iht, which has no lambda; leave it out"):
        outcomes(iht)
    begun = write_conas(tmp_path / "begun", [samples])
    with pytest.raises(UserError, match="none of these folders is a search of CoNAS that has ended its first stage"):
        outcomes(begun)

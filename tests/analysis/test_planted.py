"""tools/analyse.py planted against all points of small cubes, and at sizes where the outcome is known."""

import json
from itertools import product
from math import isnan

import numpy as np
import pytest
from matplotlib.image import imread
from starting import ROOT

from isnas.analysis import planted
from isnas.analysis.commands import main
from isnas.analysis.planted import PlantedOptions
from isnas.analysis.tables import in_one_text
from isnas.base.errors import UserError
from isnas.base.options import parse
from isnas.base.random import generator
from isnas.sparse.boolean.polynomial import Polynomial, Term

SMALL = ["--num_bits", "12", "--measurements", "6", "150", "--monomials", "3", "--trials", "4"]
CUBE = np.array(list(product([1, -1], repeat=9)), dtype=np.int8)


def options(*argv):
    return parse(PlantedOptions, [*SMALL, *argv], "")


def plant(seed, s=5, n=9, constant=0.0):
    return planted.plant(n, 2, s, constant, generator(seed, "f"))


def test_what_is_planted():
    terms = [term for seed in range(200) for term in plant(seed).terms]
    assert len(terms) == 1000 and {len(term.bits) for term in terms} == {1, 2}
    assert len({term.bits for term in terms}) == 45  # all of them come up
    sizes = np.abs([term.coefficient for term in terms])
    assert 0.5 <= sizes.min() < 0.51 and 0.99 < sizes.max() <= 1.0
    assert 0.4 < np.mean([term.coefficient > 0 for term in terms]) < 0.6
    f = plant(0, constant=2.5)
    assert len(f.terms) == 6 and f(CUBE).mean() == pytest.approx(2.5)
    assert planted.deviation(f) == pytest.approx(f(CUBE).std())


@pytest.mark.parametrize("seed", range(6))
def test_the_excess_is_that_of_all_points(seed):
    """Bits that do not occur in what was found are off."""
    f, found = plant(seed), Polynomial(plant(seed).terms[:3])
    others = [bit for bit in range(9) if bit not in found.variables]
    off = CUBE[(CUBE[:, others] == -1).all(1)]
    values = found(off)
    best = off[values <= values.min() + 1e-9]
    excesses = (f(best) - f(CUBE).min()) / f(CUBE).std()
    excess = planted.excess_of(f, found)
    assert abs(excesses - excess).min() < 1e-9 and planted.excess_of(f, f) == pytest.approx(0, abs=1e-12)
    assert excess > 0.1 or excesses.max() < 1e-9 or len(best) > 1


def test_a_minimum_that_cannot_be_computed_is_not_found():
    star = Polynomial(tuple(Term((0, bit), 1.0 + bit) for bit in range(1, 26)))
    assert isnan(planted.excess_of(plant(0), star))


@pytest.mark.parametrize("recovery", ["lasso", "iht"])
@pytest.mark.parametrize("constant", ["penalised", "intercept"])
def test_enough_samples_and_too_few(recovery, constant):
    argv = ["--recovery", recovery, "--constant", constant, "--planted_constant", "1.5", "--noises", "0", "0.1", "100"]
    cells = {(cell["noise"], cell["m"]): cell for cell in planted.measure(options(*argv))["cells"]}
    for noise in (0.0, 0.1):
        assert [cells[noise, 150][key] for key in ("support", "minimum", "right")] == [1.0, 1.0, 1.0]
        assert cells[noise, 150]["excess"] < 1e-9 and cells[noise, 150]["largest_error"] < 0.1
    for lost in ((0.0, 6), (100.0, 150)):
        assert cells[lost]["support"] < 1.0 and cells[lost]["right"] < 1.0 and cells[lost]["excess"] > 0.1
    assert (cells[0.0, 150]["weight_share"] is None) == (recovery == "iht")


def test_an_outcome_is_of_the_weight_and_the_constant():
    """Over the whole cube the columns are orthogonal: every coefficient is drawn towards 0 by lambda / (2 * 512)."""
    f = plant(1, s=3, constant=1.5)
    y = f(CUBE)
    largest = 2 * 512 * 1.5
    for share, number in ((0.7, 1), (1.1, 0)):
        found = planted.outcome(f, CUBE, y, options("--lasso_lambda", str(share * largest)))
        assert found.weight_share == pytest.approx(share) and found.nonzeros == number
        assert not found.support and found.right == number / 4 and not found.minimum
        assert found.largest_error == pytest.approx(min(share, 1) * 1.5, rel=0.01)
    beside = planted.outcome(f, CUBE, y, options("--constant", "intercept"))
    assert beside.support and beside.minimum and beside.right == 1.0


def test_one_command_writes_everything_and_again_the_same(tmp_path, capsys):
    for name in ("one", "two"):
        main(["planted", *SMALL, "--output", str(tmp_path / name)])
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two and one.keys() == {
        f"{name}.{suffix}" for name, suffix in [("table", "md"), ("planted", "json")]
    } | {f"planted.{suffix}" for suffix in ("csv", "tex", "png", "svg")}
    text = one["table.md"].decode()
    assert text in capsys.readouterr().out and "CoNAS's m = 1000" not in text
    assert "| noise | s | found | 6 | 150 |" in text and "| 10 % | 3 | minimum | " in text
    cells = json.loads(one["planted.json"])["cells"]
    assert [(cell["noise"], cell["s"], cell["m"]) for cell in cells] == [
        (0.0, 3, 6),
        (0.0, 3, 150),
        (0.1, 3, 6),
        (0.1, 3, 150),
    ]
    assert imread(tmp_path / "one" / "planted.png").std() > 0.05
    assert planted.measure(options("--seed", "1"))["cells"] != cells


def test_conas_own_sizes():
    """Ten monomials of 140 bits from 1000 samples, without noise and with 10 %."""
    argv = ["--num_bits", "140", "--measurements", "1000", "--monomials", "10", "--trials", "1"]
    report = planted.analyse(options(*argv))
    assert report.text.count("| 100 % | 100 % | 100 % | 0.000 |") == 2
    quiet, noisy = report.values["cells"]
    assert quiet["nonzeros"] == 10 and noisy["nonzeros"] > 500


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--monomials", "36"], "36 monomials are too many for the exact minimum of 140 bits; at most 35"),
        (["--num_bits", "4", "--monomials", "11"], "11 monomials are too many .* of 4 bits; at most 10"),
        (["--num_bits", "2", "--degree", "3"], "degree 3 is more than the 2 bits; lower --degree"),
        (["--noises", "-1"], "noises"),
        (["--lasso_lambda", "0"], "lasso_lambda must be greater than 0"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        main(["planted", *argv])
    assert not list(tmp_path.iterdir())


def test_the_page_shows_the_tables_of_the_stored_result():
    values = json.loads((ROOT / "docs" / "results" / "conas_planted.json").read_text())
    assert in_one_text(planted.parts_of(values)) in (ROOT / "docs" / "conas_matrix.md").read_text()

"""tools/analyse.py parity_matrix against brute force over all columns and all supports."""

import json
from itertools import combinations, product
from math import sqrt

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from starting import ROOT

from isnas.analysis import parity_matrix
from isnas.analysis.commands import main
from isnas.analysis.tables import in_one_text
from isnas.base.errors import UserError
from isnas.base.options import parse
from isnas.base.random import generator
from isnas.sparse.boolean.parities import Parities

SMALL = ["--num_bits", "9", "--measurements", "60", "20", "--monomials", "3", "--vectors", "20", "--starts", "3"]
SMALL += ["--cube_bits", "5"]


def matrix(alpha, degree):
    """A by its definition."""
    n = alpha.shape[1]
    sets = [each for size in range(degree + 1) for each in combinations(range(n), size)]
    return np.array([[np.prod([float(row[i]) for i in S]) for S in sets] for row in alpha])


def bits(m, n, seed=0):
    return np.random.default_rng(seed).choice([-1, 1], (m, n)).astype(np.int8)


@pytest.mark.parametrize(("n", "degree"), [(9, 2), (3, 2), (2, 2), (8, 1), (7, 3), (4, 4)])
def test_coherence_is_that_of_all_pairs_of_columns(n, degree, monkeypatch):
    monkeypatch.setattr(parity_matrix, "_BLOCK", 7)
    alpha, counts = bits(40, n), [1, 5, 16, 40]
    expected = []
    for m in counts:
        A = matrix(alpha[:m], degree)
        gram = abs(A.T @ A)
        expected.append(gram[~np.eye(len(gram), dtype=bool)].max() / m)
    assert parity_matrix.coherence_of_first(alpha, degree, counts) == expected


def test_lower_bounds_of_the_isometry_constant():
    """Of A with 16 columns all 560 supports of three can be tried, and those of two: delta_2 is the coherence."""
    alpha = bits(30, 5)
    A = matrix(alpha, 2)

    def eigenvalues(order):
        return np.array(
            [np.linalg.eigvalsh(A[:, list(T)].T @ A[:, list(T)] / 30) for T in combinations(range(16), order)]
        )

    of_three = eigenvalues(3)
    delta = abs(of_three - 1).max()
    few = parity_matrix.measure_isometry(Parities(alpha, 2), 3, 20, 1, generator(0, "few"))
    assert 0 < few.mean < few.largest <= few.supports <= delta and 0 < few.sought <= delta
    many = parity_matrix.measure_isometry(Parities(alpha, 2), 3, 5000, 50, generator(0, "many"))
    assert many.supports == pytest.approx(delta, abs=1e-12)
    assert many.sought == pytest.approx(of_three.max() - 1, abs=1e-12)
    assert abs(eigenvalues(2) - 1).max() == pytest.approx(parity_matrix.coherence_of_first(alpha, 2, [30])[0])


def test_searching_goes_on_from_the_first_support():
    """It ends where another round would choose the same columns, at more than chance gives."""
    parities = Parities(bits(60, 20), 2)
    bound = parity_matrix.sought_isometry(parities, 6, generator(0, "start"))
    first = parities.correlate(torch.randn(60, generator=generator(0, "start"), dtype=torch.float64).numpy())
    columns = parities.columns(np.argsort(-abs(first))[:6])
    assert bound > 1.2 * (np.linalg.eigvalsh(columns.T @ columns / 60)[-1] - 1)


def test_random_vectors_keep_their_length_on_average():
    """Over the whole cube the columns are orthonormal, so no vector changes its length at all."""
    cube = np.array(list(product([1, -1], repeat=6)), dtype=np.int8)
    isometry = parity_matrix.measure_isometry(Parities(cube, 2), 4, 50, 3, generator(0, "cube"))
    assert max(isometry.largest, isometry.supports, isometry.sought) < 1e-12


def test_rows_of_the_theorem():
    values = parity_matrix.measure(parse(parity_matrix.ParityMatrixOptions, [*SMALL, "--monomials", "10"], ""))
    at_its_sizes = [parity_matrix.rows_of_theorem(10, 2, 140, of) for of in (np.log, np.log2)]
    assert [round(m) for m in at_its_sizes] == [524, 1573]
    assert [row["order"] for row in values["theorem"]] == [10, 20]
    ratio = values["theorem"][0]["base_2"] / values["theorem"][0]["natural"]
    assert ratio == pytest.approx(1 / np.log(2) ** 3)


def test_candes_condition_fails_where_a_bound_reaches_it():
    rows = [{"order": 6, "m": m, "supports": 0.1, "sought": bound} for m, bound in ((10, 0.5), (20, 0.41))]
    assert parity_matrix.verdict(rows, 6).endswith("(Candes) fails at m = 10.")
    rows[0]["sought"], rows[1]["supports"] = 0.3, sqrt(2) - 1
    assert parity_matrix.verdict(rows, 6).endswith("fails at m = 20.")
    assert parity_matrix.verdict(rows, 3).endswith("no m is known to fail.")


def test_one_command_writes_everything_and_again_the_same(tmp_path, capsys):
    for name in ("one", "two"):
        main(["parity_matrix", *SMALL, "--output", str(tmp_path / name)])
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    tables = {f"{name}.{suffix}" for name in ("cubes", "theorem", "matrices") for suffix in ("csv", "tex")}
    assert one == two and one.keys() == {
        "table.md",
        "parity_matrix.json",
        "parity_matrix.png",
        "parity_matrix.svg",
        *tables,
    }
    assert one["table.md"].decode() in capsys.readouterr().out
    values = json.loads(one["parity_matrix.json"])
    assert [row["parities"] for row in values["cubes"]] == [2, 4, 7, 11, 16]
    assert all(row["largest_off_diagonal"] == 0.0 and row["diagonal"] == [1.0, 1.0] for row in values["cubes"])
    assert [(row["order"], row["m"]) for row in values["matrices"]] == [(3, 20), (3, 60), (6, 20), (6, 60)]
    assert imread(tmp_path / "one" / "parity_matrix.png").std() > 0.05
    main(["parity_matrix", *SMALL, "--seed", "1", "--output", str(tmp_path / "other")])
    assert json.loads((tmp_path / "other" / "parity_matrix.json").read_text())["matrices"] != values["matrices"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--degree", "4"],
            "140 bits at degree 4 have more than 100,000,000 products .*; lower --num_bits or --degree",
        ),
        (["--num_bits", "3", "--degree", "4"], "degree 4 is more than the 3 bits; lower --degree"),
        (["--num_bits", "5"], "20 different parities are asked for, .* 5 bits at degree 2 have 16; lower --monomials"),
        (["--measurements"], "measurements"),
        (["--monomials", "1"], "monomials must be at least 2, not 1"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        main(["parity_matrix", *argv])
    assert not list(tmp_path.iterdir())


def test_the_page_shows_the_tables_of_the_stored_result():
    values = json.loads((ROOT / "docs" / "results" / "conas_parity_matrix.json").read_text())
    assert in_one_text(parity_matrix.parts_of(values)) in (ROOT / "docs" / "conas_matrix.md").read_text()

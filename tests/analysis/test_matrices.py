"""tools/analyse.py measurement: one command, all files, the same ones every time; the page shows what it wrote."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from killing import run_tool
from matplotlib.image import imread
from starting import ROOT

from isnas.analysis import matrices
from isnas.analysis.commands import main
from isnas.base.errors import UserError
from isnas.base.options import parse
from isnas.sparse.settings import MEASUREMENTS

SMALL = ["--num_nodes", "2", "--max_dims", "4", "--draws", "3", "--trials", "4"]
FILES = {"table.md", "measurement.json", "measurement.png", "measurement.svg"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def measured(*argv: str) -> dict:
    return matrices.measure(parse(matrices.MeasurementOptions, [*SMALL, *argv], ""))


def test_one_command_writes_everything_and_again_the_same(tmp_path, capsys):
    result = run_tool("analyse.py", "measurement", *SMALL, "--output", "new/one", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    first = contents(tmp_path / "new" / "one")
    assert first.keys() == FILES and first["table.md"].decode() in result.stdout

    main(["measurement", *SMALL, "--output", str(tmp_path / "two")])
    assert contents(tmp_path / "two") == first
    assert "WARNING" not in capsys.readouterr().out

    report = json.loads(first["measurement.json"])
    rows = {(row["kind"], row["n"]) for row in report["matrices"]}
    assert rows == {(kind, n) for kind in MEASUREMENTS for n in (14, 21)}
    assert {(r["kind"], r["n"], r["m"]) for r in report["recovered"]} == {
        (*row, m) for row in rows for m in (2, 3, 4, 7)
    }
    assert all(row["all_supports"] for row in report["matrices"])
    assert matrices.tables(report).encode() == first["table.md"]

    assert imread(tmp_path / "two" / "measurement.png").std() > 0.05
    texts = {element.text for element in ElementTree.fromstring(first["measurement.svg"]).iter() if element.text}
    assert {*MEASUREMENTS, "Welch bound", "share recovered, n = 14", "share recovered, n = 21", "coherence"} <= texts


def test_the_seed_decides():
    one, same, other = measured(), measured(), measured("--seed", "1")
    assert one == same and one["matrices"] != other["matrices"]
    shares = [[row["share"] for row in report["recovered"]] for report in (one, other)]
    assert shares[0] != shares[1]


def test_more_dimensions_than_candidates():
    report = measured("--num_nodes", "1", "--proj_dims", "16")
    assert [row["m"] for row in report["recovered"][:4]] == [2, 3, 4, 16]
    for row in report["recovered"]:
        assert row["m"] < 16 or row["share"] == 1.0
    assert all(row["welch_bound"] == 0.0 for row in report["matrices"])


def test_a_sample_of_the_supports_is_called_one(monkeypatch):
    monkeypatch.setattr(matrices, "MOST_SUPPORTS", 1001)
    report = measured()
    assert [(row["num_supports"], row["all_supports"]) for row in report["matrices"][:2]] == [
        (1001, True),
        (1001, False),
    ]
    assert "1,001 (all)" in matrices.tables(report) and "1,001 (random)" in matrices.tables(report)


def test_solutions_that_are_not_certified_are_told_last(tmp_path, monkeypatch, capsys):
    report = measured()
    report["recovered"][1]["num_unconverged"] = 2
    report["matrices"][0]["c_and_z"]["1"]["num_unconverged"] = 3
    monkeypatch.setattr(matrices, "measure", lambda options: report)
    main(["measurement", *SMALL, "--output", str(tmp_path / "out")])
    *_, written, warning = capsys.readouterr().out.splitlines()
    assert written.startswith("written to ")
    assert warning == "WARNING: 5 solutions are not certified (converged = False)"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--sparseness", "8"], "sparseness 8 is too large: .* 16 columns, .* has 14; at most 7"),
        (["--proj_dims", "0"], "proj_dims must be at least 1, not 0"),
        (["--draws", "1"], "draws must be at least 2, not 1"),
        (["--lasso_lambda", "0"], "lasso_lambda must be greater than 0"),
        (["--output", "taken"], "cannot make the folder taken: File exists; choose another --output"),
        (["--output", "taken/in"], "cannot make the folder taken/in: Not a directory; choose another --output"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    with pytest.raises(UserError, match=words):
        main(["measurement", *argv])
    assert contents(tmp_path) == {"taken": b""}


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    result = run_tool("analyse.py", "measurement", "--drows", "3", folder=tmp_path)
    assert result.returncode == 2 and result.stdout == "" and not list(tmp_path.iterdir())
    assert result.stderr == "analyse.py: error: unknown flag --drows; did you mean --draws?\n"


def test_the_page_shows_the_tables_of_the_stored_result():
    report = json.loads((ROOT / "docs" / "results" / "measurement.json").read_text())
    assert matrices.tables(report) in (ROOT / "docs" / "measurement.md").read_text()

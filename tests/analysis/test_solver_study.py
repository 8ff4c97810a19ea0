"""tools/analyse.py solvers: one command, all files; what the figures say, and what a search's log says."""

import json
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from killing import run_tool
from matplotlib.image import imread
from starting import ROOT

from isnas.analysis import solver_study
from isnas.analysis.commands import main
from isnas.analysis.solver_report import tables
from isnas.base.errors import UserError
from isnas.base.options import parse
from isnas.sparse.homotopy import Homotopy

pytestmark = pytest.mark.slow

SMALL = ["--num_nodes", "1", "--draws", "1", "--solver_max_iter", "300"]
FILES = {
    "table.md",
    "solvers.json",
    *(f"{name}.{kind}" for name in ("solvers", "solvers_time") for kind in ("png", "svg")),
}

#: Says how many threads a library has at most: before a comparison, after each of its 8 recoveries, and at its end.
THREADS = """
import torch, threadpoolctl
from isnas.analysis import solver_study

def say(when):
    print(when, max(torch.get_num_threads(), *(pool["num_threads"] for pool in threadpoolctl.threadpool_info())))

def steps(first, total, description):
    for step in range(first, total):
        yield step
        say("measured")

solver_study.progress = steps
say("before")
solver_study.measure(solver_study.SolverOptions(num_nodes=1, draws=1, solver_max_iter=1))
say("after")
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("solvers")
    result = run_tool("analyse.py", "solvers", *SMALL, "--output", "new/one", folder=folder)
    assert result.returncode == 0, result.stderr
    return folder / "new" / "one", result.stdout


def untimed(report: dict) -> dict:
    """The report without what the clock gave."""
    text = json.dumps(report)
    return json.loads(re.sub(r'"milliseconds": (\[[^]]*\]|[^,}]*)', '"milliseconds": 0', text))


def test_one_command_writes_everything_and_again_the_same_but_for_the_times(written):
    folder, printed = written
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "table.md").read_text() in printed
    report = json.loads((folder / "solvers.json").read_text())
    assert [(cell["kind"], cell["scale"]) for cell in report["cells"]] == [
        (kind, scale) for kind in ("uniform", "gaussian") for scale in (1e-3, 1.0, 10.0, 30.0)
    ]
    options = parse(solver_study.SolverOptions, SMALL, "")
    assert untimed(json.loads(json.dumps(solver_study.measure(options)))) == untimed(report)
    assert tables(report) == (folder / "table.md").read_text()
    for name in ("solvers", "solvers_time"):
        assert imread(folder / f"{name}.png").std() > 0.05
        texts = {part.text for part in ElementTree.parse(folder / f"{name}.svg").iter() if part.text}
        assert {*solver_study.SOLVERS, "uniform, b of 0.001", "gaussian, b of 30", "relative duality gap"} <= texts


def test_the_figures_hold_together(written):
    report = json.loads((written[0] / "solvers.json").read_text())
    for cell in report["cells"]:
        figures, courses = cell["figures"], cell["courses"]
        for name in ("homotopy", "clarabel"):
            assert figures[name]["certified"] == figures[name]["same"] == 1.0
        assert all(values["lost"] == 0 and values["milliseconds"] > 0.0 for values in figures.values())
        for name in ("fista", "ista"):
            bare = figures[solver_study.UNFINISHED[name]]
            assert figures[name]["certified"] >= bare["certified"]
            assert figures[name]["iterations"] <= bare["iterations"] <= 300
        for course in courses.values():
            assert len({len(values) for values in course.values()}) == 1
            assert np.all(np.diff(course["iterations"]) >= 0.0)
            assert all(
                low <= middle <= high for low, middle, high in zip(*(course[k] for k in ("low", "median", "high")))
            )
        for name in ("homotopy", "clarabel"):
            assert courses[name]["high"][-1] <= max(1e-8, 2.0 * cell["goal"]) < courses[name]["low"][0]
        assert courses["fista"]["iterations"][0] == 1 and courses["fista"]["iterations"][-1] == 300
        assert all(np.diff(courses[name]["milliseconds"]).min() >= 0.0 for name in ("fista", "ista"))
    assert report["cells"][4]["figures"]["fista"]["certified"] > 0.0  # gaussian, b of 1e-3


def test_all_figures_are_of_one_thread():
    """Also those of the libraries that come with CVXPY, which is imported late."""
    environment = os.environ | {f"{name}_NUM_THREADS": "2" for name in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, "-c", THREADS]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["before 2", *["measured 1"] * 8, "after 2"]


def test_relative_gaps_are_those_of_the_definition():
    options = parse(solver_study.SolverOptions, ["--num_nodes", "2"], "")
    problems = solver_study.Problems(options, "gaussian", 1.0, 0)
    lam = 0.01
    z = [solution.z for solution in Homotopy(problems.matrices, lam).solve(problems.b)]
    for A, b, part, gap in zip(problems.matrices, problems.b, z, problems.relative_gaps(z)):
        # the residual's correlations are lam there, so the dual point is the residual times lasso_lambda / lam
        residual = b - A @ part
        primal = 0.5 * residual @ residual + 1e-5 * np.abs(part).sum()
        theta = residual * 1e-5 / lam
        assert gap == pytest.approx((primal - theta @ b + 0.5 * theta @ theta) / primal, rel=1e-9)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--draws", "0"], ["draws must be at least 1"]),
        (["--solver_max_iter", "0"], ["solver_max_iter must be at least 1"]),
        (["--lasso_lambda", "-1"], ["lasso_lambda must be greater than 0"]),
        (["--output", "file/inside"], ["file/inside", "choose another --output"]),
    ],
)
def test_a_mistake_is_one_line(argv, words, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as mistake:
        main(["solvers", *argv])
    assert all(word in str(mistake.value) for word in words) and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_mistake_ends_with_exit_code_2(tmp_path):
    result = run_tool("analyse.py", "solvers", "--drows", "1", folder=tmp_path)
    assert result.returncode == 2 and result.stdout == "" and not list(tmp_path.iterdir())
    assert result.stderr.splitlines() == ["analyse.py: error: unknown flag --drows; did you mean --draws?"]


def test_the_page_shows_the_tables_of_the_stored_result():
    report = json.loads((ROOT / "docs" / "results" / "solvers.json").read_text())
    assert tables(report) in (ROOT / "docs" / "solvers.md").read_text()


def test_the_log_of_a_search_says_what_was_not_solved(tmp_path):
    small = "--dataset digits --image_size 8 --init_channels 2 --layers 3 --batch_size 256 --epochs 1 --no_tensorboard"
    limited = "--device cpu --solver ista --solver_max_iter 10 --run_dir run"
    result = run_tool("train_search.py", *small.split(), *limited.split(), folder=tmp_path)
    assert result.returncode == 0, result.stderr
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("WARNING: 8 solutions are not certified (converged = False)") == 2  # an epoch's and the last one

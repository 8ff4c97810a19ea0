"""What is not installed is said where it is needed, with the command that installs it; the core does without."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from isnas.apps.export import ExportOptions
from isnas.apps.exporting import export
from isnas.base.errors import UserError
from isnas.base.extras import EXTRAS
from isnas.engine.run import start_run
from isnas.methods.registry import make_options

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: how a library is imported whose package has another name
IMPORTED_AS = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml"}


def imported_as(requirements):
    names = (re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements)
    return {IMPORTED_AS.get(name, name) for name in names}


CORE = imported_as(PROJECT["dependencies"])


def test_the_extras_are_those_of_the_package():
    extras = dict(PROJECT["optional-dependencies"])
    assert extras.pop("all") == [f"isnas[{','.join(EXTRAS)}]"]
    assert {name: imported_as(own) for name, own in extras.items()} == {name: set(own) for name, own in EXTRAS.items()}


def test_everything_that_is_imported_is_of_the_core_or_an_extra():
    found, at_once = set(), {}
    for path in (ROOT / "isnas").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            tops = {name.split(".")[0] for name in names}
            found |= tops
            if node in tree.body:
                at_once |= dict.fromkeys(tops, path)
    others = set(sys.stdlib_module_names) | {"isnas"}
    assert found >= CORE and found - CORE - others - set().union(*EXTRAS.values()) == set()
    late = {name: path for name, path in at_once.items() if name not in CORE | others}
    assert late == {"cvxpy": ROOT / "isnas/sparse/convex.py"}  # which is itself imported late


@pytest.fixture
def without(monkeypatch):
    """Makes libraries fail to import, as they do that are not there."""
    return lambda *names: [monkeypatch.setitem(sys.modules, name, None) for name in names]


def said(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


def test_a_solver_that_is_not_there(without):
    without("cvxpy")
    for solver in ("clarabel", "mosek"):
        message = said(make_options("two_stage", solver=solver).check_solver)
        assert message == f'--solver {solver} needs cvxpy: pip install "isnas[solvers]"'
    make_options("two_stage", solver="fista").check_solver()


def test_onnx_that_is_not_there(without):
    without("onnx", "onnxruntime")
    message = said(export, ExportOptions(run="run", format="onnx"))
    assert message == '--format onnx needs onnx, onnxruntime: pip install "isnas[export]"'


@pytest.mark.parametrize("there", [True, False])
def test_tensorboard_is_missed_only_by_who_asks_for_it(there, without, tmp_path):
    if not there:
        without("tensorboard")

    def notes(name, tensorboard):
        options = make_options("two_stage", run_dir=str(tmp_path / name), tensorboard=tensorboard)
        run = start_run(options, "search", torch.device("cpu"))
        run.begin()
        run.records.close()
        assert run.records.tensorboard == (tensorboard is not False and there)
        return [line for line in (run.folder / "log.txt").read_text().splitlines() if "TensorBoard" in line]

    warning = 'WARNING: no TensorBoard files, as it is not installed: pip install "isnas[tracking]", or give '
    (*found,) = notes("default", None)
    assert [line[line.index("WARNING") :] for line in found] == ([] if there else [warning + "--no_tensorboard"])
    assert notes("off", False) == []
    if there:
        assert notes("on", True) == []
    else:
        assert said(notes, "on", True) == '--tensorboard needs tensorboard: pip install "isnas[tracking]"'
        assert not (tmp_path / "on").exists()

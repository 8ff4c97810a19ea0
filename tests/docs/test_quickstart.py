"""examples/quickstart.ipynb: it is stored without outputs, calls what there is, and runs to its last cell."""

import ast
import os
import re
import resource

import nbformat
import pytest
from nbclient import NotebookClient
from starting import ROOT

import isnas
from isnas.methods.registry import make_options

PATH = ROOT / "examples/quickstart.ipynb"
#: It takes so long at most on a free machine.
SECONDS = 240


def notebook():
    return nbformat.read(PATH, as_version=4)


def code():
    return [cell.source for cell in notebook().cells if cell.cell_type == "code"]


def seconds_of_children():
    """What processes that have ended have used of the processor, whatever else it was doing."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_it_is_valid_and_holds_no_outputs():
    found = notebook()
    nbformat.validate(found)
    for cell in found.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)
    assert "/home" not in PATH.read_text()


def test_every_cell_calls_what_there_is():
    tree = ast.parse("\n".join(code()))
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in named if ast.unparse(node.value) == "isnas"}
    assert {"search", "train", "load", "draw"} <= used <= set(isnas.__all__)
    kinds = {"found": isnas.SearchResult, "trained": isnas.TrainResult, "digits": isnas.TrainedNetwork}
    kinds |= {"tested": isnas.TestResult}
    for node in named:
        if kind := kinds.get(ast.unparse(node.value)):
            assert node.attr in dir(kind) or node.attr in kind.__dataclass_fields__, node.attr


def test_its_options_are_understood():
    """Those of each call, and the mistake that the last cell is about."""
    methods = {"search": "two_stage", "train": "evaluation"}
    names = {}
    for node in ast.walk(ast.parse("\n".join(code()))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("isnas.") in methods:
            given = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
            names.setdefault(ast.unparse(node.func).removeprefix("isnas."), []).append(given)
    (search, mistake), (train,) = names["search"], names["train"]
    (small,) = (ast.literal_eval(text) for text in re.findall(r"^small = (\{.*\})$", "\n".join(code()), re.M))
    assert small.pop("show_log") is False and list(mistake) == ["epoch"]
    assert make_options("two_stage", dataset="digits", **search, **small).epochs == 8
    assert make_options("evaluation", dataset="digits", arch="random:0", **train, **small).epochs == 8


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    found, before = notebook(), seconds_of_children()
    NotebookClient(found, timeout=3 * SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert 5 < seconds_of_children() - before < SECONDS
    outputs = [output for cell in found.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = "\n".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)
    assert "unknown flag --epoch; did you mean --epochs?" in shown and "SearchResult" in shown
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) == 2
    labels = re.findall(r"Prediction\(image \d: (\d) ", shown)
    assert sum(label == str(k) for k, label in enumerate(labels)) >= 4

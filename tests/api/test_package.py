"""``isnas`` as it is imported: quick, complete, and with two names that are functions and folders at once."""

import inspect
import os
import subprocess
import sys

import pytest
from starting import ROOT

import isnas
import isnas.api.cells
import isnas.api.running
from isnas.base.late import load

LISTED = "import sys, isnas; isnas.UserError, isnas.search, isnas.published; print(*sys.modules)"


def test_importing_it_loads_neither_torch_nor_matplotlib():
    done = subprocess.run(
        [sys.executable, "-c", LISTED],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = {name.split(".")[0] for name in done.stdout.split()}
    assert "isnas" in modules and not modules & {"torch", "matplotlib", "numpy", "PIL"}


def test_it_lists_its_names_and_has_them():
    assert dir(isnas) == sorted(isnas.__all__)
    for name in isnas.__all__:
        assert callable(getattr(isnas, name)) and getattr(isnas, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        isnas.serach  # noqa: B018  # asked for


def test_checkers_are_told_of_the_same_names():
    source = (ROOT / "isnas/__init__.py").read_text()
    told = source.partition("if TYPE_CHECKING:\n")[2].partition("\n\n")[0]
    imported = {name.strip() for line in told.splitlines() for name in line.partition(" import ")[2].split(",")}
    assert imported - {"TabulatedBenchmark"} == set(isnas.__all__) - {"benchmark"}
    for line in told.splitlines():
        module, _, names = line.strip().removeprefix("from ").partition(" import ")
        for name in names.split(", "):
            if name in isnas.__all__ and name not in ("train", "draw"):
                assert getattr(isnas, name) is load(f"{module}:{name}")


@pytest.mark.parametrize(
    ("name", "function", "part"),
    [("train", isnas.api.running.train, "isnas.train.fixed"), ("draw", isnas.api.cells.draw, "isnas.draw.graph")],
)
def test_a_folder_is_a_function_as_well(name, function, part):
    load(f"{part}:annotations")  # the import that sets the folder as an attribute
    called = getattr(isnas, name)
    assert inspect.signature(called) == inspect.signature(function) and called.__doc__ == function.__doc__
    assert load(f"{part}:__name__") == part and getattr(called, part.rpartition(".")[2]).__name__ == part
    with pytest.raises(isnas.UserError):
        called("no such architecture")

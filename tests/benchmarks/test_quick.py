"""Every benchmark runs, in its quick form, and writes only where it is told to."""

import json
import os

import pytest
from starting import ROOT, run_script

from isnas.analysis.tabulated.table import read_table

pytestmark = pytest.mark.slow

FOLDER = ROOT / "benchmarks"
BENCHMARKS = sorted(
    str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.py") if "def main(" in path.read_text(encoding="utf-8")
)

FIGURES = ["--output", "figures.json"]
OTHER_OUTPUT = {"small_imagenet.py": ["images"], "mini/table.py": ["mini_digits", "--table", "table.jsonl"]}


def own_files():
    return {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_quick(name, tmp_path):
    output, before = OTHER_OUTPUT.get(name, FIGURES), own_files()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = run_script(f"benchmarks/{name}", "--quick", *output, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert own_files() == before
    if output is FIGURES:
        assert json.loads((tmp_path / "figures.json").read_text())
    elif name == "mini/table.py":
        assert len(read_table(tmp_path / "table.jsonl").cells) == 2
    else:
        assert len(list(tmp_path.glob("images/*/*/*.jpg"))) == 40

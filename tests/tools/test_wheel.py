"""The wheel holds all that the commands need: it is built, unpacked and used with nothing else of the repository."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from starting import ROOT

pytestmark = pytest.mark.slow

SOURCES = ("isnas", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('dist')"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A folder with what a wheel installs, made of a copy, as a build leaves files behind."""
    copy, folder = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("unpacked")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    built = subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    (wheel,) = (copy / "dist").glob("isnas-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(unpacked, folder, *words):
    environment = os.environ | {"PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "isnas", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def files(folder):
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.suffix != ".pyc" and not path.name.endswith("~")}


def test_it_has_all_files_and_the_command(unpacked):
    wanted = {f"isnas/{name}" for name in files(ROOT / "isnas")}
    wanted |= {f"isnas/configs/{name}" for name in files(ROOT / "configs")}
    assert {name for name in files(unpacked) if ".dist-info" not in name} == wanted
    (entry,) = unpacked.glob("isnas-*.dist-info/entry_points.txt")
    assert "isnas = isnas.apps.console:main" in entry.read_text()


def test_it_is_used_from_another_folder(unpacked, tmp_path):
    table = run(unpacked, tmp_path, "count", "--table")
    assert (table.returncode, table.stderr) == (0, "") and table.stdout in (ROOT / "README.md").read_text()
    small = ["--max_train_images", 100, "--batch_size", 25, "--epochs", 1, "--init_channels", 2, "--layers", 3]
    free = ["--device", "cpu", "--no_tensorboard", "--run_dir", "run"]
    done = run(unpacked, tmp_path, "train_search", "--config", "smoke/digits_twostage", *small, *free)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/genotype.json").exists() and "dataset: digits" in (tmp_path / "run/config.yaml").read_text()

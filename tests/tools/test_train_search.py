"""The search tool as a user runs it: what it leaves behind, and that killing it changes nothing."""

import json
import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from killing import board, log_lines, metrics, run_and_kill, run_tool
from starting import ROOT

from isnas.space.cells.genotype import genotype_from_text, read_genotype
from isnas.space.cells.published import published

pytestmark = pytest.mark.slow

SMALL = ["--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3, "--batch_size", 96]
SMALL += ["--report_freq", 2, "--held_out_portion", 0.2, "--arch_learning_rate", 0.003, "--seed", 3]
SMALL += ["--epochs", 8, "--recover_every", 4]  # 5 steps an epoch: recoveries fall within epochs too


class Straight(NamedTuple):
    """A run that nothing interrupted, and the seconds it took."""

    folder: Path
    seconds: float


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    start = time.monotonic()
    done = run_tool("train_search.py", *SMALL, "--run_dir", "run", folder=folder)
    assert done.returncode == 0, done.stderr
    return Straight(folder / "run", time.monotonic() - start)


def test_the_run_folder(straight):
    straight = straight.folder
    names = {path.name for path in straight.iterdir()}
    assert names == {
        "log.txt",
        "config.yaml",
        "env.json",
        "metrics.jsonl",
        "genotype.json",
        "genotypes.jsonl",
        "checkpoint.pt",
        "checkpoint_previous.pt",
        "weights.pt",
        "cell_normal.png",
        "cell_normal.svg",
        "cell_reduce.png",
        "curves.png",
        "curves.svg",
        "report.html",
        "cell_reduce.svg",
        "tb",
    }
    log = (straight / "log.txt").read_text()
    for pattern in (
        r"^\d\d/\d\d \d\d:\d\d:\d\d [AP]M param size = \d+\.\d{6}MB$",
        r" epoch 0 lr 1\.000000e-01$",
        r" genotype = Genotype\(normal=\[",
        r" train 000 \d\.\d+e[+-]\d\d \d+\.\d+ \d+\.\d+$",
        r" train_acc \d+\.\d+$",
        r" valid_acc \d+\.\d+$",
        r" held_out_acc \d+\.\d+$",
    ):
        assert re.search(pattern, log, re.MULTILINE), pattern
    result = json.loads((straight / "genotype.json").read_text())
    genotype = read_genotype(straight / "genotype.json")
    assert genotype_from_text(result["text"]) == genotype and genotype != published("ISTA_twostage").genotype
    last = re.findall(r"genotype = (.*)", log)[-1]
    assert genotype_from_text(last) == genotype
    assert result["valid_acc"] == pytest.approx(float(re.findall(r" valid_acc (\S+)", log)[-1]), abs=1e-5)
    assert len((straight / "genotypes.jsonl").read_text().splitlines()) == len(metrics(straight)) == 9
    assert yaml.safe_load((straight / "config.yaml").read_text())["arch_learning_rate"] == 0.003


def test_ten_kills_change_nothing(straight, tmp_path):
    run, (straight, seconds) = tmp_path / "killed", straight
    arguments = [*SMALL, "--checkpoint_minutes", 0.0001]
    reached = run_and_kill("train_search.py", *arguments, run_dir=run, kills=10, longest=0.15 * seconds)
    assert len(set(reached)) > 2, f"the kills came at {reached}"
    check_same(run, straight)

    content = (run / "checkpoint.pt").read_bytes()
    (run / "checkpoint.pt").write_bytes(content[: len(content) // 2])
    done = run_tool("train_search.py", "--resume", run, folder=tmp_path)
    assert done.returncode == 0 and "checkpoint.pt is damaged" in done.stdout, done.stderr
    check_same(run, straight)


def check_same(run, straight):
    """The two folders hold the same run, but for its times."""
    assert {path.name for path in run.iterdir()} == {path.name for path in straight.iterdir()}
    assert (run / "genotype.json").read_bytes() == (straight / "genotype.json").read_bytes()
    mine, other = (torch.load(folder / "weights.pt", weights_only=True) for folder in (run, straight))
    assert _flat(mine).keys() == _flat(other).keys()
    assert all(_same(value, _flat(other)[key]) for key, value in _flat(mine).items())
    assert metrics(run) == metrics(straight)
    assert log_lines(run) == log_lines(straight)
    assert (run / "genotypes.jsonl").read_text() == (straight / "genotypes.jsonl").read_text()
    assert board(run) == board(straight) != []


def test_recovery_per_step_and_distinct_inputs(tmp_path):
    changes = "--epochs 1 --recover_every step --distinct_inputs --measurement gaussian --no_tensorboard"
    arguments = [*SMALL, *changes.split()]
    done = run_tool("train_search.py", *arguments, "--solver", "clarabel", "--run_dir", "run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    row, final = metrics(tmp_path / "run")
    assert final["final"] and final["recovery/count"] == 1
    assert row["recovery/count"] == row["step"] > 1 and row["arch/distinct_inputs"] == 1.0
    assert row["recovery/num_unconverged"] == 0


@pytest.mark.parametrize("tool", sorted(path.name for path in ROOT.glob("tools/*.py")))
def test_help_works_from_any_folder(tool, tmp_path):
    command = ["epsilon"] if tool == "analyse.py" else []
    done = run_tool(tool, *command, "--help", folder=tmp_path)
    assert done.returncode == 0 and "--config" in done.stdout and not list(tmp_path.iterdir())


def test_the_demo_finds_a_cell_and_trains_it(tmp_path):
    configs = ROOT / "configs/smoke"
    search = ["--config", configs / "digits_twostage.yaml", "--run_dir", "search"]
    train = ["--config", configs / "digits_evaluate.yaml", "--arch", "search", "--run_dir", "found", "--epochs", 8]
    for tool, arguments in (("train_search.py", search), ("evaluate.py", train)):
        done = run_tool(tool, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "search/genotype.json").read_text())["held_out_acc"] >= 90.0
    assert json.loads((tmp_path / "found/result.json").read_text())["test_acc"] >= 97.0


def _flat(value, prefix=""):
    if isinstance(value, dict):
        return {name: leaf for key, part in value.items() for name, leaf in _flat(part, f"{prefix}/{key}").items()}
    if isinstance(value, list):
        return _flat(dict(enumerate(value)), prefix)
    return {prefix: value}


def _same(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b

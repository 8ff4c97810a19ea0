"""Several seeds in one folder: killed and resumed as a whole, selected, and stopped by a mistake in the options."""

import json
import subprocess
import sys
import time

import pytest
import torch
from killing import log_size, next_commands, run_tool
from starting import ROOT

from isnas.space.cells.resolve import resolve_genotype

pytestmark = pytest.mark.slow

SMALL = ["--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3, "--batch_size", 96]
SMALL += ["--arch_learning_rate", 0.01, "--epochs", 2, "--seeds", 0, 1, 2, "--no_tensorboard"]


def test_killed_in_the_last_seed_and_resumed(tmp_path):
    done = run_tool("train_search.py", *SMALL, "--jobs", 2, "--threads", 2, "--run_dir", "straight", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "seed 1: " in done.stdout and "best seed" in done.stdout
    straight, run = tmp_path / "straight", tmp_path / "killed"

    arguments = [*SMALL, "--threads", 1, "--run_dir", run]
    command = [sys.executable, str(ROOT / "tools/train_search.py"), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while "train_acc" not in log_text(run / "seed-2") and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None
    process.kill()
    process.wait()
    time.sleep(0.5)
    size = log_size(run / "seed-2")
    time.sleep(1.0)
    assert log_size(run / "seed-2") == size  # nobody goes on writing
    done = run_tool("train_search.py", "--resume", run, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resuming" in log_text(run / "seed-2") and "resuming" not in log_text(run / "seed-1")

    assert table(run) == table(straight)
    assert "of the derived network (20 cells, C = 36)." in (run / "table.md").read_text()
    assert [words[2:] for words in next_commands(run)] == [["--arch", str(run)]]
    assert next_commands(run / "seed-0") == []
    summaries = json.loads((run / "seeds.json").read_text())
    best = max(summaries["seeds"], key=lambda row: row["valid_acc"])
    assert summaries["best"] == best["seed"] and len(summaries["seeds"]) == 3
    seed = run / f"seed-{best['seed']}"
    assert (run / "best/genotype.json").read_bytes() == (seed / "genotype.json").read_bytes()
    assert resolve_genotype(str(run)) == resolve_genotype(str(seed)) == resolve_genotype(best["genotype"])
    assert best["valid_acc"] == json.loads((seed / "genotype.json").read_text())["valid_acc"]
    mine, other = (torch.load(g / "best/weights.pt", weights_only=True)["network"] for g in (run, straight))
    assert all(torch.equal(value, other[key]) for key, value in mine.items())


def test_a_mistake_that_no_seed_survives_leaves_nothing(tmp_path):
    arguments = ["--dataset", "cifar10", "--data", tmp_path / "nowhere", "--seeds", 0, 1, "--run_dir", "run"]
    done = run_tool("train_search.py", *arguments, folder=tmp_path)
    assert done.returncode == 2 and done.stderr.count("error:") == 1 and "nowhere" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_seed_that_fails_is_named_and_the_others_are_kept(tmp_path):
    seeds = ["--seeds", 0, 1, "--run_dir", "run", "--learning_rate", 1e6]
    done = run_tool("train_search.py", *SMALL, *seeds, folder=tmp_path)
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert "seed 0: training diverged" in line and "seed 1" in line and "--resume run" in line


def table(run):
    """table.md without the columns of time and memory."""
    return [line.rsplit("|", 3)[0] for line in (run / "table.md").read_text().splitlines()]


def log_text(run):
    return (run / "log.txt").read_text() if log_size(run) else ""

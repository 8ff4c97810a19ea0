"""A search on a real GPU that is killed and resumed goes on with the same numbers, up to the order of sums."""

import json
import subprocess
import sys
import time

import pytest
import torch
from killing import checkpoint
from starting import ROOT

pytestmark = pytest.mark.slow

SMALL = ["--dataset", "digits", "--image_size", 8, "--init_channels", 8, "--layers", 3, "--num_nodes", 2]
SMALL += ["--epochs", 3, "--max_train_images", 400, "--batch_size", 48, "--report_freq", 1, "--no_tensorboard"]
STEPS = 12


def started(folder, name, *arguments):
    """The tool in a process of its own, which is not forked: a GPU that is in use does not survive that."""
    command = [sys.executable, ROOT / "tools/train_search.py", *arguments]
    with open(folder / f"{name}.out", "a") as output:
        return subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)


def ended(process, folder, name):
    """Wait for the end, which must be a good one."""
    assert process.wait(timeout=300) == 0, (folder / f"{name}.out").read_text()[-2000:]


def rows(run, name):
    """What was recorded, a row for each epoch and one for the end."""
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def test_a_killed_search_goes_on_with_the_same_numbers(device, tmp_path):
    arguments = [*SMALL, "--device", device.type]
    if torch.__version__ < "2.14":  # which is refused on a GPU in channels_last
        arguments.append("--no_channels_last")
    straight, run = tmp_path / "straight", tmp_path / "killed"
    whole = started(tmp_path, "straight", *arguments, "--run_dir", straight)
    often = ["--checkpoint_minutes", 1e-6]
    part = started(tmp_path, "killed", *arguments, *often, "--run_dir", run)
    while part.poll() is None and checkpoint(run).get("global_step", 0) < STEPS // 4:
        time.sleep(0.005)
    part.kill()
    part.wait()
    assert STEPS // 4 <= checkpoint(run)["global_step"] < STEPS
    resumed = started(tmp_path, "killed", "--resume", run)
    ended(whole, tmp_path, "straight")
    ended(resumed, tmp_path, "killed")
    assert "resuming" in (run / "log.txt").read_text()
    assert json.loads((run / "env.json").read_text())["device"].startswith(device.type)
    found, expected = rows(run, "metrics.jsonl"), rows(straight, "metrics.jsonl")
    assert [row["step"] for row in found] == [row["step"] for row in expected] == [4, 8, 12, 12]
    for mine, other in zip(found, expected, strict=True):
        losses = {name: value for name, value in other.items() if name in ("train/loss", "valid/loss")}
        assert losses and {name: mine[name] for name in losses} == pytest.approx(losses, rel=1e-3)
    assert rows(run, "genotypes.jsonl") == rows(straight, "genotypes.jsonl")

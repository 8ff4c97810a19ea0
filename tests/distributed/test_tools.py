"""The real tools as two processes: losing one, signals, other numbers of processes, and mistakes."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from killing import log_lines, log_size, metrics, run_tool
from launching import finish, launch, start
from starting import ROOT

pytestmark = pytest.mark.slow

ONE_STAGE = "tools/train_onestage.py"
SMALL = ["--dataset", "digits", "--max_train_images", 300, "--image_size", 8, "--init_channels", 4, "--layers", 3]
SMALL += ["--batch_size", 50, "--max_search_epochs", 3, "--epochs", 2, "--termination_interval", 4]
SMALL += ["--epsilon", 2.3e-3, "--arch_learning_rate", 1e-3, "--learning_rate", 0.1, "--report_freq", 2]
SMALL += ["--no_tensorboard", "--timeout_minutes", 1]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    codes, outputs = launch(ONE_STAGE, [*SMALL, "--run_dir", "run"], 2, folder)
    assert codes == [0, 0], outputs
    assert outputs[1] == "" and outputs[0].count("test_error") == 1  # rank 0 alone speaks
    assert "2 processes: 25 of 50 images of a batch to each" in outputs[0]
    return folder / "run"


def assert_same_run(run, straight):
    lines = [line for line in log_lines(run) if "processes: " not in line]
    assert lines == [line for line in log_lines(straight) if "processes: " not in line]
    assert metrics(run) == metrics(straight)
    mine, other = (torch.load(folder / "weights.pt", weights_only=True)["weights"] for folder in (run, straight))
    assert all(torch.equal(value, other[key]) for key, value in mine.items())


def interrupt(processes, run, rng, number, longest=2.0):
    """Send a signal to one of the processes, a random while after the log has grown; returns its rank."""
    before = log_size(run)
    while log_size(run) == before and all(process.poll() is None for process in processes):
        time.sleep(0.02)
    time.sleep(rng.uniform(0.0, longest))
    rank = rng.randrange(len(processes))
    processes[rank].send_signal(number)
    return rank


def arguments(run):
    return ["--resume", run] if (run / "config.yaml").exists() else [*SMALL, "--run_dir", run]


def test_a_rank_that_is_killed_ends_the_job_with_one_line_and_nothing_is_lost(straight, tmp_path):
    rng, run, killed = random.Random(1), tmp_path / "run", 0
    for _ in range(5):
        processes = start(ONE_STAGE, [*arguments(run), "--checkpoint_minutes", 0.0001], 2, tmp_path)
        rank = interrupt(processes, run, rng, signal.SIGKILL)
        codes, outputs = finish(processes, tmp_path, limit=90)
        if codes[rank] == -signal.SIGKILL:
            killed += 1
            lines = [line for output in outputs for line in output.splitlines() if "train_onestage.py: " in line]
            assert codes[1 - rank] == 1 and len(lines) == 1, (codes, outputs)
            assert "has lost contact with another process" in lines[0] and "Traceback" not in "".join(outputs)
    assert killed >= 3
    codes, outputs = launch(ONE_STAGE, arguments(run), 2, tmp_path)
    assert codes == [0, 0], outputs
    assert_same_run(run, straight)


def test_a_signal_to_one_rank_stops_all_at_one_step_and_a_full_disk_ends_them(straight, tmp_path):
    rng, run = random.Random(2), tmp_path / "run"
    for number in (signal.SIGUSR1, signal.SIGHUP):
        processes = start(ONE_STAGE, arguments(run), 2, tmp_path)
        interrupt(processes, run, rng, number)
        codes, outputs = finish(processes, tmp_path)
        assert codes == [85, 85], (codes, outputs)
        assert sum(output.count("and saved; --resume") for output in outputs) == 1
    often = ["--checkpoint_minutes", 0.0001]
    codes, outputs = finish(start(ONE_STAGE, [*arguments(run), *often], 2, tmp_path, largest_file=60_000), tmp_path)
    lines = [line for output in outputs for line in output.splitlines() if "train_onestage.py: " in line]
    assert codes == [2, 1] and len(lines) == 1 and "cannot write a checkpoint" in lines[0], (codes, outputs)
    codes, outputs = launch(ONE_STAGE, arguments(run), 2, tmp_path)
    assert codes == [0, 0], outputs
    assert_same_run(run, straight)


def test_another_number_of_processes_goes_on(tmp_path):
    run = tmp_path / "run"
    processes = start(ONE_STAGE, arguments(run), 2, tmp_path)
    interrupt(processes, run, random.Random(3), signal.SIGTERM)
    assert finish(processes, tmp_path)[0] == [85, 85]
    done = run_tool("train_onestage.py", "--resume", run, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING: processes is 1, it was 2" in done.stdout and (run / "result.json").exists()


def test_search_and_evaluation_under_torchrun(tmp_path):
    small = ["--dataset", "digits", "--image_size", 8, "--init_channels", 4, "--layers", 3, "--batch_size", 64]
    small += ["--epochs", 1, "--no_tensorboard", "--run_dir"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2]
    for tool, own, result in (
        ("train_search.py", ["search"], "genotype.json"),
        ("evaluate.py", ["found", "--arch", "search"], "weights.pt"),
    ):
        command = [*torchrun, ROOT / "tools" / tool, *small, *own]
        done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / own[0] / result).exists()


@pytest.mark.parametrize(
    ("processes", "extra", "env", "words"),
    [
        (1, [], {"WORLD_SIZE": 2, "MASTER_ADDR": None}, "MASTER_ADDR is not set"),
        (1, [], {"RANK": None, "WORLD_SIZE": 2}, "RANK is not set though WORLD_SIZE is"),
        (1, [], {"RANK": 2, "WORLD_SIZE": 2}, "RANK 2 is not below WORLD_SIZE 2"),
        (3, [], {}, "batch_size 50 cannot be divided equally among 3 processes"),
        (2, ["--max_train_images", 40], {}, "a batch of 50 images is larger than train"),
        (2, ["--seeds", 0, 1], {}, "--seeds starts processes of its own"),
    ],
)
def test_mistakes(processes, extra, env, words, tmp_path):
    if None in env.values() or env:
        place = os.environ | {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
        environment = {k: str(v) for k, v in (place | env).items() if v is not None}
        command = [sys.executable, str(ROOT / ONE_STAGE), *map(str, SMALL), "--run_dir", "run"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        codes, outputs = [done.returncode], [done.stdout + done.stderr]
    else:
        codes, outputs = launch(ONE_STAGE, [*SMALL, *extra, "--run_dir", "run"], processes, tmp_path)
    lines = [line for output in outputs for line in output.splitlines()]
    assert set(codes) == {2} and len(lines) == 1 and words in lines[0], (codes, outputs)
    assert not (tmp_path / "run").exists()

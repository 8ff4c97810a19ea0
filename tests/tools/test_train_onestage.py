"""A one-stage run from start to end, killed in both phases, and what is refused."""

import json
from statistics import mean, stdev

import pytest
import torch
from killing import log_lines, metrics, run_and_kill, run_tool

from isnas.space.cells.genotype import read_genotype

pytestmark = pytest.mark.slow

SMALL = ["--dataset", "digits", "--max_train_images", 300, "--init_channels", 4, "--layers", 3, "--batch_size", 50]
SMALL += ["--auxiliary", "--max_search_epochs", 4, "--epochs", 2, "--termination_interval", 4, "--epsilon", 2.3e-3]
SMALL += ["--arch_learning_rate", 1e-3, "--learning_rate", 0.1, "--report_freq", 2, "--no_tensorboard"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    done = run_tool("train_onestage.py", *SMALL, "--run_dir", "run", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_the_run_folder(straight):
    log, rows = (straight / "log.txt").read_text(), metrics(straight)
    phases = [row["searching"] for row in rows]
    assert phases == sorted(phases, reverse=True) and phases[0] == 1.0 and phases[-2:] == [0.0, 0.0]
    assert rows[-1]["terminated"] == 8 and "distance / epsilon: normal " in log and " terminates at step " in log
    recoveries = [json.loads(line) for line in (straight / "distances.jsonl").read_text().splitlines()]
    steps = json.loads((straight / "genotype.json").read_text())["terminations"]
    first = [next((r["step"] for r in recoveries if node in r["terminated"]), None) for node in range(8)]
    assert steps == first and any(steps) and steps != [steps[0]] * 8
    last = max((step or 99, node) for node, step in enumerate(steps))[1]
    name = f"{'normal' if last < 4 else 'reduction'}_{last % 4 + 2}"
    assert rows[0][f"distance/{name}"] in recoveries[1]["distances"]
    sizes = [float(line.split("param size = ")[1].split("MB")[0]) for line in log.splitlines() if "param size" in line]
    assert len(sizes) == 2 and sizes[1] < sizes[0] / 2
    result, genotype = json.loads((straight / "result.json").read_text()), read_genotype(straight / "genotype.json")
    assert genotype.extra_bn == "all" and result["hash"] == genotype.hash()
    assert f"test_acc {result['test_acc']:.6f} before, {result['test_acc']:.6f} after" in log
    done = run_tool("test.py", straight, folder=straight.parent)
    assert f"test_acc {result['test_acc']:.6f}" in done.stdout, done.stderr


def test_killed_and_resumed(straight, tmp_path):
    run = tmp_path / "killed"
    arguments = [*SMALL, "--checkpoint_minutes", 0.0001]
    reached = run_and_kill("train_onestage.py", *arguments, run_dir=run, kills=10, longest=3.0)
    assert len(set(reached)) > 1
    assert log_lines(run) == log_lines(straight) and metrics(run) == metrics(straight)
    assert (run / "distances.jsonl").read_text() == (straight / "distances.jsonl").read_text()
    mine, other = (torch.load(folder / "weights.pt", weights_only=True)["weights"] for folder in (run, straight))
    assert all(torch.equal(value, other[key]) for key, value in mine.items())


def test_retrained_beside_it(straight):
    folder = straight.parent
    shared = SMALL[: SMALL.index("--max_search_epochs")]
    arguments = [
        *shared,
        "--learning_rate",
        0.1,
        "--report_freq",
        2,
        "--epochs",
        2,
        "--seeds",
        0,
        1,
        "--no_tensorboard",
        "--run_dir",
        "again",
    ]
    done = run_tool("evaluate.py", "--arch", "run", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    done = run_tool("summarize.py", "run", "again", folder=folder)
    files = [straight / "result.json", *folder.glob("again/seed-*/result.json")]
    errors = [json.loads(file.read_text())["test_error"] for file in files]
    lines = [line for line in done.stdout.splitlines() if "one-stage and retrained" in line]
    assert len(lines) == 1 and f"| 3 | 2 | {mean(errors):.2f} ± {stdev(errors):.2f} |" in lines[0], done.stdout


def test_seeds(tmp_path):
    arguments = [*SMALL, "--max_search_epochs", 1, "--epochs", 1, "--seeds", 0, 1, "--jobs", 2, "--run_dir", "runs"]
    done = run_tool("train_onestage.py", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/table.md").read_text().count("| one-stage |") == 2
    assert all((tmp_path / f"runs/seed-{seed}/weights.pt").exists() for seed in (0, 1))


def test_the_bound_is_said(tmp_path):
    arguments = [*SMALL, "--epsilon", 1e-9, "--max_search_epochs", 1, "--epochs", 1, "--run_dir", "run"]
    done = run_tool("train_onestage.py", *arguments, folder=tmp_path)
    assert done.returncode == 0 and "max_search_epochs 1 reached with 8 nodes not terminated" in done.stdout
    assert json.loads((tmp_path / "run/genotype.json").read_text())["all_terminated"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epsilon", 0], "epsilon must be greater than 0"),
        (["--epsilon", -1], "epsilon must be greater than 0"),
        (["--max_search_epochs", 0], "max_search_epochs must be at least 1"),
        (["--termination_interval", "often"], "termination_interval must be epoch or a number of steps"),
    ],
)
def test_mistakes(arguments, words, tmp_path):
    done = run_tool("train_onestage.py", *arguments, folder=tmp_path)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_another_epsilon_is_not_resumed(straight):
    done = run_tool("train_onestage.py", "--resume", straight, "--epsilon", 1e-4, folder=straight.parent)
    assert done.returncode == 2 and "--epsilon 0.0001 differs from the run's 0.0023" in done.stderr


def test_a_two_stage_run_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("train_portion: 0.5\n")
    done = run_tool("train_onestage.py", "--resume", "run", folder=tmp_path)
    assert done.returncode == 2 and "it is a run of another tool" in done.stderr and done.stderr.count("\n") == 1

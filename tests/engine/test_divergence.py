"""A loss that stays finite but is worse than a guess is said in the log and stands in the file with the result."""

import json
import math

import pytest
from killing import log_lines, run_tool

from isnas.engine.averages import above_guess
from isnas.engine.results import guess_loss
from isnas.methods.registry import make_options

SMALL = ["--dataset", "digits", "--max_train_images", 100, "--image_size", 8, "--init_channels", 2, "--layers", 3]
SMALL += ["--batch_size", 10, "--epochs", 2, "--no_tensorboard", "--device", "cpu", "--run_dir", "run"]
TRAININGS = {
    "train_search.py": ("genotype.json", ["--batch_size", 25]),
    "train_onestage.py": ("result.json", ["--max_search_epochs", 1]),
    "evaluate.py": ("result.json", ["--arch", "DARTS_V2"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("tool", "diverges"), [*((tool, True) for tool in TRAININGS), ("evaluate.py", False)])
def test_a_training_that_diverges(tool, diverges, tmp_path):
    name, own = TRAININGS[tool]
    steps = ["--learning_rate", 100, "--grad_clip", 1000] if diverges else ["--learning_rate", 0.01]
    done = run_tool(tool, *SMALL, *own, *steps, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    above = [row["epoch"] for row in rows if row.get("train/loss", 0.0) > 3 * math.log(10)]
    lines = [line for line in log_lines(tmp_path / "run") if "WARNING: the training loss" in line]
    assert bool(above) == diverges
    assert [int(line.split("epoch ")[1].split()[0]) for line in lines] == above
    assert json.loads((tmp_path / "run" / name).read_text())["diverged_epochs"] == above
    assert all("uniform guess among 10 classes" in line and "--learning_rate" in line for line in lines)


def test_what_counts_as_above():
    guess = math.log(10)
    assert [above_guess(factor * guess, guess, 0) for factor in (1.0, 1.9, 2.1)] == [False, False, True]
    assert [above_guess(factor * guess, guess, 3) for factor in (1.0, 1.4, 1.6)] == [False, False, True]
    with_head = make_options("evaluation", arch="DARTS_V2", auxiliary=True, auxiliary_weight=0.5)
    assert guess_loss(with_head, 10) == pytest.approx(1.5 * guess)
    assert guess_loss(make_options("evaluation", arch="DARTS_V2"), 10) == pytest.approx(guess)
    assert guess_loss(make_options("two_stage"), 100) == pytest.approx(math.log(100))

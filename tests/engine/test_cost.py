"""What searches cost in image passes, counted by hand, and what a budget of them buys."""

import json

import pytest
from killing import metrics
from settings import make_method, noise

from isnas.base.errors import UserError
from isnas.engine.budget import steps_within
from isnas.engine.search import search
from isnas.methods.registry import SEARCHES, make_options, parse_run

SMALL = ["--dataset", "digits", "--image_size", "8", "--init_channels", "4", "--layers", "3", "--num_nodes", "2"]
SMALL += ["--max_train_images", "90", "--batch_size", "16", "--no_tensorboard", "--report_freq", "1"]
STEPS, CHOOSING = 2, 45  # of an epoch of 45 images; images that choose
CHOICE = ["--samples", "3", "--sample_batches", "2", "--finalists", "2"]
MEASURING = ["--measurements", "4", "--monomials", "2", "--measure_batches", "2"]


def run(folder, method, *flags):
    """Search; returns its metrics and result."""
    options = parse_run(["--method", method, *SMALL, *flags, "--run_dir", str(folder)], SEARCHES, "two_stage", "")[1]
    search(SEARCHES[method], options)
    return metrics(folder), json.loads((folder / "genotype.json").read_text())


def step_cost(method, epoch, **options):
    return SEARCHES[method].passes_of_step(make_options(method, **options), epoch)


COUNTED = {
    "two_stage": (["--epochs", "2"], [2 * 2 * 16, 2 * 2 * 16], 0),
    "two_stage after W alone": (["--epochs", "2", "--uniform_epochs", "1"], [2 * 1 * 16, 2 * 2 * 16], 0),
    "two_stage in parts": (["--epochs", "2", "--grad_accum", "3"], [2 * 2 * 16, 2 * 2 * 16], 0),
    "darts": (["--epochs", "1"], [2 * 2 * 16], 0),
    "darts unrolled": (["--epochs", "1", "--unrolled"], [2 * 5 * 16], 0),
    "pc_darts": (["--epochs", "2", "--arch_start_epoch", "1"], [2 * 1 * 16, 2 * 2 * 16], 0),
    "random_ws": (["--epochs", "1", *CHOICE], [2 * 1 * 16], (3 * 2 * 16 + 2 * CHOOSING) / 3),
    "random": (["--epochs", "2", "--samples", "2"], [32, 32 + CHOOSING / 3, 32, 32 + CHOOSING / 3], 0),
    "conas": (["--epochs", "1", *MEASURING, "--stages", "2"], [2 * 1 * 16], (2 * 4 + 1) * 2 * 16 / 3),
    "sampled_recovery": (["--epochs", "3", "--warmup_portion", "0.6"], [32, 32, 2 * (1 + 1 / 3) * 16], 0),
    "conas on all images": (["--epochs", "1", *MEASURING[:-1], "0"], [2 * 1 * 16], (4 + 1) * CHOOSING / 3),
}


@pytest.mark.parametrize("name", COUNTED)
def test_every_method_is_counted(tmp_path, name):
    flags, of_epochs, of_choice = COUNTED[name]
    rows, result = run(tmp_path / "run", name.split()[0], *flags)
    spent = [sum(of_epochs[: epoch + 1]) for epoch in range(len(of_epochs))]
    assert [row["cost/image_passes"] for row in rows] == pytest.approx([*spent, spent[-1] + of_choice])
    assert result["image_passes"] == rows[-1]["cost/image_passes"]
    line = f"image passes {result['image_passes']:,.0f}"
    assert (tmp_path / "run/log.txt").read_text().count(line) >= 1


def test_what_a_method_says_of_its_steps_is_what_they_cost():
    for name, options in [
        ("two_stage", {}),
        ("two_stage", {"uniform_epochs": 1}),
        ("random_ws", {}),
        ("conas", {}),
        ("darts", {}),
        ("darts", {"unrolled": True}),
        ("pc_darts", {"arch_start_epoch": 1}),
        ("sampled_recovery", {"epochs": 2}),
        ("sampled_recovery", {"epochs": 2, "measure": "gradient"}),
    ]:
        method = make_method(name, **options)
        for epoch in range(2):
            method.begin_epoch(epoch)
            method.before_step(epoch)
            before = method.stepping.cost.image_passes
            method.step(*(noise(number) for number in range(len(method.splits))))
            assert method.stepping.cost.image_passes - before == pytest.approx(8 * step_cost(name, epoch, **options))


@pytest.mark.parametrize("start", [0, 2])
def test_the_most_steps_that_a_budget_covers(start):
    def of_step(epoch):
        return 10.0 if epoch < start else 20.0

    def of_choice(steps):
        return 5.0 + 7.0 * (steps // 4)

    for budget in range(0, 200, 3):
        spent, steps = 0.0, 0
        while spent + of_step(steps // 3) + of_choice(steps + 1) <= budget:
            spent += of_step(steps // 3)
            steps += 1
        assert steps_within(budget, 3, of_step, of_choice) == steps


BUDGETS = {
    "two_stage": ([], 32),
    "two_stage after W alone": (["--uniform_epochs", "2", "--recover_every", "3"], 32),
    "darts": ([], 32),
    "pc_darts": (["--arch_start_epoch", "2"], 32),
    "random_ws": (CHOICE, 16),
    "conas": (MEASURING, 16),
    "sampled_recovery": ([], 16 * 4 / 3),
    "random": (["--epochs", "2"], 2 * 32 + CHOOSING / 3),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_is_used_up_and_not_exceeded(tmp_path, name):
    flags, piece = BUDGETS[name]
    method = name.split()[0]
    rows, result = run(tmp_path / "run", method, *flags, "--budget", "250")
    assert 250 - piece < result["image_passes"] <= 250
    if method not in ("random", "random_ws", "conas"):
        lrs = [row["lr"] for row in rows if "lr" in row]
        least = make_options(method).learning_rate_min
        assert lrs[0] > 2 * lrs[-1] > least  # the whole schedule runs within the budget


def test_too_small_a_budget_is_one_line(tmp_path):
    few = ["--budget", "20"]
    late = ["--uniform_epochs", "6", "--budget", "200"]
    for name, flags, words in [
        ("pc_darts", ["--budget", "200"], "--arch_start_epoch 15 leaves alpha and beta none of 6 epochs; lower it"),
        ("two_stage", late, "--uniform_epochs 6 leaves b none of 6 epochs; lower it"),
        ("two_stage", few, "--budget 20 is less than a step and the choice cost; give 32 or more"),
        ("sampled_recovery", few, "--budget 20 is less than a step costs; give 22"),
        (
            "random",
            few,
            "--budget 20 is less than training one architecture costs; give 3215 or more, or fewer --epochs",
        ),
    ]:
        with pytest.raises(UserError, match=words):
            run(tmp_path / name, name, *flags)
        assert not (tmp_path / name).exists()

"""Training a target network from start to end: killed and resumed, from every form of an architecture, with seeds."""

import json

import numpy as np
import pytest
import torch
from killing import log_lines, metrics, run_and_kill, run_tool

from isnas.base.files import write_json
from isnas.base.random import initialising
from isnas.engine.trained import load_trained
from isnas.space.cells.genotype import genotype_from_text
from isnas.space.cells.network import target_network
from isnas.space.cells.resolve import resolve_genotype

pytestmark = pytest.mark.slow

SMALL = ["--dataset", "digits", "--max_train_images", 300, "--init_channels", 4, "--layers", 3, "--batch_size", 50]
SMALL += ["--auxiliary", "--cutout", "--cutout_length", 6, "--ema_decay", 0.9, "--report_freq", 2]
SMALL += ["--dropout", 0.2, "--no_decay_norms"]

FOUND = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=range(2, 4), reduce=[('avg_pool_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), "
    "('skip_connect', 0)], reduce_concat=range(2, 4))"
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    done = run_tool("evaluate.py", "--arch", FOUND, *SMALL, "--epochs", 2, "--run_dir", "run", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_the_run_folder(straight):
    result = json.loads((straight / "result.json").read_text())
    rows = metrics(straight)
    assert len(rows) == 2 and result["test_acc"] == rows[-1]["test/acc"]
    assert result["test_error"] == pytest.approx(100 - result["test_acc"])
    assert rows[0]["drop_path_prob"] == 0.0 and rows[1]["drop_path_prob"] == 0.1 and rows[1]["lr"] == 0.0125
    names = {"curves.png", "cell_normal.svg", "genotype.json", "weights.pt", "tb", "report.html"}
    assert names <= {p.name for p in straight.iterdir()}
    trained = load_trained(straight)
    assert trained.genotype == genotype_from_text(FOUND) and trained.info.name == "digits"
    assert trained.network.auxiliary is None
    done = run_tool("test.py", straight, folder=straight.parent)
    assert f"test_acc {result['test_acc']:.6f}" in done.stdout, done.stdout + done.stderr


def test_killed_and_resumed(straight, tmp_path):
    run = tmp_path / "killed"
    arguments = ["--arch", FOUND, *SMALL, "--epochs", 2, "--checkpoint_minutes", 0.0001]
    arguments += ["--weights_format", "safetensors"]
    run_and_kill("evaluate.py", *arguments, run_dir=run, kills=3, longest=1.5)
    assert log_lines(run) == log_lines(straight) and metrics(run) == metrics(straight)
    assert not (run / "weights.pt").exists()
    mine, other = (load_trained(folder).network.state_dict() for folder in (run, straight))
    assert mine.keys() == other.keys() and all(torch.equal(mine[key], other[key]) for key in mine)


def test_every_form_of_an_architecture_is_the_same_network(straight, tmp_path):
    genotype = genotype_from_text(FOUND)
    write_json(tmp_path / "found.json", genotype.to_json())
    nested = FOUND.replace("('sep_conv_3x3', 1), ('max_pool_3x3', 0)", "('max_pool_3x3', 0), ('sep_conv_3x3', 1)")
    forms = [FOUND, nested, f"11/22 02:22:24 AM genotype = {FOUND}", str(tmp_path / "found.json"), str(straight)]
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    outputs = []
    for form in forms:
        found = resolve_genotype(form)
        assert found.hash() == genotype.hash()
        with initialising(3, "weights"):
            network = target_network(found, stem="cifar", in_channels=3, num_classes=7, init_channels=4, layers=3)
        outputs.append(network.eval()(x).logits)
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_seeds_and_their_summary(tmp_path):
    arguments = ["--arch", "ISTA_onestage", "--onestage", *SMALL, "--epochs", 1, "--seeds", 0, 1, "--jobs", 2]
    done = run_tool("evaluate.py", *arguments, "--run_dir", "runs", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    errors = [json.loads((tmp_path / f"runs/seed-{k}/result.json").read_text())["test_error"] for k in (0, 1)]
    cell = f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f} | {min(errors):.2f}"
    assert cell in (tmp_path / "runs/table.md").read_text()
    done = run_tool("summarize.py", "runs", "runs/seed-1", folder=tmp_path)
    assert done.returncode == 0 and "| ISTA_onestage |" in done.stdout and "| 2 | 1 |" in done.stdout, done.stdout


def test_the_nine_settings_of_the_suite_and_their_mean_and_best(tmp_path):
    sizes = ["--dataset", "digits", "--max_train_images", 100, "--init_channels", 4, "--layers", 1, "--batch_size", 50]
    arguments = ["--arch", "ISTA_twostage", *sizes, "--epochs", 1, "--no_tensorboard", "--run_dir", "runs"]
    done = run_tool("evaluate.py", "--settings_suite", "--jobs", 2, *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    grid = [(rate, decay) for rate in (0.025, 0.1, 0.01) for decay in (1e-4, 3e-4, 1e-3)]
    results = [json.loads((tmp_path / f"runs/setting-{k}/result.json").read_text()) for k in range(1, 10)]
    assert [(row["settings"]["learning_rate"], row["settings"]["weight_decay"]) for row in results] == grid
    errors = [row["test_error"] for row in results]
    sentence = f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f} %, best {min(errors):.2f} %"
    table = (tmp_path / "runs/table.md").read_text()
    assert sentence in table and sentence in done.stdout and "| 5 | 0.1 | 0.0003 |" in table

    before = (tmp_path / "runs/setting-4/log.txt").stat().st_mtime_ns
    (tmp_path / "runs/setting-5/result.json").unlink()
    (tmp_path / "runs/table.md").unlink()
    done = run_tool("evaluate.py", "--resume", "runs", folder=tmp_path)
    assert done.returncode == 0 and sentence in done.stdout, done.stderr
    assert (tmp_path / "runs/setting-4/log.txt").stat().st_mtime_ns == before
    done = run_tool("analyse.py", "runs", "runs", folder=tmp_path)
    assert done.returncode == 0 and done.stdout.count("| ISTA_twostage |") == 9, done.stdout
    done = run_tool("test.py", "runs", folder=tmp_path)
    assert done.returncode == 2 and "holds several runs, name one of them: runs/setting-1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --arch"),
        (["--arch", "ISTA_twostage", "--settings_suite", "--seeds", 0, 1], "--settings_suite and --seeds are both"),
        (["--arch", "ISTA_twostage", "--settings_suite", "--weight_decay", 0.1], "leave --weight_decay out"),
        (["--arch", "ISTA_twostage", "--layers", 1, "--auxiliary", "--dataset", "digits"], "and --layers 1 has none"),
        (["--arch", "ISTA_twostage", "--layers", 2], "--layers 2 would be two reduction cells"),
        (["--arch", "ISTA_twostage", "--onestage"], "--onestage contradicts --arch ISTA_twostage"),
        (["--arch", "ISTA_onestage", "--no_onestage"], "--no_onestage contradicts --arch ISTA_onestage"),
        (["--arch", "Genotype(normal=__import__('os').mkdir('hacked'))"], "genotype"),
        (["--arch", "ISTA_twostage", "--auxiliary", "--image_size", 12, "--dataset", "digits"], "16 pixels or more"),
        (["--arch", "ISTA_twostage", "--auxiliary_weight", 0.3], "no effect without --auxiliary"),
    ],
)
def test_mistakes(arguments, words, tmp_path):
    done = run_tool("evaluate.py", *arguments, folder=tmp_path)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())

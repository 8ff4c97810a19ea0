"""A folder of own images: what a user leaves out follows from it, is said in the log, and is kept in config.yaml."""

import json

import numpy as np
import pytest
import torch
import yaml
from killing import log_lines, run_and_kill, run_tool
from PIL import Image

from isnas.apps import evaluate
from isnas.apps import train_search as search
from isnas.base.errors import UserError
from isnas.methods.following import follow, search_sizes, training_sizes
from isnas.methods.registry import SEARCHES, parse_run

FAST = ["--device", "cpu", "--no_tensorboard", "--layers", "1", "--init_channels", "2", "--operations", "skip_connect"]
FAST += ["max_pool_3x3", "--num_nodes", "1", "--epochs", "1"]


def write_images(folder, count=12, side=16, classes=("boots", "sandals")):
    """Grey stripes, along in one class and across in the others, under noise."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            stripes = np.indices((side, side + 8 * label))[label % 2] // 2 % 2 * 128
            pixels = stripes + rng.integers(0, 100, stripes.shape)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


def config_of(run):
    return yaml.safe_load((run / "config.yaml").read_text())


def test_a_cell_is_trained_on_the_images_of_its_search(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "shoes")
    images = ["--dataset", "imagefolder", "--data", "shoes", "--image_size", "8", "--flip", "never"]
    search.main(["--method", "random_ws", *images, "--batch_size", "5", *FAST, "--run_dir", "found"])
    evaluate.main(["--arch", "found", "--batch_size", "5", *FAST[:7], "--epochs", "1", "--run_dir", "trained"])
    config = config_of(tmp_path / "trained")
    assert [config[name] for name in ("dataset", "data", "image_size", "flip")] == ["imagefolder", "shoes", 8, "never"]
    told = "the images are those of found, as no others are given: --dataset imagefolder --data shoes --image_size 8"
    for said in ((tmp_path / "trained/log.txt").read_text(), capfd.readouterr().out):
        assert f"{told} --flip never\n" in said
    assert "imagefolder, 2 classes, 8 x 8 pixels" in (tmp_path / "trained/log.txt").read_text()
    assert json.loads((tmp_path / "trained/result.json").read_text())["settings"]["data"] == "shoes"

    parsed = lambda *words: parse_run(["--arch", *words], ("evaluation",), "evaluation", "")[1]  # noqa: E731
    given = parsed("found", "--dataset", "digits")
    assert (given.dataset, given.data, given.image_size, given.notes) == ("digits", "", None, ())
    assert parsed("found/genotype.json", "--image_size", "12").image_size == 12
    assert parsed("ISTA_twostage").dataset == "cifar10" and parsed("missing").notes == ()
    (tmp_path / "found/config.yaml").write_text("dataset: imagefolder\nimage_size: [1]\n")
    with pytest.raises(UserError, match=r"the images of found/config\.yaml cannot be taken over: .*; give --dataset"):
        parsed("found")


def test_few_images_decide_batch_epochs_and_network(tmp_path):
    write_images(tmp_path / "shoes", count=100)  # 160 of 200 are for training, half of which train W
    words = ["--dataset", "imagefolder", "--data", str(tmp_path / "shoes")]
    _, options = parse_run(words, SEARCHES, "two_stage", "")
    assert (options.batch_size, options.epochs, options.init_channels, options.layers) == (8, 50, 8, 5)
    said = "--batch_size 8 --epochs 50 --init_channels 8 --layers 5"
    assert options.notes == (f"160 training images of 16 x 16 pixels are few, so that by default: {said}",)
    _, options = parse_run([*words, "--batch_size", "40", "--layers", "3"], SEARCHES, "two_stage", "")
    assert (options.batch_size, options.epochs, options.layers) == (40, 250, 3)
    assert "--batch_size" not in options.notes[0] and "--layers" not in options.notes[0]
    _, options = parse_run([*words, "--budget", "1e6", "--image_size", "64"], SEARCHES, "two_stage", "")
    assert (options.epochs, options.stem) == (50, "imagenet") and "--epochs" not in options.notes[0]
    _, options = parse_run([*words, "--arch", "ISTA_twostage"], ("evaluation",), "evaluation", "")
    assert (options.batch_size, options.epochs, options.init_channels, options.layers) == (16, 200, 16, 8)
    assert follow({"dataset": "digits"}, ["epochs"], True) == {"dataset": "digits"}
    names = ["dataset", "data", "epochs", "batch_size", "max_train_images", "arch"]
    for odd in ({"data": str(tmp_path / "none")}, {"max_train_images": "many"}, {"batch_size": [3]}, {"arch": "a\0b"}):
        given = {"dataset": "imagefolder", "data": str(tmp_path / "shoes"), "batch_size": "4", "epochs": "1"} | odd
        assert follow(given, names, True) == given
    given = {"dataset": "imagefolder", "data": str(tmp_path / "shoes"), "max_train_images": "0", "notes": "mine"}
    assert follow(given, names, False)["notes"][0] == "mine"


@pytest.mark.parametrize("count", [4, 40, 333, 1000, 5000, 9999])
def test_a_search_has_some_hundred_steps_and_a_training_some_thousand(count):
    sizes = search_sizes(count, 32)
    steps = (count // 2 // sizes["batch_size"]) * sizes["epochs"]
    assert 500 <= steps <= max(1000, 50 * count // 2) and sizes["batch_size"] <= count // 2
    sizes = training_sizes(count, 32)
    steps = (count // sizes["batch_size"]) * sizes["epochs"]
    assert min(600 * (count // sizes["batch_size"]), 1900) <= steps <= 12_000


@pytest.mark.slow
def test_the_config_of_own_images_and_a_search_that_is_too_short(tmp_path):
    write_images(tmp_path / "shoes", count=20)
    config = ["--config", "configs/own_images.yaml"]
    _, options = parse_run([*config, "--data", str(tmp_path / "shoes")], SEARCHES, "two_stage", "")
    assert (options.dataset, options.measure, options.batch_size, options.epochs) == ("imagefolder", "gradient", 8, 250)
    done = run_tool(
        "train_search.py", "--dataset", "imagefolder", "--data", "shoes", *FAST, "--run_dir", "run", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "run/log.txt").read_text()
    few = "WARNING: the whole search has 2 steps, too few to tell candidates apart; give --epochs 150 or more, or"
    assert few in log and "32 training images of 16 x 16 pixels are few, so that by default: --batch_size 8\n" in log
    assert log.index("are few") < log.index("epoch 0")
    assert config_of(tmp_path / "run")["batch_size"] == 8


SMALL = ["--device", "cpu", "--no_tensorboard", "--layers", "3", "--init_channels", "2", "--batch_size", "8"]
SKIPS = "[('skip_connect', 0), ('sep_conv_3x3', 1)]"
CELLS = f"Genotype(normal={SKIPS}, normal_concat=range(2, 3), reduce={SKIPS}, reduce_concat=range(2, 3))"


def weights_of(run):
    return torch.load(run / "weights.pt", weights_only=True)["weights"]


@pytest.mark.slow
def test_a_trained_network_is_trained_further_for_the_same_and_for_other_classes(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "two")
    write_images(tmp_path / "three", classes=("boots", "sandals", "slippers"))
    images = ["--dataset", "imagefolder", "--data", "two"]
    evaluate.main(["--arch", CELLS, *images, *SMALL, "--epochs", "1", "--mixup", "0.4", "--run_dir", "first"])
    quiet = ["--learning_rate", "1e-12", "--batch_size", "8", "--epochs", "1", "--device", "cpu", "--no_tensorboard"]
    evaluate.main(["--weights", "first", *quiet, "--run_dir", "again"])
    other = ["--dataset", "imagefolder", "--data", "three", "--class_weights", "balanced", "--cutmix", "1"]
    evaluate.main(["--weights", "first", *quiet, *other, "--run_dir", "other"])
    first, again, three = (weights_of(tmp_path / name) for name in ("first", "again", "other"))
    moving = ("running_mean", "running_var", "num_batches_tracked")
    for name, tensor in first.items():
        if not name.endswith(moving):
            torch.testing.assert_close(again[name], tensor, rtol=0, atol=1e-6)
            if not name.startswith("classifier."):
                torch.testing.assert_close(three[name], tensor, rtol=0, atol=1e-6)
    assert three["classifier.weight"].shape[0] == 3
    config = config_of(tmp_path / "again")
    assert (config["dataset"], config["data"], config["layers"], config["init_channels"]) == (
        "imagefolder",
        "two",
        3,
        2,
    )
    log = (tmp_path / "other/log.txt").read_text()
    assert "weights of the network in first; the classifier is new, for 3 other classes\n" in log
    assert "as the network in first has it: --stem cifar --init_channels 2 --layers 3 --image_size 16\n" in log

    for words, message in (
        (["--init_channels", "4"], r"--init_channels 4 is not the 2 of --weights first; leave it out"),
        (["--arch", "ISTA_twostage"], "--arch is not the architecture of --weights first"),
        (["--dataset", "fake"], "the images have 3 channels, but the network in first takes 1"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate.main(["--weights", "first", *quiet, *words, "--run_dir", "none"])
    with pytest.raises(UserError, match="there is no second; give a run folder"):
        evaluate.main(["--weights", "second", "--run_dir", "none"])
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_training_of_mixed_images_is_killed_and_resumed(tmp_path):
    write_images(tmp_path / "two", count=30)
    words = ["--arch", CELLS, "--dataset", "imagefolder", "--data", tmp_path / "two", *SMALL, "--epochs", "3"]
    words += ["--mixup", "0.4", "--cutmix", "1", "--class_weights", "balanced", "--checkpoint_minutes", "0.0001"]
    done = run_tool("evaluate.py", *words, "--run_dir", "straight", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run_and_kill("evaluate.py", *words, run_dir=tmp_path / "killed", kills=2, longest=1.0)
    assert log_lines(tmp_path / "killed") == log_lines(tmp_path / "straight")
    mine, other = weights_of(tmp_path / "killed"), weights_of(tmp_path / "straight")
    assert all(torch.equal(mine[key], other[key]) for key in mine)

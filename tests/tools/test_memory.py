"""tools/memory.py: its parts and their sum, what options change, the images on the device, and mistakes."""

import pytest
import torch
from starting import ROOT

from isnas.analysis import step_memory
from isnas.apps import memory
from isnas.base.errors import UserError
from isnas.data.small.batches import Batches, augmentation
from isnas.data.small.datasets import load_dataset
from isnas.data.splits import split_by_purpose
from isnas.methods.registry import METHODS, parse_run

pytestmark = pytest.mark.slow

CONFIG = str(ROOT / "configs/cifar10_twostage.yaml")
SMALL = ["--dataset", "digits", "--init_channels", "4", "--layers", "3", "--num_nodes", "2", "--batch_size", "16"]


def rows(capsys, *argv: str) -> dict[tuple[str, int], list[float]]:
    """The figures by architecture and batch size: images per GPU, the parts in MiB, the sum in GiB."""
    memory.main(list(argv))
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert lines[0] == step_memory.HEADER
    return {(name, int(size)): [float(c.replace(",", "")) for c in cells] for name, size, *cells in lines[2:]}


def test_the_parts_make_the_sum_and_grow_with_the_batch(capsys):
    found = rows(capsys, "--config", CONFIG, "--layers", "3", "--batch_sizes", "16", "32")
    assert set(found) == {(name, size) for name in ("heaviest", "random 0") for size in (16, 32)}
    for each, *parts, total in found.values():
        assert each in (16, 32) and sum(parts) / 1024 == pytest.approx(total, abs=0.006)
    (_, *small, _), (_, *large, _) = found["heaviest", 16], found["heaviest", 32]
    assert small[:2] == large[:2]  # weights and momentum
    assert large[3:] == pytest.approx([2 * part for part in small[3:]], rel=0.01)
    assert found["random 0", 32][-1] < found["heaviest", 32][-1]


def test_what_options_change(capsys):
    plain = rows(capsys, *SMALL)["heaviest", 16]
    divided = rows(capsys, *SMALL, "--gpus", "2")["heaviest", 16]
    assert (plain[0], divided[0]) == (16, 8) and divided[4] == pytest.approx(plain[4] / 2, rel=0.1)
    in_parts = rows(capsys, *SMALL, "--grad_accum", "2")["heaviest", 16]
    assert in_parts[4] == divided[4] and in_parts[5] == plain[5] and in_parts[3] >= plain[3]
    half = rows(capsys, *SMALL, "--amp", "bf16")["heaviest", 16]
    assert half[1:3] == plain[1:3] and 0.4 < half[4] / plain[4] < 0.7
    recomputed = rows(capsys, *SMALL, "--recompute")["heaviest", 16]
    assert recomputed[:3] == plain[:3] and recomputed[4] < 0.7 * plain[4] and recomputed[5] == plain[5]
    assert rows(capsys, *SMALL, "--momentum", "0")["heaviest", 16][2] == 0.0


def test_a_target_network(capsys):
    assert [name for name, _ in rows(capsys, *SMALL, "--topologies", "0")] == ["heaviest"]
    argv = ["--method", "evaluation", *SMALL[:6], "--batch_size", "16", "--auxiliary"]
    plain = rows(capsys, *argv)
    assert {name for name, _ in plain} == {"heaviest", "random 0"}
    (given,) = rows(capsys, *argv, "--arch", "DARTS_V2").items()
    assert given[0] == ("DARTS_V2", 16) and given[1][-1] <= plain["heaviest", 16][-1]
    averaged = rows(capsys, *argv, "--arch", "DARTS_V2", "--ema_decay", "0.9")["DARTS_V2", 16]
    assert averaged[1] == pytest.approx(2 * given[1][1], abs=0.2) and averaged[2:5] == given[1][2:5]


def parsed(*argv: str) -> tuple:
    return parse_run(list(argv), METHODS, "two_stage", "A tool.", step_memory.MemoryOptions)


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ("cifar10_twostage_bs64.yaml", "two_stage"),
        ("cifar10_onestage.yaml", "one_stage"),
        ("cifar10_evaluate.yaml", "evaluation"),
        ("imagenet_evaluate.yaml", "evaluation"),
        ("imagenet_onestage.yaml", "one_stage"),
    ],
)
def test_the_method_follows_from_the_config(config, method, capsys):
    path, argv = str(ROOT / "configs" / config), ["--data", "images", "--topologies", "0", "--layers", "3"]
    for given in ([f"--config={path}"], ["--config", path]):
        found, options = parsed(*given, *argv)
        assert found == options.method == method and isinstance(options, METHODS[method].Options)
    assert list(rows(capsys, "--config", path, *argv, "--batch_size", "8")) == [("heaviest", 8)]
    memory.main(["--config", path, *argv, "--batch_size", "8"])
    assert f"A step of {method} on each GPU" in capsys.readouterr().out
    assert parsed()[0] == "two_stage" and parsed("--method", "random_ws")[0] == "random_ws"


def test_a_search_by_random_sub_networks(capsys):
    ista, random_ws = (rows(capsys, *SMALL, "--method", method) for method in ("two_stage", "random_ws"))
    (_, *mine, _), (_, *other, _) = ista["heaviest", 16], random_ws["heaviest", 16]
    assert mine[:4] == other[:4]  # the same super-net at its heaviest
    assert other[4] == pytest.approx(mine[4] / 2, abs=0.1)  # a batch a step instead of two


@pytest.mark.parametrize("method", ["two_stage", "one_stage"])
def test_the_images_on_the_device(method):
    argv = ["--method", method, "--dataset", "fake", "--batch_size", "16", "--max_train_images", "500"]
    argv += ["--held_out_portion", "0.2"] if method == "two_stage" else []
    _, options = parsed(*argv)
    dataset = load_dataset(options)
    augment = augmentation(options, dataset.info)
    if method == "two_stage":
        parts = split_by_purpose(dataset.train.labels, options.train_portion, options.held_out_portion, 0)
        sets = [(dataset.train, parts.train_w, augment), (dataset.train, parts.train_b, augment)]
        sets += [(dataset.train, parts.train_b, None), (dataset.train, parts.held_out, None)]
    else:
        sets = [(dataset.train, None, augment), (dataset.test, None, None)]
    held = [Batches(images, indices, 16, 0, "any", how, torch.device("cpu"))._images for images, indices, how in sets]
    facts = step_memory.facts_of(options)
    assert step_memory.dataset_bytes(METHODS[method], options, facts) == sum(images.nbytes for images in held)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--batch_sizes", "16", "15", "--gpus", "2"], "a batch of 15 cannot be divided among 2 GPUs"),
        (["--batch_sizes", "0"], "batch_sizes must be at least 1"),
        (["--batch_sizes", str(10**30)], "batch_sizes must be at most 1000000"),
        (["--gpus", str(10**30)], "gpus must be at most 10000"),
        (["--init_channels", str(10**11)], "of such networks is beyond any memory|init_channels must be at most"),
        (["--grad_accum", "9", "--gpus", "2"], "--grad_accum 9 is more than the 8 images"),
        (["--gpus", "0"], "gpus must be at least 1"),
        (
            ["--method", "train"],
            "unknown method 'train'; choose from two_stage, darts, pc_darts, ",
        ),
        (["--method", "evaluation", "--arch", "nothing"], "unknown architecture 'nothing'"),
        (["--method", "one_stage", "--image_size", "8", "--auxiliary"], "--auxiliary needs images of 16 pixels"),
        (["--tool", "evaluate"], "unknown flag --tool"),
        (["--arch", "DARTS"], "unknown flag --arch"),
        (["--config", "no-such_evaluate.yaml"], "cannot read the config no-such_evaluate.yaml"),
    ],
)
def test_a_mistake_is_told(argv, words, capsys):
    with pytest.raises(UserError, match=words):
        memory.main([*SMALL, *argv])
    assert capsys.readouterr().out == ""


def test_images_of_ones_own(capsys):
    argv = ["--dataset", "imagefolder", "--data", "images", *SMALL[2:]]
    for given in ([], ["--image_size", "16"], ["--num_classes", "3"]):
        with pytest.raises(UserError, match="give its --image_size and --num_classes"):
            memory.main([*argv, *given])
    assert rows(capsys, *argv, "--image_size", "16", "--num_classes", "3")

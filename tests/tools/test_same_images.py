"""A run goes on with its own images alone, whatever trains on them."""

from pathlib import Path

import numpy as np
import pytest
from killing import run_tool
from PIL import Image

SMALL = ["--init_channels", 2, "--layers", 3, "--epochs", 1, "--batch_size", 4, "--no_tensorboard", "--device", "cpu"]
IN_MEMORY = ["--dataset", "imagefolder", "--data", "images", "--image_size", 8]
RANDOM_WS = [*IN_MEMORY, "--method", "random_ws", "--samples", 2, "--finalists", 1]
ONE_STAGE = [*IN_MEMORY, "--max_search_epochs", 1]
STREAMED = ["--dataset", "imagenet", "--data", "images", "--image_size", 32, "--workers", 0]


def write_like(root: Path) -> None:
    """Two classes whose images have the same names, sizes and levels, those of one being the other's turned round."""
    for part, count in (("train", 12), ("val", 4)):
        for name, turn in (("cat", 0), ("dog", 1)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(np.rot90(pixels, turn)).save(folder / f"{number}.bmp")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        pytest.param("train_search.py", IN_MEMORY, marks=pytest.mark.slow, id="two_stage"),
        pytest.param("train_search.py", RANDOM_WS, marks=pytest.mark.slow, id="random_ws"),
        pytest.param("train_onestage.py", ONE_STAGE, marks=pytest.mark.slow, id="one_stage"),
        pytest.param("evaluate.py", [*IN_MEMORY, "--arch", "random:1"], id="evaluation"),
        pytest.param("evaluate.py", [*STREAMED, "--arch", "random:1"], id="streamed"),
    ],
)
def test_classes_that_were_exchanged_are_other_images(tmp_path, tool, arguments):
    write_like(tmp_path / "images")
    done = run_tool(tool, *arguments, *SMALL, "--run_dir", "run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for part in ("train", "val"):
        (tmp_path / "images" / part / "cat").rename(tmp_path / "aside")
        (tmp_path / "images" / part / "dog").rename(tmp_path / "images" / part / "cat")
        (tmp_path / "aside").rename(tmp_path / "images" / part / "dog")
    resumed = run_tool(tool, "--resume", "run", folder=tmp_path)
    lines = resumed.stderr.splitlines()
    assert (resumed.returncode, len(lines)) == (2, 1), resumed.stderr
    assert "the images are not those of the run: train_digest" in lines[0] and lines[0].endswith("fix --data")


def test_images_that_are_left_out_are_told_in_the_log_and_belong_to_the_run(tmp_path):
    write_like(tmp_path / "images")
    bad = tmp_path / "images" / "train" / "dog" / "3.bmp"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:90])
    arguments = [*IN_MEMORY, "--arch", "random:1", *SMALL, "--run_dir", "run"]
    refused = run_tool("evaluate.py", *arguments, folder=tmp_path)
    assert refused.returncode == 2 and "by --max_bad_images 1" in refused.stderr and not (tmp_path / "run").exists()
    done = run_tool("evaluate.py", *arguments, "--max_bad_images", 1, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "WARNING: train: left out, as images/train/dog/3.bmp cannot be decoded"
        in (tmp_path / "run" / "log.txt").read_text()
    )
    assert run_tool("evaluate.py", "--resume", "run", folder=tmp_path).returncode == 0
    tested = run_tool("test.py", "run", folder=tmp_path)
    assert (tested.returncode, "8 test images" in tested.stdout) == (0, True), tested.stderr
    bad.write_bytes(whole)
    resumed = run_tool("evaluate.py", "--resume", "run", folder=tmp_path)
    assert resumed.returncode == 2 and "the images are not those of the run" in resumed.stderr

"""One loopback SLURM for all tests of this folder, and a config that trains for seconds."""

import numpy as np
import pytest
from loopback import Slurm
from PIL import Image

DIGITS = """\
dataset: digits
image_size: 16
init_channels: 4
layers: 3
batch_size: 64
learning_rate: 0.1
report_freq: 5
tensorboard: false
"""
ONE_STAGE = "max_search_epochs: 2\ntermination_interval: 10\nepochs: 3\nauxiliary: true\ndrop_path_prob: 0.1\n"
EVALUATION = """\
dataset: imagenet
image_size: 32
workers: 1
init_channels: 4
layers: 3
batch_size: 32
epochs: 10
auxiliary: false
report_freq: 5
tensorboard: false
"""


@pytest.fixture(scope="session")
def slurm():
    cluster = Slurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def one_stage_config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(DIGITS + ONE_STAGE)
    return path


@pytest.fixture
def evaluation_config(tmp_path):
    """A config, and beside it a folder ``images`` in ImageNet's layout: 16 steps of 32 an epoch, 64 to test on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 256), ("val", 32)):
        for label in ("first", "second"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(256, size=(40, 48, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")
    path = tmp_path / "config.yaml"
    path.write_text(EVALUATION)
    return path


@pytest.fixture
def search_config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(DIGITS + "epochs: 8\n")
    return path

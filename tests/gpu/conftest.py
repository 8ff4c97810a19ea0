"""The device of these tests: a GPU, or the one that ISNAS_TEST_DEVICE names, so that they themselves run on a CPU."""

import os

import pytest
import torch

from isnas.engine.run import find_device


@pytest.fixture(scope="session")
def device():
    """The device, set up as the tools do it, without TF32."""
    name = os.environ.get("ISNAS_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU; ISNAS_TEST_DEVICE=cpu runs what a CPU can")
    return find_device(name, 0, tf32=False)


@pytest.fixture
def gpu(device):
    """The device, where it is a GPU."""
    if device.type != "cuda":
        pytest.skip("only a GPU has this")
    return device

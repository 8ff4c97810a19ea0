"""Runs on a device without float64 find what those on the CPU find, to the last bit, and go on where they were stopped.

Compared with Apple's MPS: its kernels, which round in their own way, and whatever is wrong with them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from starting import ROOT

from isnas.base.errors import UserError
from isnas.engine.run import find_device
from isnas.methods.registry import make_options
from isnas.train.stepping import StepOptions, Stepping

HERE = Path(__file__).parent
FLOAT64 = {"two_stage", "two_stage released", "darts", "darts unrolled", "pc_darts", "one_stage"}
FLOAT64 |= {"sampled_recovery", "sampled_recovery gradient"}
OTHERS = {"random_ws", "conas", "evaluation", "language search", "language model"}
MPS = torch.device("mps")


@pytest.fixture(scope="module")
def cases():
    """What happened in every case of ``runs.py``."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, HERE / "runs.py"], env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_device_refuses_what_mps_does_not_have(cases):
    found = cases["checks"]
    assert found["refused"] == ["TypeError"] * 3 + ["RuntimeError", "AssertionError"]
    assert (found["has"], found["exact"]) == ([False, True], "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FLOAT64 | OTHERS))
def test_a_run_is_that_of_the_cpu(cases, name):
    found = cases[name]
    assert "error" not in found, found["error"]
    assert (found["from the CPU"], found["from not being stopped"]) == ([], [])
    assert found["architecture"] == (["torch.float64"] if name in FLOAT64 else [])


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is MPS here")
def test_mps_is_refused_where_there_is_none():
    with pytest.raises(UserError, match=r"device mps cannot be used: .*; --device cpu always can"):
        find_device("mps", 0)


def test_mps_is_for_a_process_on_its_own(monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UserError, match="device mps is for a process on its own"):
        find_device("mps", 0)


def test_what_mps_computes_wrongly_is_refused_in_training_and_left_out_elsewhere():
    with pytest.raises(UserError, match="in channels_last on MPS; give --no_channels_last"):
        make_options("two_stage").check_device(MPS)
    make_options("two_stage", channels_last=False, amp="bf16").check_device(MPS)
    with pytest.raises(UserError, match="--amp fp16 scales gradients that are float64, which mps has not"):
        make_options("two_stage", channels_last=False, amp="fp16").check_device(MPS)
    assert Stepping(StepOptions(channels_last=True), MPS).layout == torch.contiguous_format
    assert Stepping(StepOptions(channels_last=True), torch.device("cpu")).layout == torch.channels_last

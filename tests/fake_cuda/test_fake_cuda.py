"""The steps of the training tools on a CUDA device that is not there: one device, no waiting, the layout, precision.

Compared with a GPU: no numbers, and nothing of cuDNN, streams or NCCL. All cases run in one process of their own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from starting import ROOT

from isnas.nets.memory import estimate_peak_memory
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections
from isnas.train.stepping import PRECISIONS as PRECISION_TYPES

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
METHODS = ("two_stage", "one_stage", "target")
PRECISIONS = {"off": "torch.float32", "bf16": "torch.bfloat16", "fp16": "torch.float16"}
STEPS = {
    **{f"{method} {precision}": {"one_stage": 3}.get(method, 1) for method in METHODS for precision in PRECISIONS},
    **{
        f"{method} {precision}": 2
        for method in ("darts", "pc_darts", "random_ws", "random", "conas", "sampled_recovery")
        for precision in PRECISIONS
    },
    **{f"darts unrolled {how}": 2 for how in ("off", "bf16", "of two processes")},
    "two_stage off": 2,
    "two_stage resumed": 2,
    "two_stage released": 2,
    "one_stage resumed": 4,
    "target resumed": 2,
    "two_stage of two processes": 1,
    "one_stage of two processes": 3,
    "target of two processes": 1,
    "two_stage in parts": 1,
    "two_stage recomputed": 1,
    "one_stage recomputed": 3,
    "target recomputed": 1,
    "recomputed of two processes": 1,
    "two_stage contiguous": 1,
    "target with a policy": 1,
}


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """What happened in every case of ``steps.py``."""
    compiler = next((path for path in map(shutil.which, ("c++", "g++", "clang++")) if path), None)
    if sys.platform != "linux" or torch.version.cuda is None:
        pytest.skip("fake CUDA needs Linux and a torch that was built for CUDA")
    if compiler is None:
        pytest.skip("fake CUDA needs a C++ compiler, for the library that stands in for the accelerator")
    shim = tmp_path_factory.mktemp("shim") / "accelerator_shim.so"
    subprocess.run([compiler, "-std=c++17", "-shared", "-fPIC", HERE / "accelerator_shim.cpp", "-o", shim], check=True)
    path = os.pathsep.join([str(ROOT), str(HERE)])
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(HERE / "steps.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", STEPS)
def test_a_step_runs_on_the_device_and_waits_for_nothing(cases, name):
    case = cases[name]
    assert case["error"] is None
    assert case["steps"] == STEPS[name] and case["convolutions"] >= 10
    # a scaler of losses asks whether a gradient has overflowed, unless the optimiser is fused
    scaled = "fp16" in name or name == "one_stage of two processes"
    waits = [wait for wait in case["waits"]["steps"] if not (scaled and wait.endswith("torch/amp/grad_scaler.py"))]
    assert waits == []
    assert (len(case["waits"]["steps"]) > 0) == (scaled and "target" not in name)


@pytest.mark.parametrize("method", ["two_stage", "one_stage"])
def test_recovery_waits_for_b_once(cases, method):
    waits = cases[f"{method} off"]["waits"]["recovery"]
    assert sum("a tensor read back at sparse_architecture.py" in wait for wait in waits) == 2  # recoveries
    assert not any("a number" in wait or "a size" in wait for wait in waits)


@pytest.mark.parametrize("method", METHODS)
def test_reports_wait_at_their_end_only(cases, method):
    waits = cases[f"{method} off"]["waits"]["reporting"]
    assert waits and all("a number read back at averages.py" in wait for wait in waits)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", METHODS)
def test_precision(cases, method, precision):
    dtypes = cases[f"{method} {precision}"]["dtypes"]
    assert dtypes["convolution"] == [PRECISIONS[precision]]
    assert dtypes["_log_softmax"] == ["torch.float32"]
    if method != "target":
        assert dtypes["bmm"] == ["torch.float64"]  # coefficients


# not bf16: torch takes convolutions in it for NCHW when there is no GPU to ask
@pytest.mark.parametrize("name", [name for name in STEPS if "bf16" not in name and name != "one_stage recomputed"])
def test_every_convolution_sees_the_layout(cases, name):
    case = cases[name]
    assert case["channels_last"] == (0 if "contiguous" in name else case["convolutions"])


def test_images_stay_on_the_device_or_come_from_pinned_memory(cases):
    assert cases["target off"]["image_uploads"] == cases["two_stage off"]["image_uploads"] == []
    uploads = cases["target with a policy"]["image_uploads"]
    assert uploads and all(pinned and non_blocking for pinned, non_blocking in uploads)


def test_arithmetic_on_a_gpu(cases):
    assert cases["arithmetic"]["arithmetic"] == [["high", True, True], ["highest", False, True]]


@pytest.mark.parametrize("precision", ["off", "fp16"])
def test_memory_is_as_estimated(cases, precision):
    peak, support = cases["memory"]["memory"][precision]
    sizes = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 3}
    estimate = estimate_peak_memory(
        lambda: CellSpace(num_nodes=2).super_net(**sizes),
        Connections(tuple(map(tuple, support))),
        batch_size=24,
        in_channels=3,
        image_size=16,
        amp=PRECISION_TYPES[precision],
    )
    assert peak == pytest.approx(estimate.activations + estimate.gradients, rel=0.08)


@pytest.mark.parametrize(
    "name",
    [
        "input_on_cpu",
        "target_on_cpu",
        "measurement_on_cpu",
        "one_b_on_cpu",
        "bn_buffer_on_cpu",
        "drop_path_on_cpu",
    ],
)
def test_what_is_left_on_the_cpu_is_found(cases, name):
    error = cases[name]["error"]
    assert error is not None and "on the same device" in error and "cpu" in error and "cuda:0" in error


def test_an_architecture_that_is_left_on_the_cpu_waits(cases):
    """As it belongs there where a device has no float64, it is no error elsewhere."""
    case = cases["architecture_on_cpu"]
    assert case["error"] is None
    assert any(wait.startswith("a blocking copy to the device at network.py") for wait in case["waits"]["steps"])


def test_a_wait_in_a_step_is_found(cases):
    expected = {"number_read_back": "a number read back", "blocking_copy": "a blocking copy to the device"}
    for name, words in expected.items():
        assert cases[name]["error"] is None
        (wait,) = cases[name]["waits"]["steps"]
        assert wait.startswith(f"{words} at steps.py")

"""Two processes, a GPU to each, compute what one does: a search by the tool itself, over NCCL."""

import json
import os
import subprocess
import sys

import pytest
import torch
from starting import ROOT

pytestmark = pytest.mark.slow

RUN = ["--dataset", "digits", "--image_size", 8, "--init_channels", 8, "--layers", 3, "--num_nodes", 2, "--sync_bn"]
RUN += ["--epochs", 2, "--max_train_images", 200, "--batch_size", 48, "--no_tensorboard"]
RUN += ["--operations", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"]


def losses(run):
    """Those of a run's epochs."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows for name in ("train/loss", "valid/loss") if name in row]


@pytest.mark.parametrize("more", [[], ["--recompute"]])
def test_two_processes_have_the_numbers_of_one(more, device, tmp_path):
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU alone")
    arguments = [*RUN, *more, *([] if device.type == "cuda" else ["--device", "cpu"])]
    if torch.__version__ < "2.14":  # which is refused on a GPU in channels_last
        arguments.append("--no_channels_last")
    found = []
    for processes in (1, 2):
        run = tmp_path / str(processes)
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes]
        command = [sys.executable, *(several if processes > 1 else []), ROOT / "tools/train_search.py", *arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*map(str, command), "--run_dir", str(run)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        found.append(losses(run))
    one, two = found
    assert len(one) == len(two) >= 4
    assert two == pytest.approx(one, rel=1e-2)

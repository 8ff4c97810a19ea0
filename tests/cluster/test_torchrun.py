"""The scripts without SLURM: stopped, the same command goes on."""

import os
import signal
import subprocess
import sys

import pytest
from loopback import ROOT, wait_for

pytestmark = pytest.mark.slow


def start(script, config, folder, *flags):
    """A script with two processes, whose output comes together."""
    env = os.environ | {"ISNAS_PYTHON": sys.executable, "ISNAS_CONFIG": str(config), "ISNAS_RUN_DIR": str(folder)}
    env |= {"ISNAS_DATA": "", "ISNAS_GPUS": "2", "OMP_NUM_THREADS": "1"}
    command = [str(ROOT / "scripts/torchrun" / script), *flags]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_stopped_and_started_again(one_stage_config):
    folder = one_stage_config.parent / "run"
    short = ["--max_search_epochs", "1", "--epochs", "1"]
    first = start("onestage_imagenet.sh", one_stage_config, folder, *short)
    assert wait_for(lambda: (folder / "log.txt").exists() and " train 005" in (folder / "log.txt").read_text(), 120)
    first.send_signal(signal.SIGUSR1)
    output = first.communicate(timeout=60)[0]
    assert first.returncode == 1 and "stopped by SIGUSR1 at epoch" in output and not (folder / "result.json").exists()
    second = start("onestage_imagenet.sh", one_stage_config, folder, *short)
    output = second.communicate(timeout=120)[0]
    assert second.returncode == 0 and "resuming" in output and (folder / "result.json").exists(), output


def test_what_a_started_run_would_refuse(tmp_path):
    for flag in ("--config=x.yaml", "--resume"):
        process = start("twostage_cifar10.sh", "config.yaml", tmp_path / "run", flag)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 2 and output == f"set CONFIG or RUN_DIR instead of {flag}\n"

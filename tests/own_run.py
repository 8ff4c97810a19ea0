"""Starts a run as the tools do, but for what it computes, and sees to it that its folder is its own.

own_run.py race WHERE FOLDER NUMBER: begins when the file ``go`` is there and holds the folder until ``end`` is.
own_run.py dies WHERE FOLDER NUMBER: killed before the operation of this number on a file of the folder, if the start,
the first checkpoint included, has so many.
own_run.py writes NAME FOLDER NUMBER: half of a file and of a temporary folder, and waits; the file ``wrote`` says so.

WHERE is ``run_dir`` or ``resume``. They exit with 0, or with 2 when the run is refused.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch
import yaml

from isnas.base.errors import run_tool
from isnas.base.files import replacing, temporary_folder
from isnas.engine.averages import Averages
from isnas.engine.loop import Loop
from isnas.engine.run import start_run
from isnas.methods.registry import make_options

OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.truncate", "os.listdir", "shutil.rmtree")
CPU = torch.device("cpu")


def begun(where, folder, number=0):
    """A run at its beginning and its loop; ``number`` is in its settings, unless it is resumed."""
    settings = {"report_freq": number + 1, "tensorboard": False, where: str(folder)}
    run = start_run(make_options("two_stage", **settings), "search", CPU)
    return run, Loop(run, 1, lambda epoch: 9, CPU, {}, partial(Averages, CPU))


def save_some(run, loop, number):
    """Three steps, each with a line of the log, a row and a checkpoint."""
    for _ in range(3):
        loop.global_step += 1
        run.log(f"process {number}")
        run.records.metrics(loop.global_step, 0, {"valid/acc": float(number)})
        loop.save()


def check_own(folder, where, number):
    """Nothing in the folder is another process's."""
    lines = (folder / "log.txt").read_text().splitlines()
    last = [i for i, line in enumerate(lines) if f" {'run folder' if where == 'run_dir' else 'resuming'} " in line][-1]
    assert [line.split(" ", 3)[3] for line in lines[last + 1 :]] == [f"process {number}"] * 3, lines
    if where == "run_dir":
        assert last == 0 and yaml.safe_load((folder / "config.yaml").read_text())["report_freq"] == number + 1
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["state"]
    assert state["global_step"] == (3 if where == "run_dir" else 6)


def wait_for(path):
    while not path.exists():
        time.sleep(0.0005)


def race(where, folder, number):
    wait_for(folder.parent / "go")
    run, loop = begun(where, folder, number)
    save_some(run, loop, number)
    wait_for(folder.parent / "end")
    check_own(folder, where, number)


def dies(where, folder, number):
    left = [number]

    def count(event, arguments):
        if event in OPERATIONS and str(arguments[0]).startswith(str(folder)):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    begun(where, folder)


def writes(name, folder, number):
    with replacing(folder / name) as path, temporary_folder(folder) as other:
        path.write_text("half")
        (other / "part").write_text("half")
        (folder / "wrote").touch()
        time.sleep(600)


def main(argv):
    {"race": race, "dies": dies, "writes": writes}[argv[0]](argv[1], Path(argv[2]), int(argv[3]))


if __name__ == "__main__":
    run_tool(main)

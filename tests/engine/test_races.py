"""Processes that start or resume a run in one folder at the same moment, and starts that are killed."""

import json
import os
import signal
import time

import pytest
import torch
from own_run import begun, save_some
from starting import Script

ROUNDS = 4


def started(folder, *arguments):
    output = folder / f"{arguments[-1]}.out"
    with open(output, "w") as file:
        return Script("tests/own_run.py", *arguments, folder=folder, stdout=file, stderr=file), output


@pytest.mark.parametrize("where", ["run_dir", "resume"])
def test_one_of_three_gets_the_folder(tmp_path, where):
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        if where == "resume":
            run, loop = begun("run_dir", folder / "run")
            save_some(run, loop, 9)
            run.records.close()
            content = (folder / "run" / "checkpoint.pt").read_bytes()
        racing = [started(folder, "race", where, folder / "run", rank) for rank in range(3)]
        (folder / "go").touch()
        deadline = time.monotonic() + 60
        while sum(process.poll() is not None for process, _ in racing) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        (folder / "end").touch()
        codes = [process.wait(60) for process, _ in racing]
        assert sorted(codes) == [0, 2, 2], [output.read_text() for _, output in racing]
        for code, (_, output) in zip(codes, racing):
            if code:
                (line,) = output.read_text().splitlines()
                assert "another process is writing the run in" in line or "already holds a run" in line
        names = {"config.yaml", "env.json", "log.txt", "metrics.jsonl", "checkpoint.pt", "checkpoint_previous.pt"}
        assert {path.name for path in (folder / "run").iterdir()} == names
        if where == "resume":
            assert (folder / "run" / "checkpoint.pt").read_bytes() != content


def test_a_start_that_was_killed_can_be_made_again(tmp_path):
    counted, number = 0, 0
    while counted < 200:
        number = counted + 1
        folder = tmp_path / str(number)
        process, output = started(tmp_path, "dies", "run_dir", folder, number)
        code = process.wait(60)
        if code == 0:
            break
        assert code == -signal.SIGKILL, output.read_text()
        counted = number
        begun_before = (folder / "config.yaml").exists()
        run, loop = begun("resume" if begun_before else "run_dir", folder)
        loop.save()
        run.records.close()
        assert not list(folder.glob(".unfinished-*"))
        assert json.loads((folder / "env.json").read_text())["packages"]["torch"] == torch.__version__
    assert counted > 10


def test_names_of_one_second_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = []
    for _ in range(4):
        run, loop = begun("save", "mine")
        loop.save()
        run.records.close()
        folders.append(run.folder)
    assert len(set(folders)) == 4 == len(os.listdir(tmp_path))

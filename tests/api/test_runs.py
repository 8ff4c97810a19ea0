"""Searches and trainings that are called: the numbers of a command line, in a process that stays as it was."""

import json
import os
import random
import signal
import threading
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from killing import next_commands
from starting import ROOT, run_script

import isnas
from isnas.base.errors import UserError
from isnas.data.decoding import megapixels_limit
from isnas.engine.loop import Loop

pytestmark = pytest.mark.slow

TINY = {"max_train_images": 200, "batch_size": 25, "epochs": 1, "init_channels": 2, "layers": 3, "image_size": 8}
TINY |= {"device": "cpu", "threads": 1, "tensorboard": False}
FLAGS = [f"--{name}={value}" for name, value in TINY.items() if name != "tensorboard"] + ["--no_tensorboard"]
QUIET = {**TINY, "show_log": False}


def rows(folder):
    """What metrics.jsonl says but for time and memory."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if "seconds" not in key and key != "memory/peak_gib"} for row in found
    ]


def files(folder):
    return {path.name for path in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def by_command(tmp_path_factory):
    """The folder of a search, and that of the training of its cells, by the scripts."""
    folder = tmp_path_factory.mktemp("command")
    for words in (
        ["tools/train_search.py", "--dataset=digits", *FLAGS, "--run_dir=search"],
        ["tools/evaluate.py", "--dataset=digits", *FLAGS, "--arch=search", "--run_dir=trained"],
        ["tools/train_onestage.py", "--dataset=digits", *FLAGS, "--max_search_epochs=1", "--run_dir=one"],
    ):
        done = run_script(*words, folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return isnas.search("digits", run_dir=tmp_path_factory.mktemp("called") / "search", **QUIET)


@pytest.fixture(scope="module")
def trained(searched):
    return isnas.train(searched.genotype, "digits", run_dir=searched.folder.with_name("trained"), **QUIET)


def test_a_search_is_the_commands(by_command, searched):
    own, other = searched.folder, by_command / "search"
    assert (own / "genotype.json").read_bytes() == (other / "genotype.json").read_bytes()
    assert rows(own) == rows(other) and searched.metrics[-1]["valid/acc"] == searched.valid_acc
    assert files(own) == files(other)
    command = json.loads((own / "env.json").read_text())["command"]
    assert command[:2] == ["isnas train_search", "--dataset=digits"] and f"--run_dir={own}" in command
    assert (own / "config.yaml").read_bytes() == (other / "config.yaml").read_bytes()
    assert str(searched.genotype) == json.loads((other / "genotype.json").read_text())["text"]
    again = isnas.search("digits", run_dir=own.with_name("again"), **QUIET)
    assert rows(again.folder) == rows(other) and again.genotype == searched.genotype


def test_a_training_is_the_commands(by_command, searched, trained):
    result = json.loads((by_command / "trained/result.json").read_text())
    assert rows(trained.folder) == rows(by_command / "trained")
    assert (trained.test_acc, trained.params_millions) == (result["test_acc"], result["params_millions"])
    again = isnas.train(searched, run_dir=trained.folder.with_name("of_result"), **QUIET)  # on the images of the search
    assert rows(again.folder) == rows(trained.folder)
    assert trained.valid_acc is None and trained.genotype.hash() == result["hash"]
    assert repr(trained).splitlines()[0] == "TrainResult" and "valid_acc" not in repr(trained)


def test_a_run_ends_with_the_commands_that_use_what_it_has_left(by_command, searched, trained):
    tools = {name: ["python", f"{ROOT}/tools/{name}.py"] for name in ("evaluate", "test", "predict", "export")}
    assert next_commands(by_command / "search") == [[*tools["evaluate"], "--arch", "search"]]
    assert next_commands(searched.folder) == [["isnas", "evaluate", "--arch", str(searched.folder)]]
    for name in ("trained", "one"):
        words = [[*tools["test"], name], [*tools["predict"], name, "IMAGE"], [*tools["export"], name]]
        assert next_commands(by_command / name) == words
    assert next_commands(trained.folder)[0] == ["isnas", "test", str(trained.folder)]
    done = run_script("tools/test.py", *next_commands(by_command / "one")[0][2:], folder=by_command)
    assert done.returncode == 0 and "test_acc" in done.stdout, done.stderr


def test_a_test_in_the_folder_of_a_run_is_on_its_page(by_command):
    page = by_command / "trained/report.html"
    before, told = page.read_text(), "test images are told wrongly"
    run_script("tools/test.py", "trained", "--output", "elsewhere", folder=by_command)
    assert page.read_text() == before and told not in before
    done = run_script("tools/test.py", "trained", folder=by_command)
    assert done.returncode == 0 and "trained/wrong.png trained/report.html\n" in done.stdout, done.stderr
    again = run_script("tools/summarize.py", "trained", "--output", "anew.html", folder=by_command)
    assert again.returncode == 0 and page.read_text() == (by_command / "anew.html").read_text()
    assert told in page.read_text() and not list(page.parent.glob(".*"))


def test_one_stage_is_the_commands(by_command, tmp_path):
    result = isnas.one_stage("digits", max_search_epochs=1, run_dir=tmp_path / "one", **QUIET)
    assert rows(result.folder) == rows(by_command / "one")
    assert result.genotype.extra_bn == "all" and result.test_acc == result.metrics[-1]["test/acc"]


def state():
    """What belongs to the process."""
    return {
        "folder": os.getcwd(),
        "threads": torch.get_num_threads(),
        "alive": {thread.name for thread in threading.enumerate()},
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "default": torch.get_default_dtype(),
        "matplotlib": (matplotlib.get_backend(), str(matplotlib.rcParams)),
        "warnings": list(warnings.filters),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "limit": megapixels_limit(),
        "environment": dict(os.environ),
    }


def test_the_process_stays_as_it_was(searched, tmp_path, capsys):
    before = state() | {"threads": 2}
    torch.set_num_threads(2)
    try:
        isnas.search("digits", run_dir=tmp_path / "run", **TINY)
        after = state()
    finally:
        torch.set_num_threads(1)
    assert after == before
    assert "valid_acc" in capsys.readouterr().out
    with pytest.raises(UserError, match="device nowhere cannot be used"):
        isnas.search("digits", run_dir=tmp_path / "other", **QUIET | {"device": "nowhere"})
    assert capsys.readouterr().out == ""


@pytest.fixture
def interruptible():
    """Python's own handler of Ctrl-C, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_it_and_resume_goes_on_in_the_same_process(searched, tmp_path, monkeypatch, interruptible):
    """Stopped at the third of four steps, by a signal as a notebook's kernel gets it."""
    report = Loop._save_or_stop

    def stopping(self, save, marks=None):
        report(self, True, marks)
        if self.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_save_or_stop", stopping)
        with pytest.raises(KeyboardInterrupt):
            isnas.search("digits", run_dir=tmp_path / "run", **QUIET)
    assert not (tmp_path / "run/genotype.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(UserError, match="already holds a run; go on with --resume"):
        isnas.search("digits", run_dir=tmp_path / "run", **QUIET)
    result = isnas.search(resume=tmp_path / "run", show_log=False)
    assert result.folder == tmp_path / "run" and result.genotype == searched.genotype
    assert rows(result.folder) == rows(searched.folder)


def test_several_seeds(searched, tmp_path):
    found = isnas.search("digits", seeds=[0, 1], run_dir=tmp_path / "seeds", **QUIET)
    assert [run.folder.name for run in found.runs] == ["seed-0", "seed-1"] and found.folder == tmp_path / "seeds"
    assert found.runs[0].genotype == searched.genotype and rows(found.runs[0].folder) == rows(searched.folder)
    best = json.loads((found.folder / "seeds.json").read_text())["best"]
    assert found.genotype == found.runs[best].genotype and found.valid_acc == found.runs[best].valid_acc
    with pytest.raises(UserError, match="several runs"):
        _ = found.metrics

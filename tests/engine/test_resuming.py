"""What a run that is resumed takes for its own, and what is left as it was when it refuses."""

import fcntl
import json
import os
import re
import shutil
from functools import cache, partial

import pytest
import torch
from own_run import CPU, begun, save_some, wait_for
from settings import make_method
from starting import Script

from isnas.base.errors import UserError
from isnas.base.files import remove_unfinished, replacing, temporary_folder
from isnas.engine.averages import Averages
from isnas.engine.checkpoint import LAST, PREVIOUS, load_checkpoint
from isnas.engine.loop import Loop
from isnas.engine.results import Best
from isnas.engine.run import start_run
from isnas.methods.registry import make_options


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that has stopped after three steps, with rows of each kind."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    run, loop = begun("run_dir", folder)
    run.records.row("genotypes.jsonl", {"epoch": 0})
    save_some(run, loop, 0)
    run.records.close()
    return folder


@pytest.fixture
def folder(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(folder, words):
    """Resuming says so in one line and changes nothing."""
    before = contents(folder)
    with pytest.raises(UserError, match=words) as caught:
        begun("resume", folder)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
    assert contents(folder) == before
    return str(caught.value)


DAMAGES = {
    "shorter": (lambda path: os.truncate(path, path.stat().st_size // 2), "bytes, it had"),
    "empty": (lambda path: os.truncate(path, 0), "has 0 bytes, it had"),
    "gone": (os.unlink, "is gone|has 0 bytes"),
    "changed": (lambda path: path.write_bytes(b"[" + path.read_bytes()[1:]), "are not those"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl", "genotypes.jsonl"])
def test_records_that_are_not_whole_are_named(folder, name, damage):
    change, words = DAMAGES[damage]
    change(folder / name)
    assert name in refused(folder, words)


def test_records_that_fit_the_checkpoint_before_are_written_again(folder):
    content = (folder / "metrics.jsonl").read_bytes()
    rows = content.splitlines(keepends=True)
    os.truncate(folder / "metrics.jsonl", len(b"".join(rows[:2])) + 5)  # as of the previous checkpoint, and a part
    run, loop = begun("resume", folder)
    assert loop.global_step == 2 and (folder / "metrics.jsonl").read_bytes() == b"".join(rows[:2])
    run.records.metrics(3, 0, {"valid/acc": 0.0})
    assert (folder / "metrics.jsonl").read_bytes() == content
    loop.save()
    assert torch.load(folder / PREVIOUS, weights_only=True)["state"]["global_step"] == 2  # the damaged one is replaced
    run.records.close()


def test_lost_checkpoints_do_not_mean_a_new_beginning(folder):
    for name in (LAST, PREVIOUS):
        (folder / name).unlink()
    refused(folder, "checkpoint.pt is gone")


def test_a_refused_resumption_leaves_the_checkpoint_of_the_one_who_runs(folder):
    run, _ = begun("resume", folder)
    (folder / LAST).write_bytes(b"being written")
    refused(folder, "another process")
    run.records.close()


@pytest.mark.parametrize("kind", ["folder", "loop", "permission"])
def test_what_cannot_be_read_is_not_damaged(folder, kind):
    (folder / LAST).rename(folder / "good.pt")
    if kind == "folder":
        (folder / LAST).mkdir()
    elif kind == "loop":
        (folder / LAST).symlink_to(LAST)
    else:
        (folder / "good.pt").rename(folder / LAST)
        (folder / LAST).chmod(0)
        if os.access(folder / LAST, os.R_OK):
            pytest.skip("nothing is forbidden to this user")
    before = sorted(os.listdir(folder))
    with pytest.raises(UserError, match=r"cannot read .*checkpoint.pt"):
        begun("resume", folder)
    assert sorted(os.listdir(folder)) == before


def saved(folder, change):
    """The last checkpoint with another content."""
    content = torch.load(folder / LAST, weights_only=True)
    torch.save(change(content), folder / LAST)


KINDS = {
    "weights": lambda content: {"network": {"weight": torch.ones(3)}},
    "a tensor": lambda content: torch.ones(3),
    "no state": lambda content: {key: value for key, value in content.items() if key != "state"},
    "no records": lambda content: {key: value for key, value in content.items() if key != "records"},
    "records of a file elsewhere": lambda content: content | {"records": {"../x": (0, "")}},
    "records as sizes": lambda content: content | {"records": {"log.txt": 3}},
    "options as a list": lambda content: content | {"options": [1]},
    "an option as a tensor": lambda content: content | {"options": content["options"] | {"seed": torch.ones(2)}},
    "a sparse tensor": lambda content: content | {"state": {"x": torch.eye(3).to_sparse()}},
    "a complex tensor": lambda content: content | {"state": {"x": torch.ones(3, dtype=torch.complex64)}},
    "a tensor without values": lambda content: content | {"state": {"x": torch.ones(3, device="meta")}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_another_kind_gives_way_to_the_one_before(folder, kind):
    saved(folder, KINDS[kind])
    other = (folder / LAST).read_bytes()
    notes = []
    assert load_checkpoint(folder, notes.append)["state"]["global_step"] == 2
    assert len(notes) == 1 and "checkpoint.pt is" in notes[0] and notes[0].endswith("going on from " + PREVIOUS)
    assert (folder / LAST).read_bytes() == other
    (folder / PREVIOUS).unlink()
    refused(folder, "checkpoint.pt is")


STATES = {
    "no epoch": lambda state: state.pop("epoch"),
    "epoch as text": lambda state: state.update(epoch="3"),
    "step before the first": lambda state: state.update(step=-1),
    "averages of another shape": lambda state: state.update(averages=torch.ones(())),
    "seconds as text": lambda state: state.update(seconds="1"),
    "no method": lambda state: state.pop("method"),
    "no tally": lambda state: state["method"].pop("tally"),
    "best of something else": lambda state: state["best"].update(more=1),
    "weights of another shape": lambda state: state["method"]["network"].update(
        {name: value[:1] for name, value in state["method"]["network"].items() if value.dim() == 4}
    ),
    "an architecture as text": lambda state: state["method"].update(architecture="b"),
}


@cache
def method():
    return make_method("two_stage", init_channels=2)


def of_a_search(where, folder):
    """As ``begun``, with the parts of a search."""
    settings = {"init_channels": 2, "layers": 3, "tensorboard": False, where: str(folder)}
    run = start_run(make_options("two_stage", **settings), "search", CPU)
    parts = {"method": method(), "best": Best()}
    return run, Loop(run, 1, lambda epoch: 9, CPU, parts, partial(Averages, CPU))


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "run"
    run, loop = of_a_search("run_dir", folder)
    loop.save()
    run.records.close()
    return folder


@pytest.mark.parametrize("kind", STATES)
def test_a_state_that_does_not_fit_is_one_line(search, tmp_path, kind):
    folder = shutil.copytree(search, tmp_path / "run")

    def change(content):
        STATES[kind](content["state"])
        return content

    saved(folder, change)
    before = contents(folder)
    with pytest.raises(UserError, match=r"checkpoint\.pt does not fit the run") as caught:
        of_a_search("resume", folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600 and PREVIOUS in str(caught.value)
    assert contents(folder) == before
    (folder / LAST).unlink()
    run, _ = of_a_search("resume", folder)
    run.records.close()


@pytest.mark.parametrize("fault", ["loss", "weights"])
def test_the_last_checkpoint_before_a_nan_stays(tmp_path, fault):
    settings = {"init_channels": 2, "layers": 3, "tensorboard": False, "checkpoint_minutes": 1e-9}
    run = start_run(make_options("two_stage", **settings, run_dir=str(tmp_path / "run")), "search", CPU)
    network = make_method("two_stage", init_channels=2)
    loop = Loop(run, 1, lambda epoch: 9, CPU, {"method": network}, partial(Averages, CPU))

    def train():
        for step in loop.steps():
            loss = 1.0
            if step == 5 and fault == "loss":
                loss = float("nan")
            if step == 5 and fault == "weights":
                next(network.network.parameters()).data.view(-1)[0] = float("inf")
            loop.averages.add(torch.tensor(loss), torch.eye(3), torch.arange(3))

    with pytest.raises(UserError, match=r"training diverged: the .* in epoch 0"):
        train()
    run.records.close()
    state = load_checkpoint(tmp_path / "run", pytest.fail)["state"]
    assert state["global_step"] == 5 and state["averages"].isfinite().all()
    assert all(value.isfinite().all() for value in state["method"]["network"].values())


ODD = ["[" * 100000, "[]", '{"packages": 3}', '{"packages": {"torch": [[1]]}}', "\0", "1e999"]


@pytest.mark.parametrize("text", ODD)
def test_odd_notes_on_the_environment_do_not_stop_a_run(folder, text):
    (folder / "env.json").write_text(text)
    run, _ = begun("resume", folder)
    run.records.close()
    assert re.search(r"env.json cannot be read|torch is \S+, it was \[\[1\]\]", (folder / "log.txt").read_text())


def test_no_message_forges_a_line(folder, capsys):
    run, _ = begun("resume", folder)
    before = len((folder / "log.txt").read_text().splitlines())
    run.log("class a\nb\r\x1b[2J\u2028\u202e\udcff ends ± é")
    (line,) = (folder / "log.txt").read_text().splitlines()[before:]
    assert line.endswith(r" class a\nb\r\x1b[2J\u2028\u202e\udcff ends ± é")
    assert capsys.readouterr().out.splitlines()[-1] == line
    run.records.close()


@pytest.mark.parametrize("name", ["../../x", "a/b", "/x", "a\\b", "a\nb", "\x1b[2J", "\udcff"])
def test_a_name_is_no_path(name):
    with pytest.raises(UserError, match="--save must be a plain name"):
        make_options("two_stage", save=name)


def test_a_folder_of_any_name_is_resumed(tmp_path):
    folder = tmp_path / "r\udcff\n\x1bß"
    settings = {"data": str(folder), "dataset": "imagefolder"}
    run = start_run(make_options("two_stage", run_dir=str(folder), **settings), "search", CPU)
    loop = Loop(run, 1, lambda epoch: 9, CPU, {}, partial(Averages, CPU))
    save_some(run, loop, 0)
    run.records.close()
    again = start_run(make_options("two_stage", resume=str(folder), **settings), "search", CPU)
    assert Loop(again, 1, lambda epoch: 9, CPU, {}, partial(Averages, CPU)).global_step == 3
    again.records.close()
    assert len((folder / "log.txt").read_text().splitlines()) == 7 and json.loads((folder / "env.json").read_text())


def test_a_name_with_a_zero_in_it_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"run_dir must be text, not '.*a.x00b'"):
        begun("run_dir", tmp_path / "a\0b")


def test_what_a_kill_leaves_goes_and_what_is_being_written_stays(tmp_path):
    writing = Script("tests/own_run.py", "writes", "x", tmp_path, 0, folder=tmp_path)
    wait_for(tmp_path / "wrote")
    (tmp_path / "wrote").unlink()
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2 and all(re.match(rf"\.unfinished-{writing.pid}-", name) for name in left)
    for name in (".unfinished-notes", ".unfinished-3", "unfinished-3-x"):
        (tmp_path / name).write_text("of somebody else")
    (tmp_path / ".unfinished-3-link").symlink_to("nowhere")
    others = {path.name for path in tmp_path.iterdir()} - left
    (tmp_path / f".unfinished-{os.getpid()}-z").write_text("of a process of the same number")
    with replacing(tmp_path / "w"), temporary_folder(tmp_path):
        mine = {path.name for path in tmp_path.iterdir()}
        assert len(mine) == 7 + 1  # z is gone
        remove_unfinished(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == mine
    writing.kill()
    writing.wait()
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == others | {"w"}
    with open(tmp_path / "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds what is finished

"""What a run leaves on disk, and what a damaged checkpoint or a cut-back record does."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from isnas.base.errors import UserError
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.averages import Averages, evaluate
from isnas.engine.checkpoint import LAST, PREVIOUS, load_checkpoint, save_checkpoint
from isnas.engine.loop import SameData
from isnas.engine.records import Claim, Records, misfits
from isnas.engine.run import start_run
from isnas.engine.weights import read_weights
from isnas.methods.registry import make_options
from isnas.train.optim import cosine


def content(number, **records):
    state = {"number": number, "tensor": torch.full((1000,), float(number))}
    return {"state": state, "records": records, "options": {"seed": 0}}


def saved_twice(folder):
    for number in (1, 2):
        save_checkpoint(folder, content(number))


def test_the_previous_checkpoint_is_kept(tmp_path):
    saved_twice(tmp_path)
    assert load_checkpoint(tmp_path, pytest.fail)["state"]["number"] == 2
    assert torch.load(tmp_path / PREVIOUS, weights_only=True)["state"]["number"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    saved_twice(tmp_path)
    data = bytearray((tmp_path / LAST).read_bytes())
    if damage == "remove":
        (tmp_path / LAST).unlink()
    else:
        data[len(data) // 2] ^= 1
        cut = {"truncate": data[: len(data) // 2], "flip": data, "empty": b""}[damage]
        (tmp_path / LAST).write_bytes(cut)
    notes = []
    assert load_checkpoint(tmp_path, notes.append)["state"]["number"] == 1
    assert bool(notes) == (damage != "remove")


def test_no_flipped_bit_in_the_entry_of_a_tensor_is_read_as_another_tensor(tmp_path):
    """A list of entries has no checksum, and torch does not read the tensor of one that is called a folder."""
    save_checkpoint(tmp_path, content(1))
    path, whole = tmp_path / LAST, (tmp_path / LAST).read_bytes()
    start = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"/data/0"))
    outcomes = set()
    for bit in range(8 * start, 8 * whole.index(b"PK\x01\x02", start + 4)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        for read in (lambda: load_checkpoint(tmp_path, pytest.fail), lambda: read_weights(path)):
            try:
                state = read()["state"]
            except UserError:
                outcomes.add("refused")
            else:
                outcomes.add("read")
                assert torch.equal(state["tensor"], content(1)["state"]["tensor"])
    assert outcomes == {"refused", "read"}


def test_two_damaged_checkpoints_are_an_error(tmp_path):
    saved_twice(tmp_path)
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(tmp_path, print)


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save({"code": Code()}, tmp_path / LAST)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(tmp_path, print)
    assert not (tmp_path / "made").exists()


def begun(folder, marks=None):
    records = Records(Claim(folder), marks)
    records.begin()
    return records


def board_steps(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder / "tb"))
    board.Reload()
    return [event.step for event in board.Scalars("valid/acc")]


def test_records_are_cut_back_to_the_checkpoint(tmp_path):
    records = begun(tmp_path)
    for epoch in range(2):
        records.log(f"epoch {epoch}")
        records.metrics(10 * epoch, epoch, {"valid/acc": 50.0 + epoch, "arch/distance": None})
        records.row("genotypes.jsonl", {"epoch": epoch})
    marks = records.marks()
    records.log("lost")
    records.metrics(20, 2, {"valid/acc": 0.0})
    records.row("genotypes.jsonl", {"epoch": 2})
    records.close()
    assert board_steps(tmp_path) == [0, 10, 20]

    assert misfits(tmp_path, marks) is None
    records = begun(tmp_path, marks)
    records.metrics(20, 2, {"valid/acc": 52.0})
    records.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["valid/acc"] for row in rows] == [50.0, 51.0, 52.0]
    assert [line.split(" ", 3)[3] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["epoch 0", "epoch 1"]
    assert len((tmp_path / "genotypes.jsonl").read_text().splitlines()) == 2
    assert board_steps(tmp_path) == [0, 10, 20]


def test_a_run_folder_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    device, make = torch.device("cpu"), partial(make_options, "two_stage", tensorboard=False)
    run = start_run(make(save="name"), "search", device)
    run.begin()
    run.save({"epoch": 0})
    assert run.folder.name.startswith("search-name-20")
    environment = json.loads((run.folder / "env.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__ and environment["threads"] >= 1
    with pytest.raises(UserError, match="another process"):
        start_run(make(resume=str(run.folder)), "search", device)
    run.records.close()
    again = start_run(make(resume=str(run.folder)), "search", device)
    assert again.state == {"epoch": 0}
    with pytest.raises(UserError, match="already holds a run"):
        start_run(make(run_dir=str(run.folder)), "search", device)
    again.records.close()
    with pytest.raises(UserError, match="made with seed 0"):
        start_run(make(resume=str(run.folder), seed=1), "search", device)


def test_averages_over_uneven_batches():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(10, 7, generator=generator), torch.randint(7, (10,), generator=generator)
    batches = [(logits[:6], labels[:6]), (logits[6:], labels[6:])]
    scores = evaluate(lambda x: x, batches, torch.device("cpu"))
    order = logits.argsort(dim=1, descending=True)
    assert scores.top1 == pytest.approx(100 * (order[:, 0] == labels).float().mean().item())
    assert scores.top5 == pytest.approx(100 * (order[:, :5] == labels[:, None]).any(1).float().mean().item())
    assert scores.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-6)
    few = Averages(torch.device("cpu"))
    few.add(torch.tensor(1.0), torch.eye(3), torch.arange(3))
    assert few.scores() == (1.0, 100.0, 100.0)


def test_cosine():
    assert cosine(0, 50, 0.1, 0.0) == 0.1
    assert cosine(25, 50, 0.1, 0.02) == pytest.approx(0.06)
    assert cosine(49, 50, 0.1, 0.0) == pytest.approx(0.1 * 0.0009866, rel=1e-3)


def test_a_run_goes_on_with_its_own_images_only():
    info = DatasetInfo("imagefolder", ("a", "b"), (0.5,), (0.25,), 16, True)
    state = SameData("images", **info.facts(train=30), digest="x").state_dict()
    SameData("images", **info.facts(train=30), digest="x").load_state_dict(state)
    others = [info.facts(train=31), replace(info, classes=("a", "c")).facts(train=30), info.facts(train=30)]
    for other, digest in zip(others, "xxy", strict=True):
        with pytest.raises(UserError, match="the images are not those of the run"):
            SameData("images", **other, digest=digest).load_state_dict(state)
    with pytest.raises(UserError, match="of an earlier version, which did not note its images; start a new run"):
        SameData("images", **info.facts(train=30), digest="x").load_state_dict(info.facts(train=30))

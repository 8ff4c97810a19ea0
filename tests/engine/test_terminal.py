"""What a terminal shows of a run: a line for each epoch, where log.txt and a pipe have them all."""

import re

import pytest
from terminals import terminal

import isnas
from isnas.engine.epoch_line import epoch_line
from isnas.engine.records import Claim, Records

SMALL = {"image_size": 8, "layers": 3, "init_channels": 1, "max_train_images": 100, "batch_size": 20, "epochs": 2}
SMALL |= {"num_nodes": 1, "held_out_portion": 0.2, "device": "cpu", "tensorboard": False}


def what_is_left(line):
    """A line of a terminal without the bars that stood in its place."""
    return line.rsplit("\r", 1)[-1].rstrip()


def test_a_search_is_a_line_an_epoch_on_a_terminal(tmp_path, monkeypatch):
    with terminal(monkeypatch) as shown:
        isnas.search("digits", run_dir=tmp_path / "seen", **SMALL)
    assert any("epoch 1:   0%|" in line for line in shown)  # a bar
    lines = [what_is_left(line) for line in shown if what_is_left(line)]
    log = (tmp_path / "seen/log.txt").read_text().splitlines()
    begin, end = (next(n for n, line in enumerate(log) if mark in line) for mark in (" epoch 0 lr", " after the last"))
    assert lines[:begin] == log[:begin] and lines[begin + 2 :] == log[end:]
    form = r"epoch {}: train loss \d\.\d+, acc [\d.]+ %, valid acc [\d.]+ %, lr [\d.]+{}, time 0:00:\d\d(, left \S+)?"
    first, second = lines[begin : begin + 2]
    assert re.fullmatch(form.format(0, ""), first)
    assert re.fullmatch(form.format(1, r", \d of 4 connections new"), second) and "left" not in second

    for known in (" genotype = Genotype(", " train 000 ", " train_acc ", " valid 001 ", " valid_acc "):
        assert sum(known in line for line in log[begin:end]) == 2


def test_a_pipe_gets_every_line_of_the_log(tmp_path, capsys):
    records = Records(Claim(tmp_path), tensorboard=False)
    records.begin()
    for in_epoch in (False, True):
        records.in_epoch = in_epoch
        records.log("train 000 2.3")
    records.metrics(1, 0, {"train/loss": 2.3})
    records.end_epoch(0, "0:01:00")
    records.close()
    assert capsys.readouterr() == ((tmp_path / "log.txt").read_text(), "")


CELLS = {"normal": [[["skip_connect", 0], ["sep_conv_3x3", 1]]], "reduce": [[["skip_connect", 0], ["skip_connect", 1]]]}
OTHER = CELLS | {"normal": [[["skip_connect", 1], ["sep_conv_3x3", 1]]]}
ROW = {"epoch": 7, "lr": 0.0066987, "train/loss": 0.41169, "time/seconds": 3723.4}


@pytest.mark.parametrize(
    ("values", "genotypes", "line"),
    [
        (
            {"train/acc": 84.9, "test/acc": 85.82},
            [],
            "train loss 0.4117, acc 84.90 %, test acc 85.82 %, lr 0.006699",
        ),
        (
            {"train/perplexity": 812.4, "valid/perplexity": None},
            [CELLS],
            "train loss 0.4117, perplexity 812.40, lr 0.006699",
        ),
        (
            {"searching": 1.0, "terminated": 1},
            [OTHER, CELLS, OTHER],
            "train loss 0.4117, lr 0.006699, 1 of 4 connections new, 1 of 2 nodes terminated",
        ),
        ({"searching": 0.0, "terminated": 2}, [CELLS, OTHER], "train loss 0.4117, lr 0.006699"),
    ],
)
def test_the_line_of_an_epoch_says_what_its_rows_say(values, genotypes, line):
    rows = [{"epoch": 6}, ROW | values]
    found = [{"genotype": genotype} for genotype in genotypes]
    assert epoch_line(7, rows, found, "0:10:00") == f"epoch 7: {line}, time 1:02:03, left 0:10:00"
    assert epoch_line(8, rows, found, None) == ""  # it went back to an earlier one

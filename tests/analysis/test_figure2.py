"""Figure 2 of run folders made by hand: what is read, and what is drawn."""

import json
from xml.etree import ElementTree

import pytest
from run_folders import cells, write_rows, write_search, write_training

from isnas.analysis.figure2 import Figure2Options, analyse
from isnas.base.errors import UserError

CELL = cells(["skip_connect:0", "skip_connect:1"])


@pytest.fixture
def runs(tmp_path):
    seeds = [(30.0, 70.0, 60.0, 80.0), (40.0, 50.0, 45.0, 80.0)]
    folders = [
        write_search(tmp_path / f"s{seed}", [CELL] * 3, CELL, seed=seed, accuracies=list(values), hours=2.0)
        for seed, values in enumerate(seeds)
    ]
    return [*folders, write_training(tmp_path / "t", CELL, 90.0, hours=4.0)]


def write_one_stage(folder):
    """Two epochs of search, an hour each, and one of training."""
    write_search(folder, [CELL, CELL], CELL, method="one_stage")
    rows = [
        {
            "step": 10 * (e + 1),
            "epoch": e,
            "test/acc": 60.0 + e,
            "time/seconds": 3600.0 * (e + 1),
            "searching": float(e < 2),
        }
        | ({"arch/distance": 0.1} if e == 1 else {})
        for e in range(3)
    ]
    write_rows(folder / "metrics.jsonl", rows)
    return folder


def drawn(folders):
    return analyse(Figure2Options(runs=tuple(map(str, folders))))


def test_both_panels(runs, tmp_path):
    report = drawn([*runs, write_one_stage(tmp_path / "one")])
    (left,), (two_stage, one_stage) = report.values["left"], report.values["right"]
    assert left["accuracies"] == ((30.0, 70.0, 60.0), (40.0, 50.0, 45.0)) and left["hours"] == 8.0
    assert "| Two-stage ISTA-NAS | digits | 2 | 3 | 52.50 ± 10.61 | 60.00 ± 14.14 | 7.50 ± 3.54 | 8 |" in report.text
    assert two_stage["search"] == ((2.0, 30.0), (4.0, 70.0), (6.0, 60.0))
    assert two_stage["training"] == ((10.0, 45.0), (12.0, 90.0)) and two_stage["end"] == 90.0
    assert one_stage["search"] == ((1.0, 60.0), (2.0, 61.0)) and one_stage["training"] == ((3.0, 62.0),)
    assert one_stage["distances"] == ((2.0, 0.1),) and one_stage["searched"] == 2.0 and one_stage["end"] is None
    assert "| One-stage ISTA-NAS | digits | 2 | 3 |  |" in report.text
    paths = report.draw(tmp_path)
    assert {path.name for path in paths} == {"figure2.png", "figure2.svg"}
    texts = {part.text for part in ElementTree.parse(tmp_path / "figure2.svg").iter() if part.text}
    assert {"Two-stage ISTA-NAS", "One-stage ISTA-NAS", "epoch", "hours", "super-nets"} <= texts


def test_an_open_one_stage_search_alone(tmp_path):
    folder = write_one_stage(tmp_path / "one")
    rows = (folder / "metrics.jsonl").read_text().splitlines()[:2]
    write_rows(folder / "metrics.jsonl", map(json.loads, rows))
    report = drawn([folder])
    assert [table.name for table in report.tables] == ["figure2_right"] and "| open | 2 |" in report.text
    assert len(report.draw(tmp_path)) == 2


def test_a_metric_that_is_not_one(runs):
    write_rows(runs[0] / "metrics.jsonl", [{"step": 1, "epoch": 0, "valid/acc": "high", "time/seconds": 1.0}])
    with pytest.raises(UserError, match=r"s0 cannot be read \(valid/acc is 'high', not a number"):
        drawn(runs)
    write_rows(runs[2] / "metrics.jsonl", [{"test/acc": 10.0}])
    with pytest.raises(UserError, match=r"t cannot be read \(time/seconds is missing"):
        drawn(runs[1:])

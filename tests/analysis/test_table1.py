"""Table 1 at a size that tells nothing: what is measured, what is estimated, and what stands beside it."""

import pytest

from isnas.analysis.options.memory import MemoryOptions
from isnas.analysis.step_memory import step_bytes
from isnas.analysis.table1 import Table1Options, analyse
from isnas.base.errors import UserError
from isnas.base.options import Chosen, build, parse
from isnas.data.dataset_info import DatasetInfo
from isnas.methods.registry import SEARCHES, options_class

SMALL = ["--init_channels", "4", "--layers", "3", "--image_size", "16", "--batch_scale", "0.0625", "--steps", "2"]
SMALL += ["--warm_up", "1", "--topologies", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def report():
    return analyse(parse(Table1Options, SMALL, ""))


def test_every_line_stands_there(report):
    lines = report.values["lines"]
    assert [
        (line["name"], line["batch_size"], line["timed_batch"], line["paper_days"], line["paper_gigabytes"])
        for line in lines
    ] == [
        ("DARTS (1st order)", 64, 4, 0.70, 9.1),
        ("PC-DARTS", 256, 16, 0.14, 11.6),
        ("ISTA-NAS", 64, 4, 0.15, 1.9),
        ("ISTA-NAS", 256, 16, 0.05, 5.5),
        ("ISTA-NAS", 512, 32, 0.03, 10.5),
    ]
    assert all(line["seconds"] > 0.0 and line["peak_bytes"] > 0 and line["note"] == "" for line in lines)
    assert [line["random_bytes"] is None for line in lines] == [True, True, False, False, False]  # who runs all
    assert not report.values["facts"]["measured_memory"] and "without a GPU" in report.text


def test_the_estimate_is_that_of_the_page_on_memory(report):
    line = report.values["lines"][3]
    chosen = Chosen("two_stage", tuple(SEARCHES), ""), Chosen("cells", ("cells",), "")
    kind = options_class(*chosen, MemoryOptions)
    values = {"init_channels": 4, "layers": 3, "batch_size": 256}
    own = build(kind, values)
    info = DatasetInfo("noise", tuple("0123456789"), (0.5,) * 3, (0.5,) * 3, 16, True)
    heaviest = own.make_space().heaviest(2)
    # there the batches of both halves are counted, here the one that a pass has
    assert line["peak_bytes"] == sum(step_bytes(SEARCHES["two_stage"], own, heaviest, info)) - 256 * 4 * 3 * 16 * 16
    assert 0 < line["random_bytes"] < line["peak_bytes"]


def test_the_times_are_relative_to_the_first_of_ista_nas(report):
    first, second = report.values["lines"][2:4]
    assert first["days"] == pytest.approx(first["seconds"] * 50 * 25_000 / 4 / 86400)
    (table,) = report.tables
    rows = [dict(zip(table.header, row)) for row in table.rows]
    assert [row["paper: days, relative"] for row in rows] == ["4.67", "0.93", "1.00", "0.33", "0.20"]
    assert rows[2]["time of a search, relative"] == "1.00"
    assert float(rows[3]["time of a search, relative"]) == pytest.approx(second["days"] / first["days"], abs=0.005)


def test_a_method_that_is_not_asked_for_is_not_run():
    report = analyse(parse(Table1Options, [*SMALL, "--methods", "pc_darts"], ""))
    assert [line["note"] for line in report.values["lines"]] == ["not run", "", "not run", "not run", "not run"]
    with pytest.raises(UserError, match="unknown methods 'random_ws'; choose from darts, pc_darts, two_stage"):
        parse(Table1Options, ["--methods", "random_ws"], "")


def test_the_epochs_without_architecture_are_timed_by_themselves(report):
    line = report.values["lines"][1]  # PC-DARTS's architecture waits for 15 epochs of 50
    full = line["seconds"] * 50 * 25_000 / 16 / 86400
    assert line["days"] != pytest.approx(full, rel=1e-6)

"""Tables 1, 2 and 5 of CoNAS: the paper's lines stay, and the runs stand beside those they belong to."""

import json

import pytest
from run_folders import cells, hash_of, write_conas, write_search, write_training

from isnas.analysis.conas_tables import table1, table2, table5
from isnas.analysis.paper_figures import CONAS_TABLE1, CONAS_TABLE2, CONAS_TABLE5, FIVE_OPERATIONS, WIDE
from isnas.analysis.paper_tables import PaperTableOptions, table3
from isnas.base.errors import UserError
from isnas.space.cells.published import published

A, B = (cells([f"{name}:0", "skip_connect:1"]) for name in ("skip_connect", "max_pool_3x3"))
D = cells(["max_pool_3x3:0", "max_pool_3x3:1"])
C = cells(["sep_conv_3x3:0"], ["skip_connect:0"])  # any number of connections
FIVE = ["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5"]


def conas(folder, found, best, stages=1, **settings):
    """A search of CoNAS that has found a cell, and the architecture that it measured with the least loss."""
    return write_conas(folder, [], found, best=best, stages=stages, **settings)


def lines(table, *folders):
    """Cells of the lines by the first column, of every line a dictionary."""
    (found,) = table(PaperTableOptions(runs=tuple(map(str, folders)))).tables
    by_name = {}
    for row in found.rows:
        by_name.setdefault(row[0], []).append(dict(zip(found.header, row)))
    return by_name


@pytest.mark.parametrize(("table", "rows", "count"), [(table1, CONAS_TABLE1, 17), (table2, CONAS_TABLE2, 7)])
def test_without_runs_the_papers_lines_alone(table, rows, count):
    found = lines(table)
    assert list(found) == [row.name for row in rows] and len(found) == count
    assert all(line["cells of"] == "not run" for (line,) in found.values())


def test_what_was_found_and_the_best_that_was_measured_stand_in_their_lines(tmp_path):
    searches = [conas(tmp_path / "t1", A, B, hours=2.0), conas(tmp_path / "t4", C, B, stages=4, hours=3.0)]
    runs = [write_training(tmp_path / f"a{seed}", A, 94.0 + seed, seed=seed) for seed in range(3)]
    runs += [write_training(tmp_path / "b", B, 93.0)]
    runs += [write_training(tmp_path / "wide", A, 97.0, init_channels=60)]
    found = lines(table1, *searches, *runs)
    own, sampled = found["CoNAS (t = 1)"]
    assert (own["cells of"], own["best error (%)"], own["test error (%)"]) == ("CoNAS (t = 1)", "4.00", "5.00 ± 1.00")
    assert (own["paper: test error (%)"], own["paper: best error (%)"], own["search (h)"]) == (
        "2.74 ± 0.12",
        "2.57",
        "4",
    )
    assert (sampled["cells of"], sampled["test error (%)"]) == ("best sampled of CoNAS (t = 1)", "7.00")
    assert sampled["paper: test error (%)"] == ""
    missing, sampled = found["CoNAS (t = 4)"]  # its own cell was not trained, and the other does not take its place
    assert (missing["cells of"], missing["paper: params (M)"]) == ("not run", "4.8")
    assert (sampled["cells of"], sampled["search (h)"]) == ("best sampled of CoNAS (t = 4)", "6")
    (wide,) = found[WIDE]
    assert (wide["paper: test error (%)"], wide["test error (%)"], wide["network"]) == (
        "1.87",
        "3.00",
        "8 cells, C = 60, cutout",
    )
    assert [line["cells of"] for line in lines(table3, *searches, *runs)["CoNAS (t = 1)"]] == [
        "CoNAS (t = 1)",
        "best sampled of CoNAS (t = 1)",
        "CoNAS (t = 1)",
    ]


def test_what_a_search_of_four_stages_had_after_one_is_of_one_stage(tmp_path):
    search = conas(tmp_path / "search", C, B, stages=4)
    (search / "stage_1.json").write_text(json.dumps({"genotype": A}))
    found = lines(table1, search, write_training(tmp_path / "a", A, 94.0), write_training(tmp_path / "c", C, 95.0))
    (one,), (four,) = found["CoNAS (t = 1)"], found["CoNAS (t = 4)"]
    assert (one["cells of"], one["test error (%)"]) == ("stage 1 of CoNAS (t = 4)", "6.00")
    assert (four["cells of"], four["test error (%)"]) == ("CoNAS (t = 4)", "5.00")


def test_darts_with_five_operations_has_a_line_of_its_own(tmp_path):
    seven = write_search(tmp_path / "seven", [A], A, method="darts", unrolled=True)
    five = write_search(tmp_path / "five", [B], B, method="darts", unrolled=True, operations=FIVE)
    trained = [write_training(tmp_path / f"t{acc}", cell, acc) for cell, acc in ((A, 91.0), (B, 92.0))]
    found = lines(table1, seven, five, *trained)
    assert [line["test error (%)"] for line in found["DARTS"]] == ["9.00"]
    assert [line["test error (%)"] for line in found[FIVE_OPERATIONS]] == ["8.00"]
    assert found["DARTS, by Li and Talwalkar"][0]["cells of"] == "not run"


def test_a_transfer_is_a_training_on_other_images(tmp_path):
    search = conas(tmp_path / "search", A, B, dataset="cifar10")
    runs = [write_training(tmp_path / "own", A, 97.0, dataset="cifar10")]
    runs += [write_training(tmp_path / name, A, 90.0, dataset=name) for name in ("svhn", "cifar100")]
    runs += [write_training(tmp_path / "sampled", B, 80.0, dataset="svhn")]
    runs += [write_training(tmp_path / "imagenet", A, 70.0, dataset="imagenet")]
    amoeba = published("AmoebaNet").genotype.hash()
    runs += [write_training(tmp_path / "amoeba", amoeba, 96.0, arch="AmoebaNet", dataset="svhn")]
    found = lines(table2, search, *runs)
    assert [(line["images"], line["test error (%)"], line["paper: SVHN (%)"]) for line in found["CoNAS (t = 1)"]] == [
        ("svhn", "10.00", "1.44"),
        ("cifar100", "10.00", ""),
        ("svhn", "20.00", ""),
    ]
    assert [line["cells of"] for line in found["AmoebaNet-A"]] == ["published"] and len(found) == len(CONAS_TABLE2)
    (line,) = lines(table1, search, *runs)["CoNAS (t = 1)"]
    assert (line["images"], line["test error (%)"]) == ("cifar10", "3.00")


def test_randomly_wired_cells_one_by_one_and_together(tmp_path):
    search = conas(tmp_path / "search", A, B, stages=4)
    runs = [write_training(tmp_path / "own", A, 97.0), write_training(tmp_path / "sampled", B, 96.0)]
    (runs[1] / "genotype.json").write_text(json.dumps({"genotype": B}))
    for seed, (cell, accuracies) in enumerate([(D, (90.0, 92.0)), (C, (95.0,))]):
        for repeat, accuracy in enumerate(accuracies):
            run = write_training(tmp_path / f"{seed}{repeat}", cell, accuracy, seed=repeat, arch=f"random_wired:{seed}")
            (run / "genotype.json").write_text(json.dumps({"genotype": cell}))
            runs.append(run)
    found = lines(table5, *runs, search)
    names = [row.name for row in CONAS_TABLE5]
    assert list(found) == [*names, "random_wired:0", "random_wired:1", "randomly wired", "CoNAS (t = 4)"]
    assert found[names[1]][0]["paper: edges"] == "35" and found[names[1]][0]["edges"] == ""
    told = {name: (line["edges"], line["test error (%)"], line["n"]) for name, (line, *_) in found.items()}
    assert told["random_wired:0"] == ("4", "9.00 ± 1.41", "2") and told["random_wired:1"] == ("2", "5.00", "1")
    assert told["randomly wired"] == ("3", "7.00 ± 2.83", "3")  # over the means of two cells
    assert told["CoNAS (t = 4)"] == ("", "3.00", "1")  # its folder does not hold the cell
    sampled = found["CoNAS (t = 4)"][1]
    assert sampled["cells of"] == "best sampled of CoNAS (t = 4)" and sampled["edges"] == "4"


def test_a_cell_that_is_another_one(tmp_path):
    run = write_training(tmp_path / "run", A, 90.0, arch="random_wired:0")
    (run / "genotype.json").write_text(json.dumps({"genotype": B}))
    words = rf"run cannot be read \(genotype.json is of {hash_of(B)}, result.json of {hash_of(A)}\)"
    with pytest.raises(UserError, match=words):
        lines(table5, run)


def test_a_damaged_best_sampled(tmp_path):
    search = conas(tmp_path / "search", A, B)
    (search / "best_sampled.json").write_text("{")
    with pytest.raises(UserError, match=r"search cannot be read \(best_sampled.json: Expecting"):
        lines(table1, search)

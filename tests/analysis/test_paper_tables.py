"""Tables 3 and 4: the paper's lines stay, and the runs stand beside those they belong to."""

import json

import pytest
from run_folders import cells, write_rows, write_search, write_training

from isnas.analysis.paper_figures import TABLE1, TABLE3, TABLE4
from isnas.analysis.paper_tables import PaperTableOptions, table3, table4
from isnas.space.cells.published import published

A, B = (cells([f"{name}:0", "skip_connect:1"]) for name in ("skip_connect", "max_pool_3x3"))
ONE_STAGE = cells(["skip_connect:0", "skip_connect:1"], extra_bn="all")


def lines(report):
    """Cells of the lines by the method, of every line a dictionary."""
    (table,) = report.tables
    found = {}
    for row in table.rows:
        found.setdefault(row[0], []).append(dict(zip(table.header, row)))
    return found


def of(table, *folders):
    return lines(table(PaperTableOptions(runs=tuple(map(str, folders)))))


def test_without_runs_the_papers_lines_alone():
    for table, rows in ((table3, TABLE3), (table4, TABLE4)):
        found = of(table)
        assert list(found) == [row.name for row in rows]
        assert all(line["cells of"] == "not run" and line["images"] == "" for (line,) in found.values())
    assert of(table3)["Two-stage ISTA-NAS + cutout"][0]["paper: test error (%)"] == "2.54 ± 0.05"
    assert of(table4)["One-stage ISTA-NAS (ImgNet)"][0]["paper: FLOPs (M)"] == "638"


def test_several_cells_of_a_search_and_one(tmp_path):
    passes = {"cost/image_passes": 2e6}
    searches = [
        write_search(tmp_path / f"s{i}", [c], c, seed=i, hours=i + 1.0, rows=passes) for i, c in enumerate((A, B))
    ]
    trainings = [write_training(tmp_path / f"t{i}", A, accuracy, seed=i) for i, accuracy in enumerate((90.0, 92.0))]
    other = write_training(tmp_path / "other", B, 95.0)
    (line,) = of(table3, *searches, *trainings, other)["Two-stage ISTA-NAS + cutout"]
    # the cells' means are 9 and 5: mean 7, deviation sqrt(8); searches of 2 and 4 hours, what was found included
    assert (line["test error (%)"], line["cells"], line["n"]) == ("7.00 ± 2.83", "2", "3")
    assert (line["search (h)"], line["training (h)"], line["image passes"]) == ("3", "2", "2e+06")
    assert (line["images"], line["network"]) == ("digits", "8 cells, C = 16, cutout")
    (line,) = of(table3, searches[0], *trainings)["Two-stage ISTA-NAS + cutout"]
    assert (line["test error (%)"], line["cells"], line["search (h)"]) == ("9.00 ± 1.41", "1", "2")


def test_each_run_stands_where_it_belongs(tmp_path):
    darts = write_search(tmp_path / "darts", [A], A, method="darts", unrolled=True)
    first = write_search(tmp_path / "first", [B], B, method="darts", unrolled=False)
    trained = [write_training(tmp_path / f"t{i}", cell, 90.0) for i, cell in enumerate((A, B))]
    cell = published("PC_DARTS_cifar").genotype
    known = write_training(tmp_path / "known", cell.hash(), 91.0, arch="PC_DARTS_cifar")
    random = [write_training(tmp_path / f"r{i}", f"{i:012x}", 80.0 + i, arch=f"random_distinct:{i}") for i in range(3)]
    found = of(table3, darts, first, *trained, known, *random)
    assert found["DARTS (2nd order) + cutout"][0]["cells of"] == "DARTS (2nd order)"
    assert found["PC-DARTS + cutout"][0]["cells of"] == "published"
    assert found["PC-DARTS + cutout"][0]["search (h)"] == ""
    assert [*found][-2:] == ["DARTS (1st order)", "Random cells, distinct inputs"]
    (line,) = found["Random cells, distinct inputs"]
    assert (line["test error (%)"], line["cells"], line["paper: params (M)"]) == ("19.00 ± 1.00", "3", "")


def test_a_chain_is_the_one_that_its_search_found(tmp_path):
    chain = {"chain": [["k3_e3", "skip"], ["k5_e6"]], "extra_bn": "none"}
    search = write_search(tmp_path / "search", [chain], chain, space="chain")
    rows = [json.loads(line) for line in (search / "genotypes.jsonl").read_text().splitlines()]
    write_rows(search / "genotypes.jsonl", [{**row, "hash": None} for row in rows])  # not of every method's rows
    (line,) = of(table3, search, write_training(tmp_path / "t", chain, 90.0, widths="digits"))[
        "Two-stage ISTA-NAS + cutout"
    ]
    assert (line["cells of"], line["network"]) == ("Two-stage ISTA-NAS", "a chain, widths digits, cutout")


def test_a_cell_that_two_searches_found_counts_for_both(tmp_path):
    few = write_search(tmp_path / "few", [A], A, batch_size=64, hours=1.0)
    many = write_search(tmp_path / "many", [A], A, batch_size=256, hours=2.0)
    other = write_search(tmp_path / "other", [A], A, method="pc_darts")
    found = of(table3, few, many, other, write_training(tmp_path / "t", A, 90.0))
    assert [(line["cells of"], line["n"], line["search (h)"]) for line in found["Two-stage ISTA-NAS + cutout"]] == [
        ("Two-stage ISTA-NAS, batch_size 64", "1", "2"),
        ("Two-stage ISTA-NAS, batch_size 256", "1", "4"),
    ]
    assert found["PC-DARTS + cutout"][0]["cells of"] == "PC-DARTS"


def test_a_one_stage_run_and_the_trainings_of_its_cell_stand_together(tmp_path):
    own = write_search(tmp_path / "own", [ONE_STAGE], ONE_STAGE, method="one_stage")
    write_training(tmp_path / "result", ONE_STAGE, 96.0, arch="one-stage", method="one_stage", epsilon=1e-3)
    (tmp_path / "result/result.json").rename(own / "result.json")
    same = write_training(tmp_path / "same", ONE_STAGE, 94.0, seed=1)
    otherwise = write_training(tmp_path / "otherwise", ONE_STAGE, 70.0, epochs=2)
    together, apart = of(table3, own, same, otherwise)["One-stage ISTA-NAS + cutout"]
    assert (together["test error (%)"], together["n"], together["search (h)"]) == ("5.00 ± 1.41", "2", "2")
    assert (apart["test error (%)"], apart["epochs"], apart["paper: params (M)"]) == ("30.00", "2", "")


def test_imagenet_has_a_table_of_its_own_without_extra_batch_normalisations(tmp_path):
    search = write_search(tmp_path / "s", [ONE_STAGE], ONE_STAGE, method="one_stage", dataset="cifar10")
    plain = cells(["skip_connect:0", "skip_connect:1"])
    moved = write_training(tmp_path / "moved", plain, 74.0, top5=92.0, dataset="imagenet")
    direct = write_training(
        tmp_path / "direct", published("ISTA_ImageNet").genotype.hash(), 75.0, arch="ISTA_ImageNet", dataset="imagenet"
    )
    found = of(table4, search, moved, direct)
    (line,) = found["One-stage ISTA-NAS (C-10)"]
    assert (line["top-1 (%)"], line["top-5 (%)"], line["cells of"]) == ("26.00", "8.00", "One-stage ISTA-NAS")
    (line,) = found["One-stage ISTA-NAS (ImgNet)"]
    assert (line["top-1 (%)"], line["top-5 (%)"], line["cells of"]) == ("25.00", "", "published")
    assert len(found) == len(TABLE4)
    assert all(line["cells of"] == "not run" for rows in of(table3, search, moved, direct).values() for line in rows)


@pytest.mark.parametrize(("rows", "count"), [(TABLE3, 12), (TABLE4, 13), (TABLE1, 5)])
def test_the_papers_tables_are_whole(rows, count):
    assert len(rows) == count

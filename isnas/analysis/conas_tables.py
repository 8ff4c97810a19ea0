"""Tables 1, 2 and 5 of CoNAS: the paper's lines, and beside them what runs of this project came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import mean

from isnas.analysis.paper_figures import (
    CONAS_TABLE1,
    CONAS_TABLE1_HEADER,
    CONAS_TABLE2,
    CONAS_TABLE2_HEADER,
    CONAS_TABLE5,
    CONAS_TABLE5_HEADER,
    FIVE_OPERATIONS,
    WIDE,
    PaperRow,
)
from isnas.analysis.paper_tables import (
    OURS,
    PaperTableOptions,
    Result,
    belongs,
    own_cells,
    own_header,
    result_values,
    results,
    side_by_side,
    test_error,
)
from isnas.analysis.reading import cannot_read, read_object
from isnas.analysis.report import Report
from isnas.analysis.search_runs import Runs, read_all
from isnas.analysis.tables import Table
from isnas.base.errors import UserError
from isnas.space.cells.genotype import genotype_from_json

TITLE1 = (
    f"Table 1 of CoNAS, CIFAR-10. {OURS} CoNAS's days are of a TITAN X and hold the measurements, and its errors are "
    "the best and the mean of five trainings. A cell of an earlier stage, and the best of stage 1, have the "
    "cost of the whole search beside them."
)
TITLE2 = (
    f"Table 2 of CoNAS: cells that were searched on one set of images and trained on another. {OURS} Errors of other "
    "methods are as CoNAS quotes them."
)
TITLE5 = (
    "Table 5 of CoNAS: cells in which each candidate is there with probability 1/4, trained on CIFAR-10, beside what "
    f"CoNAS found. `edges`: connections of both cells, those included that nodes without any are given. {OURS}"
)
#: What names a randomly wired cell after ``--arch``.
RANDOMLY_WIRED = "random_wired:"


def table1(options: PaperTableOptions) -> Report:
    """Table 1: trainings on the images on which the cell was searched, but ImageNet's, and of cells nobody searched."""
    found = [each for each in results(read_all(options.runs)) if each.images != "imagenet" and not each.transferred]
    columns = {"best error (%)": _best, "test error (%)": test_error}
    return side_by_side("conas_table1", TITLE1, CONAS_TABLE1, CONAS_TABLE1_HEADER, found, columns, _belongs)


def table2(options: PaperTableOptions) -> Report:
    """Table 2: trainings on other images than those on which the cell was searched."""
    found = [each for each in results(read_all(options.runs)) if each.images != "imagenet" and each.transferred]
    columns = {"test error (%)": test_error}
    return side_by_side("conas_table2", TITLE2, CONAS_TABLE2, CONAS_TABLE2_HEADER, found, columns, _belongs)


def table5(options: PaperTableOptions) -> Report:
    """Table 5: randomly wired cells, one by one and together, and what searches of CoNAS found."""
    runs = read_all(options.runs)
    edges = _edges(runs)
    columns = {
        "edges": lambda each: _mean_edges(each, edges),
        "best error (%)": _best,
        "test error (%)": test_error,
    }
    wired, searched = [], []
    for each in results(runs):
        if each.trainings[0].arch.startswith(RANDOMLY_WIRED):
            wired.append(each)
        elif each.origin.label.startswith("CoNAS (") and not each.transferred:
            searched.append(each)
    own = own_header(columns)
    rows = [[line.name, *line.figures, *[""] * len(own)] for line in CONAS_TABLE5]
    blank = [""] * len(CONAS_TABLE5_HEADER)
    for each in wired:
        by_cell = {row.hash: row.arch for row in each.trainings}
        parts = [_of_cell(each, name) for name in by_cell] if len(by_cell) > 1 else []
        rows += [[part.trainings[0].arch, *blank, *own_cells(part, columns)] for part in parts]
        rows.append(["randomly wired", *blank, *own_cells(each, columns)])
    rows += [[each.origin.label, *blank, *own_cells(each, columns)] for each in searched]
    header = ["cells", *(f"paper: {column}" for column in CONAS_TABLE5_HEADER), *own]
    values = {"paper": [asdict(line) for line in CONAS_TABLE5], "ours": result_values([*wired, *searched])}
    return Report.of([Table("conas_table5", TITLE5, header, rows)], values | {"edges": edges})


def _belongs(line: PaperRow, result: Result) -> bool:
    """As :func:`belongs`, and by what sets two lines of a method apart."""
    if result.origin.label.startswith("CoNAS") and (line.name == WIDE) != _is_wide(result):
        return False
    if result.origin.label.startswith("DARTS") and (line.name == FIVE_OPERATIONS) != _has_five_operations(result):
        return False
    return belongs(line, result)


def _is_wide(result: Result) -> bool:
    return result.trainings[0].settings.get("init_channels") == 60


def _has_five_operations(result: Result) -> bool:
    operations = [run.config.get("operations") for run in result.searches]
    return bool(operations) and all(isinstance(names, list) and len(names) == 5 for names in operations)


def _best(result: Result) -> str:
    errors = [row.test_error for row in result.trainings]
    return f"{min(errors):.2f}" if len(errors) > 1 else ""


def _of_cell(result: Result, name: str) -> Result:
    return replace(result, trainings=tuple(row for row in result.trainings if row.hash == name))


def _edges(runs: Runs) -> dict[str, int]:
    """The number of connections of the cells that were trained, by their hashes, where the runs have the cells.

    Raises:
        UserError: when a run has another cell than it says, or none that can be read.
    """
    edges = {}
    for folder, row in runs.trained.items():
        path = folder / "genotype.json"
        if row.is_one_stage or not path.exists():
            continue
        try:
            genotype = genotype_from_json(read_object(path).get("genotype"))
            if genotype.hash() != row.hash:
                raise ValueError(f"genotype.json is of {genotype.hash()}, result.json of {row.hash}")
        except (OSError, ValueError, UserError) as error:
            raise cannot_read(folder, error) from None
        edges[row.hash] = sum(map(len, genotype.normal + genotype.reduce))
    return edges


def _mean_edges(result: Result, edges: dict[str, int]) -> str:
    known: Sequence[int] = [edges[name] for name in {row.hash for row in result.trainings} if name in edges]
    return f"{mean(known):.4g}" if known else ""

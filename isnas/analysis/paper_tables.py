"""Tables of papers: their lines, and beside them what runs of this project came to; here Tables 3 and 4 of ISTA-NAS."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from isnas.analysis.options.paper_tables import PaperTableOptions
from isnas.analysis.paper_figures import CELLS, TABLE3, TABLE3_HEADER, TABLE4, TABLE4_HEADER, PaperRow
from isnas.analysis.report import Report
from isnas.analysis.search_runs import Runs, SearchRun, grouped, paper_name, read_all
from isnas.analysis.summary import EvaluationSummary
from isnas.analysis.tables import Table, with_spread
from isnas.space.cells.genotype import EXTRA_BN, Genotype
from isnas.space.cells.published import PUBLISHED

OURS = (
    "Columns `paper` are the paper's, the others of runs of this project, with what they trained on. A line of ours "
    "is of one way of training: with several cells, mean ± standard deviation over the cells of each one's mean, and "
    "with one, over its trainings. Multiply-adds are of convolutions and linear layers. An image pass is forward and "
    "backward of one image; time of a search in hours of all its processes together, of a one-stage run of search and "
    "training. `published`: cells of papers, whose search was not run here. `best sampled`: of what a search of CoNAS "
    "measured, the architecture of least loss, which a random search would keep; the cost is of the whole search."
)
TITLES = {
    "table3": f"Table 3 of ISTA-NAS, CIFAR-10; the paper's days are of a GTX 1080Ti. {OURS}",
    "table4": f"Table 4 of ISTA-NAS, ImageNet; the paper's days are of a GTX 1080Ti. {OURS}",
}


@dataclass(frozen=True)
class Origin:
    """What found a cell, by the paper's name, and on which images; ``search`` is its name among the runs.

    ``search`` is ``published`` for the cells of papers, and empty where it is not known what found a cell.
    ``best_sampled``: it is not what the search found, but what it measured with the least loss.
    """

    label: str
    searched_on: str | None
    search: str
    best_sampled: bool = False


@dataclass(frozen=True)
class Result:
    """Trainings of the cells of one method in one way; ``searches`` are those that found them, among the runs."""

    origin: Origin
    trainings: tuple[EvaluationSummary, ...]
    searches: tuple[SearchRun, ...]

    @property
    def transferred(self) -> bool:
        """Whether the cells were searched on other images."""
        return self.origin.searched_on not in (None, self.trainings[0].settings["dataset"])

    def spread(self, of: Callable[[EvaluationSummary], float | None]) -> str:
        """Mean and deviation over the cells, each by its mean, or over the trainings of the one cell."""
        by_cell: dict[str, list[float]] = {}
        for row in self.trainings:
            if (value := of(row)) is not None:
                by_cell.setdefault(row.hash, []).append(value)
        only = next(iter(by_cell.values()), [])
        return with_spread([mean(values) for values in by_cell.values()] if len(by_cell) > 1 else only)

    @property
    def images(self) -> str:
        """What the cells were trained on."""
        return str(self.trainings[0].settings["dataset"])


#: Columns of figures of a result, by their headers.
Columns = Mapping[str, Callable[[Result], str]]


def test_error(result: Result) -> str:
    """Test error (%) after the last epoch."""
    return result.spread(lambda row: row.test_error)


def _top5_error(result: Result) -> str:
    return result.spread(lambda row: None if row.test_acc_top5 is None else 100.0 - row.test_acc_top5)


def belongs(line: PaperRow, result: Result) -> bool:
    """Whether a result stands beside a line of the paper: of the same method, and transferred where that is."""
    return result.origin.label == line.label and line.transferred in (None, result.transferred)


def table3(options: PaperTableOptions) -> Report:
    """Table 3: images of any kind but ImageNet's."""
    found = [each for each in results(read_all(options.runs)) if each.images != "imagenet"]
    return side_by_side("table3", TITLES["table3"], TABLE3, TABLE3_HEADER, found, {"test error (%)": test_error})


def table4(options: PaperTableOptions) -> Report:
    """Table 4: ImageNet."""
    found = [each for each in results(read_all(options.runs)) if each.images == "imagenet"]
    columns = {"top-1 (%)": test_error, "top-5 (%)": _top5_error}
    return side_by_side("table4", TITLES["table4"], TABLE4, TABLE4_HEADER, found, columns)


def results(runs: Runs) -> list[Result]:
    """The trainings among the runs, by what found their cells and by how they were trained.

    A one-stage run and the trainings of its cell in the same way stand together, as the paper has them.
    """
    names = {run.folder: name for name, found in grouped(runs.searches).items() for run in found}
    origins = _origins(runs, names)
    found_by = {each.folder: each for each in runs.searches}
    networks = [folder for folder, row in runs.trained.items() if row.is_one_stage]
    groups: dict[tuple[Origin, str], tuple[list[EvaluationSummary], list[SearchRun]]] = {}
    for folder, row in runs.trained.items():
        one = folder if row.is_one_stage else next((at for at in networks if row.repeats(runs.trained[at])), None)
        if one is not None:
            way, known = runs.trained[one].settings, {_origin(found_by[one], names): [found_by[one]]}
        else:
            way, known = row.settings, origins.get(row.hash) or {Origin(_unknown(row.arch), None, ""): []}
        for origin, found in known.items():
            trainings, searches = groups.setdefault((origin, json.dumps(way, sort_keys=True)), ([], []))
            trainings.append(row)
            searches += [run for run in found if run not in searches]
    return [Result(key[0], tuple(rows), tuple(searches)) for key, (rows, searches) in groups.items()]


def _origins(runs: Runs, names: dict[Path, str]) -> dict[str, dict[Origin, list[SearchRun]]]:
    """What found the architectures of the searches, and of papers where no search did, by their hashes.

    Of cells they are those with extra batch normalisations and without: ImageNet's networks have none.
    """
    searched: dict[str, dict[Origin, list[SearchRun]]] = {}
    for run in runs.searches:
        if run.found:
            for name in hashes(run.found.genotype) if run.found.genotype else [run.found.hash]:
                searched.setdefault(name, {}).setdefault(_origin(run, names), []).append(run)
        for name, architecture in run.beside.items():
            assert architecture.genotype
            for hashed in hashes(architecture.genotype):
                searched.setdefault(hashed, {}).setdefault(_origin(run, names, name), []).append(run)
    published: dict[str, dict[Origin, list[SearchRun]]] = {}
    for name, (label, images) in CELLS.items():
        origin = Origin(label, images, "published")
        published |= {hashed: {origin: []} for hashed in hashes(PUBLISHED[name].genotype)}
    return published | searched


def _origin(run: SearchRun, names: dict[Path, str], beside: str = "") -> Origin:
    """Of what a search found, or of what it keeps ``beside``."""
    label, images, search = paper_name(run.config), str(run.config["dataset"]), names[run.folder]
    if beside == "best_sampled":
        return Origin(label, images, f"best sampled of {search}", best_sampled=True)
    if beside:
        stage = beside.removeprefix("stage_")
        return Origin(paper_name({**run.config, "stages": stage}), images, f"stage {stage} of {search}")
    return Origin(label, images, search)


def hashes(genotype: Genotype) -> list[str]:
    """Those of the cells with every kind of extra batch normalisations, which a network may have or not."""
    return [replace(genotype, extra_bn=kind).hash() for kind in EXTRA_BN]


def _unknown(arch: str) -> str:
    named = {"random": "Random cells", "random_distinct": "Random cells, distinct inputs"}
    named |= {"random_wired": "Randomly wired cells"}
    kind = arch.partition(":")[0]
    return named.get(kind, arch if "(" not in arch else "a cell of unknown origin")


def side_by_side(
    name: str,
    title: str,
    lines: Sequence[PaperRow],
    header: Sequence[str],
    found: Sequence[Result],
    columns: Columns,
    belongs: Callable[[PaperRow, Result], bool] = belongs,
) -> Report:
    """The table of the paper's lines with the results beside the first line that each belongs to, the others below.

    ``header``: of the paper's figures; ``columns``: of ours, beside those that every table has. Of one line's results,
    those of the cells that searches found come first.
    """
    own = own_header(columns)
    rows, rest = [], list(found)
    for line in lines:
        mine = sorted((each for each in rest if belongs(line, each)), key=lambda each: each.origin.best_sampled)
        rest = [each for each in rest if each not in mine]
        ours = [own_cells(each, columns) for each in mine]
        if not mine or mine[0].origin.best_sampled:
            ours.insert(0, ["not run", *[""] * (len(own) - 1)])
        for number, cells in enumerate(ours):
            rows.append([line.name, *(line.figures if not number else [""] * len(line.figures)), *cells])
    for each in rest:
        rows.append([each.origin.label, *[""] * len(header), *own_cells(each, columns)])
    table = Table(name, title, ["method", *(f"paper: {column}" for column in header), *own], rows)
    return Report.of([table], {"paper": [asdict(line) for line in lines], "ours": result_values(found)})


def own_header(columns: Columns) -> list[str]:
    """The headers of :func:`own_cells`."""
    own = ["cells of", "images", "network", "epochs", "cells", "n", *columns, "params (M)", "multiply-adds (M)"]
    return [*own, "search (h)", "image passes", "training (h)"]


def own_cells(result: Result, columns: Columns) -> list[str]:
    """What a table says of a result: where it comes from, the ``columns``, sizes and costs."""
    first = result.trainings[0]
    passes = [run.image_passes for run in result.searches if run.image_passes is not None]
    plain = [row.seconds for row in result.trainings if not row.is_one_stage]
    return [
        result.origin.search or "random or unknown",
        *(result.images, _network(first.settings), str(first.epochs)),
        *(str(len({row.hash for row in result.trainings})), str(len(result.trainings))),
        *(column(result) for column in columns.values()),
        f"{mean(row.params_millions for row in result.trainings):.3g}",
        f"{mean(row.multiply_adds_millions for row in result.trainings):.4g}",
        _hours([run.seconds * run.processes for run in result.searches]),
        f"{mean(passes):.3g}" if passes else "",
        _hours(plain),
    ]


def result_values(found: Sequence[Result]) -> list[dict[str, Any]]:
    """The results as plain values."""
    return [
        {"origin": asdict(each.origin), "trainings": [asdict(row) for row in each.trainings]}
        | {"searches": [{"seconds": run.seconds, "image_passes": run.image_passes} for run in each.searches]}
        for each in found
    ]


def _network(settings: dict[str, Any]) -> str:
    cells = f"{settings.get('layers')} cells, C = {settings.get('init_channels')}"
    words = [f"a chain, widths {settings['widths']}" if "widths" in settings else cells]
    return ", ".join([*words, *(name for name in ("cutout", "auxiliary") if settings.get(name) is True)])


def _hours(seconds: Sequence[float]) -> str:
    return f"{mean(seconds) / 3600:.3g}" if seconds else ""

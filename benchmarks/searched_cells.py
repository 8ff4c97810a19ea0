"""What three searches find in the full space on Fashion-MNIST, against random cells, each trained with one budget.

Two-stage search as in the paper, the same after a warm-up of W on uniform supports, and sampled recovery, each with the
cost of four trainings; what they find and random cells are trained by tools/evaluate.py
(configs/smoke/fashion_mnist_evaluate.yaml), some five hours on one core. The first seeds of all come first, so that a
part tells something. Every search and training is a row of a file (--rows) when it is done; stopped anywhere, the same
command goes on, also where the file has come alone. With --read only what is there is shown.
"""

import argparse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations, product
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import yaml
from common import TINY_RUN, as_flags, make_runs_parser, run_tool, write_figures

from isnas.analysis.search_runs import read_all, read_search
from isnas.analysis.tables import with_spread
from isnas.analysis.tabulated.rows import RowFile, made_here
from isnas.base.errors import UserError
from isnas.base.errors import run_tool as run_main
from isnas.base.files import markdown_table, write_json

#: Cost of a search in trainings of a cell.
TRAININGS = 4
#: Super-net and images are those of the training, but C is what papers halve for the search.
SEARCH: dict[str, Any] = {"init_channels": 4, "batch_size": 64, "learning_rate": 0.025}
SEARCHES: dict[str, dict[str, Any]] = {
    "two-stage": {"method": "two_stage"},
    "two-stage, W warmed up": {"method": "two_stage", "uniform_epochs": None},
    "sampled recovery": {"method": "sampled_recovery"},
}
RANDOM = "random"
FREE = ["--threads", "1"]


def main(argv: list[str]) -> None:
    parser = make_runs_parser(__doc__, "searched_cells", "fashion_mnist_evaluate.yaml")
    parser.add_argument("--rows", type=Path, help="what is done, a line each (default: rows.jsonl in --folder)")
    parser.add_argument("--random", type=int, default=8, help="random cells")
    parser.add_argument("--read", action="store_true", help="run nothing")
    arguments = parser.parse_args(argv)
    if min(arguments.jobs, arguments.random, *arguments.seeds) < 0 or not arguments.jobs:
        raise UserError("--jobs must be 1 or more, --random and --seeds 0 or more")
    arguments.seeds = sorted(set(arguments.seeds))
    training = yaml.safe_load(arguments.config.read_text())
    if arguments.quick:
        training |= TINY_RUN | {"auxiliary": False}
        arguments.seeds, arguments.random, arguments.jobs = [0], 2, 1
    settings = {"trainings": TRAININGS, "search": SEARCH, "searches": SEARCHES, "training": training}
    path = arguments.rows or arguments.folder / "rows.jsonl"
    if arguments.read and not path.exists():
        raise UserError(f"there is no file {path}; give --rows, or leave --read out")
    file = RowFile(path, settings | made_here(), tuple(settings))
    if not arguments.read:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for last in arguments.seeds:
                done = {(row["name"], row["number"]) for row in file.rows if "genotype" in row}
                missing = [(name, last) for name in SEARCHES if (name, last) not in done]
                for row in pool.map(lambda task: search(arguments, training, *task), missing):
                    file.append(row)
                genotypes = {(row["name"], row["number"]): row["genotype"] for row in file.rows if "genotype" in row}
                tested = {Task(row["name"], row["number"], row["seed"]) for row in file.rows if "seed" in row}
                wanted = [task for task in tasks(arguments) if newest(task) == last and task not in tested]
                for row in pool.map(partial(train, arguments, training, genotypes), wanted):
                    file.append(row)
    print(table([row for row in file.rows if "seed" in row]))
    write_figures(arguments.output, settings | {"runs": file.rows})


class Task(NamedTuple):
    """The training, with a seed, of what the search ``name`` finds with the seed ``number``, or of a random cell."""

    name: str
    number: int
    seed: int


def tasks(arguments: argparse.Namespace) -> list[Task]:
    """All trainings."""
    found = [(name, number) for number in arguments.seeds for name in SEARCHES]
    cells = [*found, *((RANDOM, number) for number in range(arguments.random))]
    return [Task(*cell, seed) for seed, cell in product(arguments.seeds, cells)]


def newest(task: Task) -> int:
    """The latest seed that a training needs."""
    return task.seed if task.name == RANDOM else max(task.number, task.seed)


def folder_of(root: Path, name: str, number: int) -> Path:
    """Where a search is; the trainings of what it finds are beside it."""
    return root / f"{'-'.join(name.replace(',', '').lower().split())}-{number}"


def trained_folder(root: Path, task: Task) -> Path:
    """Where a training is."""
    folder = folder_of(root, task.name, task.number)
    return folder.with_name(f"{folder.name}-trained-{task.seed}")


def search(arguments: argparse.Namespace, training: dict[str, Any], name: str, seed: int) -> dict[str, Any]:
    """The row of one search, with the images of the training."""
    images = {key: training[key] for key in ("dataset", "image_size", "max_train_images", "layers")}
    passes = TRAININGS * training["epochs"] * training["max_train_images"]
    values = images | SEARCH | SEARCHES[name] | {"seed": seed, "budget": passes}
    if "uniform_epochs" in values:  # a third of the passes, over half of the images
        values["uniform_epochs"] = round(2 / 3 * TRAININGS * training["epochs"])
    if arguments.quick:
        values["batch_size"] = TINY_RUN["batch_size"]
    folder = folder_of(arguments.folder, name, seed)
    run_tool("train_search.py", folder, as_flags(values), FREE, ["genotype.json"], arguments.quick)
    done = read_search(folder)
    assert done and done.found and done.found.genotype
    figures = {"passes": done.image_passes, "seconds": round(done.seconds, 1)}
    return {"name": name, "number": seed, "genotype": done.found.genotype.to_json(), **figures}


def train(
    arguments: argparse.Namespace, training: dict[str, Any], genotypes: Mapping[tuple[str, int], Any], task: Task
) -> dict[str, Any]:
    """The row of one training, of what a search has found or of a random cell."""
    folder = trained_folder(arguments.folder, task)
    arch = f"random:{task.number}"
    if task.name != RANDOM:
        arch = str(folder_of(arguments.folder, task.name, task.number).with_suffix(".json"))
        write_json(Path(arch), genotypes[task.name, task.number])
    flags = [*as_flags(training | {"seed": task.seed}), "--arch", arch]
    run_tool("evaluate.py", folder, flags, FREE, ["result.json"], arguments.quick)
    ((_, result),) = read_all([str(folder)]).trained.items()
    figures = {"hash": result.hash, "test_error": result.test_error, "params_millions": result.params_millions}
    return {**task._asdict(), **figures, "seconds": round(result.seconds, 1)}


def by_cell(rows: list[dict[str, Any]], name: str) -> list[list[float]]:
    """Of every cell of a search, or random one, the test errors (percent) of its trainings."""
    own = [row for row in rows if row["name"] == name]
    numbers = dict.fromkeys(row["number"] for row in own)
    return [[row["test_error"] for row in own if row["number"] == number] for number in numbers]


def best_of_random(cells: list[list[float]], count: int) -> float:
    """Mean error of the best of ``count`` random cells, exactly, over all that there are.

    The best is that of the least error in one training, and its error that in the others, if there are others.
    """
    errors = []
    for drawn in combinations(cells, count):
        for seed in range(min(map(len, drawn))):
            best = min(drawn, key=lambda cell: cell[seed])
            others = [error for place, error in enumerate(best) if place != seed]
            errors.append(mean(others or best))
    return mean(errors)


def table(rows: list[dict[str, Any]]) -> str:
    """A line per search, one of the random cells, and one of the best of as many as a search costs."""
    header = ["cells of", "cells", "trainings", "test error (%)", "of each cell", "parameters"]
    lines = []
    for name in (*SEARCHES, RANDOM):
        cells = by_cell(rows, name)
        if cells:
            means = [mean(cell) for cell in cells]
            size = mean(row["params_millions"] for row in rows if row["name"] == name)
            shown = ", ".join(f"{error:.2f}" for error in means)
            line = [name, str(len(cells)), str(sum(map(len, cells))), with_spread(means, 2), shown]
            lines.append([*line, f"{1e3 * size:.1f} k"])
    cells = by_cell(rows, RANDOM)
    if len(cells) >= TRAININGS:
        lines.append([f"best of {TRAININGS} random", "", "", f"{best_of_random(cells, TRAININGS):.2f}", "", ""])
    return markdown_table(header, lines)


if __name__ == "__main__":
    run_main(main)

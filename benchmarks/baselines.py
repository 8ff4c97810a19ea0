"""All searches at equal cost in image passes, on reduced Fashion-MNIST, and what the cells are worth that they find.

Every method of tools/train_search.py gets the same ``--budget``, which decides its epochs (random search: how many
architectures it trains); each cell is then trained by tools/evaluate.py with one small budget, and so are as many
random cells, which nothing was spent on. Stopped anywhere, the same command goes on.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from common import TINY_RUN, as_flags, make_runs_parser, run_tool, write_figures

from isnas.analysis.search_runs import SearchRun, read_all
from isnas.analysis.tables import with_spread
from isnas.base.files import markdown_table
from isnas.draw.lines import Line, LinePanel, draw_lines

BUDGET, TRAINING_EPOCHS = 32_000, 10
WS = {"samples": 50, "sample_batches": 2, "finalists": 2}
#: By name: the method and its options where they are not the papers'.
METHODS: dict[str, dict[str, Any]] = {
    "ISTA-NAS, two-stage": {"method": "two_stage"},
    "DARTS, first order": {"method": "darts"},
    "DARTS, second order": {"method": "darts", "unrolled": True},
    "PC-DARTS": {"method": "pc_darts", "arch_start_epoch": 3},
    "random search, shared weights": {"method": "random_ws"} | WS,
    "random search": {"method": "random", "epochs": 2},
}
NOTHING = "a random cell"
FREE = ["--threads", "1"]


def main() -> None:
    parser = make_runs_parser(__doc__, "baselines", "fashion_mnist_baselines.yaml")
    parser.add_argument("--budget", type=int, default=BUDGET, help="image passes of a search")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw accuracy against cost there")
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    training = config | {"epochs": TRAINING_EPOCHS, "drop_path_prob": 0.0}
    if arguments.quick:
        tiny = TINY_RUN | {"init_channels": 4}
        config, training = ({**part, **tiny} for part in (config, training))
        del config["epochs"]
        arguments.seeds, arguments.jobs, arguments.budget = [0], 1, 700
    tasks = [(name, seed) for name in (*METHODS, NOTHING) for seed in arguments.seeds]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for done in [pool.submit(run, arguments, config, training, *task) for task in tasks]:
            done.result()
    rows = [summary(arguments.folder, *task) for task in tasks]
    print(table(rows))
    write_figures(arguments.output, {"budget": arguments.budget, "settings": config, "runs": rows})
    if arguments.pictures:
        print(*draw(rows, arguments.pictures))


def folders(root: Path, name: str, seed: int) -> tuple[Path, Path]:
    """Where a search and the training of its cell are."""
    short = "-".join(name.replace(",", "").lower().split())
    return root / f"{short}-search-{seed}", root / f"{short}-trained-{seed}"


def run(arguments: argparse.Namespace, config: dict[str, Any], training: dict[str, Any], name: str, seed: int) -> None:
    """Search, then train what was found."""
    search, trained = folders(arguments.folder, name, seed)
    arch = f"random_distinct:{seed}"
    if name in METHODS:
        own = dict(METHODS[name])
        if arguments.quick:
            own |= {key: 1 for key in ("samples", "finalists", "epochs", "arch_start_epoch") if key in own}
        flags = as_flags(config | own | {"budget": arguments.budget, "seed": seed})
        run_tool("train_search.py", search, flags, FREE, ["genotype.json"], arguments.quick)
        arch = str(search)
    flags = [*as_flags(training | {"seed": seed}), "--arch", arch]
    run_tool("evaluate.py", trained, flags, FREE, ["result.json"], arguments.quick)


def summary(root: Path, name: str, seed: int) -> dict[str, Any]:
    """The figures of one search and of its cell, and the course of the search."""
    search, trained = folders(root, name, seed)
    ((_, result),) = read_all([str(trained)]).trained.items()
    row = {"name": name, "seed": seed, "hash": result.hash, "test_error": result.test_error}
    row |= {"params_millions": result.params_millions, "multiply_adds_millions": result.multiply_adds_millions}
    if name not in METHODS:
        return row
    (found,) = read_all([str(search)]).searches
    last = found.metrics[-1]
    row |= {"image_passes": found.image_passes, "seconds": found.seconds, "valid_acc": last["valid/acc"]}
    return row | {"peak_gib": last.get("memory/peak_gib"), "course": course(found)}


def course(found: SearchRun) -> list[list[float]]:
    """Image passes and validation accuracy (percent) after every epoch."""
    return [[row["cost/image_passes"], row["valid/acc"]] for row in found.metrics if not row.get("final")]


def table(rows: list[dict[str, Any]]) -> str:
    """A line per method."""
    header = ["search", "image passes", "seconds", "memory (GiB)", "super-net, valid acc (%)"]
    header += ["its cell, test error (%)", "of each seed", "parameters", "cells found"]
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        line = [name, *[""] * 4]
        if name in METHODS:
            passes, seconds = ([row[key] for row in own] for key in ("image_passes", "seconds"))
            line = [name, f"{mean(passes):,.0f}", f"{mean(seconds):.0f}"]
            line.append(f"{max(row['peak_gib'] or 0.0 for row in own):.2f}")
            line.append(with_spread([row["valid_acc"] for row in own], 1))
        errors = [row["test_error"] for row in own]
        line += [with_spread(errors, 1), ", ".join(f"{error:.1f}" for error in errors)]
        line.append(", ".join(f"{1e3 * row['params_millions']:.1f} k" for row in own))
        lines.append([*line, ", ".join(row["hash"][:6] for row in own)])
    return markdown_table(header, lines)


def draw(rows: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Validation accuracy of the super-net against image passes, and the cells' test errors against seconds."""
    searched = [row for row in rows if row["name"] in METHODS]
    courses, cells = [], []
    for name in METHODS:
        own = [row for row in searched if row["name"] == name]
        shortest = min(len(row["course"]) for row in own)
        x = [own[0]["course"][epoch][0] / 1e3 for epoch in range(shortest)]
        courses.append(Line(name, x, [mean(row["course"][epoch][1] for row in own) for epoch in range(shortest)]))
        seconds, errors = ([row[key] for row in own] for key in ("seconds", "test_error"))
        cells.append(Line(name, seconds, errors, points=True))
    panels = [
        LinePanel("what runs in the search", courses, "thousand image passes", "validation accuracy (%)"),
        LinePanel("the cells it finds, each seed", cells, "seconds of the search", "test error (%)"),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    return draw_lines(panels, folder, "baselines")


if __name__ == "__main__":
    main()

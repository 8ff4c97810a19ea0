"""One-stage against two-stage ISTA-NAS with the same number of image passes, on reduced Fashion-MNIST.

An image pass is one image going forward and backward once; in a two-stage search those of W's batches and of b's both
count. Per seed, tools/train_onestage.py runs first (configs/smoke/fashion_mnist_onestage.yaml): how long its search is
shows only then. Its epochs, of search and of training together, are then spent on tools/train_search.py and
tools/evaluate.py with the same images, sizes and rates, in two ways: with as long a search as one-stage's, and with the
share of the paper's settings (50 epochs of search, 600 of training). Stopped anywhere, the same command goes on.
"""

import argparse
import json
import math
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from common import TINY_RUN, as_flags, make_runs_parser, run_tool, write_figures

from isnas.base.files import markdown_table
from isnas.draw.curves import Panel, Series, draw_panels
from isnas.engine.records import read_rows

PAPER_SHARE = 50 / 650
ARMS = {"one-stage": "one-stage", "same": "two-stage, as long a search", "paper": "two-stage, short search"}
SHARED = ("dataset", "image_size", "max_train_images", "init_channels", "layers", "batch_size", "learning_rate")
OF_SEARCH, OF_TRAINING = ("arch_lr_schedule", "arch_learning_rate"), ("drop_path_prob",)
FREE = ["--threads", "1"]


def main() -> None:
    parser = make_runs_parser(__doc__, "one_vs_two_stage", "fashion_mnist_onestage.yaml")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the curves there")
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    if arguments.quick:
        config |= TINY_RUN | {"max_search_epochs": 1}
        arguments.seeds, arguments.jobs = [0], 1
    with ThreadPoolExecutor(arguments.jobs) as pool:
        one_stage = {seed: pool.submit(run_one_stage, arguments, config, seed) for seed in arguments.seeds}
        tasks = [(seed, arm) for arm in ("same", "paper") for seed in arguments.seeds]
        two_stage = [pool.submit(run_two_stage, arguments, config, *task, one_stage[task[0]]) for task in tasks]
        for done in (*one_stage.values(), *two_stage):
            done.result()
    rows = [summary(arguments.folder, seed, arm, config) for arm in ARMS for seed in arguments.seeds]
    print(table(rows))
    write_figures(arguments.output, {"settings": config, "runs": rows})
    if arguments.pictures:
        print(*draw(rows, arguments.pictures))


def run_one_stage(arguments: argparse.Namespace, config: dict[str, Any], seed: int) -> int:
    """Search and train in one run; returns the epochs of its search."""
    folder = arguments.folder / f"one-stage-{seed}"
    run_tool("train_onestage.py", folder, as_flags(config | {"seed": seed}), FREE, ["result.json"], arguments.quick)
    return read(folder / "genotype.json")["search_epochs"]


def run_two_stage(
    arguments: argparse.Namespace, config: dict[str, Any], seed: int, arm: str, one_stage: Future[int]
) -> None:
    """Search, then train what was found, in as many epochs as one-stage took; waits for that run."""
    total = one_stage.result() + config["epochs"]
    search_epochs = one_stage.result() if arm == "same" else max(round(PAPER_SHARE * total), 1)

    def flags(names: tuple[str, ...], epochs: int) -> list[str]:
        return as_flags({name: config[name] for name in names if name in config} | {"epochs": epochs, "seed": seed})

    search, trained = (arguments.folder / f"{arm}-{part}-{seed}" for part in ("search", "trained"))
    run_tool(
        "train_search.py", search, flags(SHARED + OF_SEARCH, search_epochs), FREE, ["genotype.json"], arguments.quick
    )
    training = flags(SHARED + OF_TRAINING, total - search_epochs)
    run_tool("evaluate.py", trained, [*training, "--arch", str(search)], FREE, ["result.json"], arguments.quick)


def summary(root: Path, seed: int, arm: str, config: dict[str, Any]) -> dict[str, Any]:
    """The figures of one arm with one seed, and its course: a row per epoch."""
    names = (f"{arm}-{seed}",) if arm == "one-stage" else (f"{arm}-search-{seed}", f"{arm}-trained-{seed}")
    runs = [read_metrics(root / name) for name in names]
    result = read(root / names[-1] / "result.json")
    batch_size, course = config["batch_size"], []
    passes_before = 0
    for number, rows in enumerate(runs):
        search = arm != "one-stage" and number == 0
        images = batch_size * (2 if search else 1)  # a step of a two-stage search is one of W and one of b
        for row in rows:
            searching = search or bool(row.get("searching"))
            entry = {"image_passes": passes_before + images * row["step"], "searching": searching}
            entry |= {"test_acc": row.get("test/acc"), "valid_acc": row.get("valid/acc")}
            course.append(entry | {"distance": row.get("arch/distance") if searching else None})
        passes_before = course[-1]["image_passes"]
    search_epochs = sum(row["searching"] for row in course)
    figures = {
        "arm": arm,
        "seed": seed,
        "search_epochs": search_epochs,
        "training_epochs": len(course) - search_epochs,
        "image_passes": course[-1]["image_passes"],
        "seconds": sum(rows[-1]["time/seconds"] for rows in runs),
    }
    figures |= {key: result[key] for key in ("test_error", "params_millions", "multiply_adds_millions", "hash")}
    if arm == "one-stage":
        figures["all_terminated"] = read(root / names[0] / "genotype.json")["all_terminated"]
        figures["test_acc_when_fixed"] = course[search_epochs - 1]["test_acc"]
    return figures | {"course": course}


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics, one per epoch."""
    return [row for row in read_rows(folder / "metrics.jsonl") if not row.get("final")]


def table(rows: list[dict[str, Any]]) -> str:
    """A line per arm: each seed's epochs, mean and standard deviation of the error, and the sizes of the networks."""
    header = ["", "epochs of search + training", "image passes", "test error (%)", "of each seed", "parameters"]
    header.append("multiply-adds")
    lines = []
    for arm, label in ARMS.items():
        runs = [row for row in rows if row["arm"] == arm]
        errors = [row["test_error"] for row in runs]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        line = [label, ", ".join(f"{row['search_epochs']} + {row['training_epochs']}" for row in runs)]
        line += [", ".join(f"{row['image_passes']:,}" for row in runs), f"{mean(errors):.2f}{spread}"]
        line.append(", ".join(f"{error:.2f}" for error in errors))
        line.append(", ".join(f"{1e3 * row['params_millions']:.1f} k" for row in runs))
        line.append(", ".join(f"{row['multiply_adds_millions']:.2f} M" for row in runs))
        lines.append(line)
    return markdown_table(header, lines)


def draw(rows: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Test accuracy and the nodes' mean distance of z against image passes, a row of panels per seed."""
    seeds = sorted({row["seed"] for row in rows})
    panels = [panels_of(seed, {row["arm"]: row["course"] for row in rows if row["seed"] == seed}) for seed in seeds]
    return draw_panels(panels, folder, "one_vs_two_stage")


def panels_of(seed: int, courses: dict[str, list[dict[str, Any]]]) -> list[Panel]:
    """The panels of a seed; the dotted line is where the one-stage architecture was fixed."""
    passes = sorted({entry["image_passes"] for course in courses.values() for entry in course})
    x = [number / 1e3 for number in passes]
    fixed = max(entry["image_passes"] for entry in courses["one-stage"] if entry["searching"]) / 1e3

    def panel(title: str, key: str, **look: Any) -> Panel:
        series = []
        for arm, course in courses.items():
            values = {entry["image_passes"]: entry[key] for entry in course if entry[key]}
            series.append(Series(ARMS[arm], [values.get(number, math.nan) for number in passes]))
        return Panel(f"seed {seed}: {title}", x, series, xlabel="thousand image passes", mark=fixed, **look)

    accuracies = panel("test accuracy (%)", "test_acc", ylim=(60.0, 85.0))
    return [accuracies, panel("distance of z", "distance", log=True)]


if __name__ == "__main__":
    main()

"""CoNAS on reduced Fashion-MNIST: the cells after one stage and after two, and what they are to be held against.

One-shot training, then 300 measurements in each of two stages, with the running statistics of batch normalisation, as
the released code measures, and with those of the batch. Trained by tools/evaluate.py are the cells after each stage,
the best architecture measured, and random cells of as many connections. Stopped anywhere, the same command goes on.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from common import TINY_RUN, as_flags, make_runs_parser, run_tool, write_figures

from isnas.analysis.search_runs import read_all
from isnas.analysis.tables import with_spread
from isnas.base.files import markdown_table
from isnas.space.cells.genotype import CONAS_OPERATIONS, read_genotype

SEARCH: dict[str, Any] = {"method": "conas", "epochs": 20, "measurements": 300, "stages": 2, "measure_batches": 5}
TRAINING: dict[str, Any] = {"epochs": 10, "drop_path_prob": 0.0}
TINY: dict[str, Any] = {"measurements": 12, "monomials": 3}
STATISTICS = ("running", "batch")
CELLS = {
    "t1": "one stage",
    "t2": "two stages",
    "best": "best architecture measured",
    "random1": "random, as many connections as one stage's",
    "random2": "random, as many connections as two stages'",
}
FREE = ["--threads", "1"]


def main() -> None:
    parser = make_runs_parser(__doc__, "conas", "fashion_mnist_baselines.yaml")
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    search, training = config | SEARCH, config | TRAINING
    if arguments.quick:
        tiny = TINY_RUN | {"init_channels": 4}
        search, training = search | tiny | TINY, training | tiny
        arguments.seeds, arguments.jobs = [0], 1
    kinds = STATISTICS[: 1 if arguments.quick else None]
    tasks = [(statistics, seed) for seed in arguments.seeds for statistics in kinds]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for done in [pool.submit(run, arguments, search, training, *task) for task in tasks]:
            done.result()
    rows = [row for task in tasks for row in summary(arguments.folder, *task)]
    print(table(rows))
    write_figures(arguments.output, {"search": search, "training": training, "runs": rows})


def folder_of(root: Path, statistics: str, what: str, seed: int) -> Path:
    """Where a search or a training is."""
    return root / f"{statistics}-{what}-{seed}"


def run(
    arguments: argparse.Namespace, search: dict[str, Any], training: dict[str, Any], statistics: str, seed: int
) -> None:
    """Search, then train the cells."""
    found = folder_of(arguments.folder, statistics, "search", seed)
    flags = as_flags(search | {"measure_bn": statistics, "seed": seed})
    run_tool("train_search.py", found, flags, FREE, ["genotype.json"], arguments.quick)
    files = {"t1": found / "stage_1.json", "t2": found / "genotype.json", "best": found / "best_sampled.json"}
    archs = {name: [str(file)] for name, file in files.items()}
    for name, like in (("random1", "t1"), ("random2", "t2")):
        count = num_connections(files[like])
        archs[name] = [f"random_wired:{seed}:{count}", "--operations", *CONAS_OPERATIONS]
    for name, arch in archs.items():
        flags = [*as_flags(training | {"seed": seed}), "--arch", *arch]
        folder = folder_of(arguments.folder, statistics, name, seed)
        run_tool("evaluate.py", folder, flags, FREE, ["result.json"], arguments.quick)


def num_connections(file: Path) -> int:
    """Connections of both cells."""
    genotype = read_genotype(file)
    return sum(map(len, genotype.normal + genotype.reduce))


def summary(root: Path, statistics: str, seed: int) -> list[dict[str, Any]]:
    """The figures of a search, and of each of its cells."""
    (found,) = read_all([str(folder_of(root, statistics, "search", seed))]).searches
    last = found.metrics[-1]
    kept = ("loss_mean", "loss_std", "loss_best", "fixed_on", "fixed_off", "choice/loss")
    stages = {key: value for key, value in last.items() if key.endswith(kept)}
    shared = {"statistics": statistics, "seed": seed}
    rows = [shared | {"name": "search", "image_passes": found.image_passes, "seconds": found.seconds} | stages]
    for name in CELLS:
        folder = folder_of(root, statistics, name, seed)
        ((_, result),) = read_all([str(folder)]).trained.items()
        row = shared | {"name": name, "hash": result.hash, "test_error": result.test_error}
        row["connections"] = num_connections(folder / "genotype.json")
        row["params_millions"] = result.params_millions
        rows.append(row | {"multiply_adds_millions": result.multiply_adds_millions})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A line per kind of statistics and cell."""
    header = ["measured with", "cell", "test error (%)", "of each seed", "connections", "parameters", "multiply-adds"]
    lines = []
    for statistics in dict.fromkeys(row["statistics"] for row in rows):
        for name, words in CELLS.items():
            own = [row for row in rows if (row["statistics"], row["name"]) == (statistics, name)]
            errors = [row["test_error"] for row in own]
            lines.append(
                [
                    f"{statistics} statistics",
                    words,
                    with_spread(errors, 1),
                    ", ".join(f"{error:.1f}" for error in errors),
                    ", ".join(str(row["connections"]) for row in own),
                    f"{1e3 * mean(row['params_millions'] for row in own):.1f} k",
                    f"{mean(row['multiply_adds_millions'] for row in own):.2f} M",
                ]
            )
    return markdown_table(header, lines, num_words=2)


if __name__ == "__main__":
    main()

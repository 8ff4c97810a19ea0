"""Chains of equal multiply-adds on Fashion-MNIST: what two-stage search finds, random ones, and k3_e3 in all blocks.

The search has as its target the multiply-adds of the chain of k3_e3 alone, and the cost of four trainings, a quarter of
its epochs being W's warm-up; the random chains are the first ones within 5 % of the same number. All are trained by
tools/evaluate.py with one budget (configs/smoke/fashion_mnist_chain_evaluate.yaml), two seeds each: some 40 minutes of
one core. Stopped anywhere, the same command goes on; with --read only what is there is shown.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, islice
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from common import TINY_RUN, as_flags, make_runs_parser, run_tool, write_figures

from isnas.analysis.tables import with_spread
from isnas.base.files import markdown_table
from isnas.nets.count import count_built
from isnas.space.chain.genotype import read_genotype
from isnas.space.chain.resolve import random_genotype, uniform_genotype
from isnas.space.chain.space import ChainSpace

#: Cost of the search in trainings of a chain, and the share of its epochs that W has for itself.
TRAININGS, WARM_UP = 4, 0.25
PLAIN, FOUND, RANDOM = "all:k3_e3", "found", "random"
TOLERANCE = 0.05
FREE = ["--threads", "1"]


def main() -> None:
    parser = make_runs_parser(__doc__, "chains", "fashion_mnist_chain_evaluate.yaml")
    parser.add_argument("--random", type=int, default=3, help="random chains")
    parser.add_argument("--read", action="store_true", help="run nothing")
    parser.set_defaults(seeds=[0, 1])
    arguments = parser.parse_args()
    training = yaml.safe_load(arguments.config.read_text())
    if arguments.quick:
        training |= {
            key: TINY_RUN[key] for key in ("dataset", "image_size", "max_train_images", "batch_size", "epochs")
        }
        arguments.seeds, arguments.random, arguments.jobs = [0], 1, 1
    target = millions(uniform_genotype("k3_e3", ChainSpace(training["widths"])), training)
    chains = {PLAIN: PLAIN, FOUND: str(arguments.folder / "search")}
    chains |= {f"{RANDOM} {number}": arch for number, arch in enumerate(randoms(arguments.random, target, training), 1)}
    if not arguments.read:
        search(arguments, training, target)
        jobs = [partial(train, arguments, training, *task) for task in tasks(arguments, chains)]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for done in [pool.submit(job) for job in jobs]:
                done.result()
    rows = summary(arguments, chains)
    print(table(rows))
    write_figures(arguments.output, {"target_millions": target, "training": training, "runs": rows})


def millions(genotype: Any, training: dict[str, Any]) -> float:
    """Multiply-adds of a chain's network, on grey images of the training's size."""
    space, size = ChainSpace(training["widths"]), training["image_size"]
    build = partial(space.target_network, genotype, **space.derived_sizes, in_channels=1, num_classes=10)
    return count_built(build, 1, size).conv_linear_multiply_adds / 1e6


def randoms(number: int, target: float, training: dict[str, Any]) -> list[str]:
    """The names of the first random chains within 5 % of the target."""
    space = ChainSpace(training["widths"])
    near = (
        f"random:{seed}"
        for seed in count()
        if abs(millions(random_genotype(seed, space), training) / target - 1.0) <= TOLERANCE
    )
    return list(islice(near, number))


def search(arguments: argparse.Namespace, training: dict[str, Any], target: float) -> None:
    """The search, with the images of the training; half of them train W, so an epoch has half as many steps."""
    images = {key: training[key] for key in ("space", "widths", "dataset", "image_size", "max_train_images")}
    warm_up = max(1, round(WARM_UP * TRAININGS * training["epochs"]))
    passes = TRAININGS * training["epochs"] * training["max_train_images"]
    values = images | {"batch_size": training["batch_size"], "learning_rate": training["learning_rate"]}
    values |= {"method": "two_stage", "uniform_epochs": warm_up, "arch_lr_schedule": "cosine", "budget": passes}
    values |= {"target_macs": f"{target:.6f}"}
    run_tool("train_search.py", arguments.folder / "search", as_flags(values), FREE, ["genotype.json"], arguments.quick)


def tasks(arguments: argparse.Namespace, chains: dict[str, str]) -> list[tuple[str, str, int]]:
    """All trainings: name, architecture, seed."""
    return [(name, arch, seed) for seed in arguments.seeds for name, arch in chains.items()]


def folder_of(root: Path, name: str, seed: int) -> Path:
    """Where a training is."""
    return root / f"{name.replace(':', '-').replace(' ', '-')}-trained-{seed}"


def train(arguments: argparse.Namespace, training: dict[str, Any], name: str, arch: str, seed: int) -> None:
    """Train a chain."""
    flags = [*as_flags(training | {"seed": seed}), "--arch", arch]
    folder = folder_of(arguments.folder, name, seed)
    run_tool("evaluate.py", folder, flags, FREE, ["result.json"], arguments.quick)


def summary(arguments: argparse.Namespace, chains: dict[str, str]) -> list[dict[str, Any]]:
    """The figures of every training that is there."""
    rows = []
    for name, _, seed in tasks(arguments, chains):
        folder = folder_of(arguments.folder, name, seed)
        if (folder / "result.json").exists():
            result = json.loads((folder / "result.json").read_text())
            chain = " · ".join(" ".join(map("+".join, s)) for s in read_genotype(folder / "genotype.json").chain)
            kept = {key: result[key] for key in ("test_error", "params_millions", "multiply_adds_millions")}
            rows.append({"name": name, "seed": seed, "chain": chain} | kept)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A line per chain."""
    header = ["chain", "multiply-adds", "parameters", "test error (%)", "n", "blocks"]
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        errors, size = [row["test_error"] for row in own], mean(row["params_millions"] for row in own)
        counted = f"{own[0]['multiply_adds_millions']:.2f} M"
        lines.append([name, counted, f"{1e3 * size:.1f} k", with_spread(errors, 2), str(len(own)), own[0]["chain"]])
    return markdown_table(header, lines)


if __name__ == "__main__":
    main()

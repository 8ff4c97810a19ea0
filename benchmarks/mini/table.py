"""Trains the architectures of a tabulated benchmark, a network for each seed, and appends them to its table.

Architectures are trained in a fixed random order, so that those there are a uniform sample at any time. Stopped
anywhere, the same command goes on; a complete table is left as it is.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from isnas.analysis.tabulated.benchmarks import BENCHMARKS, Benchmark
from isnas.analysis.tabulated.table import TableFile, missing, row_of, table_path
from isnas.analysis.tabulated.training import Trainer, images_of
from isnas.base import preemption
from isnas.base.errors import UserError, run_tool
from isnas.engine.progress import progress
from isnas.engine.run import environment

_trainers: list[Trainer] = []  # of this process


def main(argv: list[str]) -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--count", type=int, help="how many architectures, of the random order; none: all")
    parser.add_argument("--jobs", type=int, default=1, help="architectures at a time, one thread each")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the table; none: the package's own")
    parser.add_argument("--quick", action="store_true", help="two architectures for an epoch, to see that it runs")
    arguments = parser.parse_args(argv)
    benchmark = BENCHMARKS[arguments.benchmark]
    count = len(benchmark.supports) if arguments.count is None else arguments.count
    if min(count, arguments.jobs) < 1:
        raise UserError("--count and --jobs must be 1 or more")
    if arguments.quick and not arguments.table:
        raise UserError("--quick makes a table that tells nothing; say where by --table FILE")
    if arguments.quick:
        benchmark, count = replace(benchmark, epochs=1), 2
    fill(benchmark, count, arguments.jobs, arguments.table or table_path(benchmark.name), arguments.quick)


def fill(benchmark: Benchmark, count: int, jobs: int, path: Path, quick: bool = False) -> None:
    """Train what is missing of the first ``count`` architectures."""
    dataset = images_of(benchmark)
    facts: dict[str, Any] = environment(torch.device("cpu"))
    facts = {key: facts[key] for key in ("packages", "processor", "commit")}
    digests = {"train_digest": dataset.train.digest, "test_digest": dataset.test.digest}
    command = f"python benchmarks/mini/table.py {benchmark.name}"
    marked = {"quick": True} if quick else {}
    table = TableFile(path, {"benchmark": benchmark.name, "command": command} | digests | facts | marked)
    cells = list(missing(benchmark.order, table.cells, count))
    with ProcessPoolExecutor(jobs, initializer=start, initargs=(benchmark,)) as pool:
        done = as_completed([pool.submit(train, cell) for cell in cells])
        try:
            for _ in progress(0, len(cells), benchmark.name):
                table.append(next(done).result())
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or what is submitted would be trained before this process ends
            raise
    print(f"{len(table.cells)} of {len(benchmark.supports)} architectures in {table.path}")


def start(benchmark: Benchmark) -> None:
    """Prepare a process of the pool."""
    preemption.end_with_parent()
    torch.set_num_threads(1)
    _trainers.append(Trainer(benchmark, images_of(benchmark)))


def train(cell: int) -> dict[str, Any]:
    """The row of an architecture."""
    (trainer,) = _trainers
    begin = time.perf_counter()
    results = trainer.train(trainer.benchmark.supports[cell], range(trainer.benchmark.seeds))
    seconds = time.perf_counter() - begin
    return row_of(cell, [each.loss for each in results], [each.acc for each in results], seconds)


if __name__ == "__main__":
    run_tool(main)

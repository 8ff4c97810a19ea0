"""Trains the architectures of a tabulated benchmark, a network for each seed, and appends them to its table.

Architectures are trained in a fixed random order, so that those there are a uniform sample at any time. Stopped
anywhere, the same command goes on; a complete table is left as it is.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from isnas.analysis.tabulated.benchmarks import BENCHMARKS, Benchmark
from isnas.analysis.tabulated.table import TableFile, missing, row_of, table_path
from isnas.analysis.tabulated.training import Trainer, images_of
from isnas.base.errors import UserError
from isnas.engine.progress import progress
from isnas.engine.run import environment

_trainers: list[Trainer] = []  # of this process


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--count", type=int, help="how many architectures, of the random order; none: all")
    parser.add_argument("--jobs", type=int, default=1, help="architectures at a time, one thread each")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the table; none: the package's own")
    arguments = parser.parse_args()
    benchmark = BENCHMARKS[arguments.benchmark]
    try:
        fill(benchmark, arguments.count or len(benchmark.supports), arguments.jobs, arguments.table)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def fill(benchmark: Benchmark, count: int, jobs: int, path: Path | None) -> None:
    """Train what is missing of the first ``count`` architectures."""
    dataset = images_of(benchmark)
    facts: dict[str, Any] = environment(torch.device("cpu"))
    facts = {key: facts[key] for key in ("packages", "processor", "commit")}
    digests = {"train_digest": dataset.train.digest, "test_digest": dataset.test.digest}
    command = f"python benchmarks/mini/table.py {benchmark.name}"
    table = TableFile(
        path or table_path(benchmark.name), {"benchmark": benchmark.name, "command": command} | digests | facts
    )
    cells = list(missing(benchmark.order, table.cells, count))
    with ProcessPoolExecutor(jobs, initializer=start, initargs=(benchmark,)) as pool:
        done = as_completed([pool.submit(train, cell) for cell in cells])
        for _ in progress(0, len(cells), benchmark.name):
            table.append(next(done).result())
    print(f"{len(table.cells)} of {len(benchmark.supports)} architectures in {table.path}")


def start(benchmark: Benchmark) -> None:
    """Prepare a process of the pool."""
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
    main()

"""Images per second of several ways of making batches: how they are timed, what is kept of them, how it is shown."""

import itertools
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isnas.base.files import write_text

#: What ``--output`` does, for its help text.
OUTPUT = "write the table, as JSON if FILE ends in .json"


class Way(NamedTuple):
    """Endless batches, how many are timed in a turn, and how many before that use up what workers have prepared."""

    batches: Iterator[Any]
    timed: int
    ahead: int


def rates_in_turn(ways: Mapping[str, Way], batch_size: int, turns: int, rest_seconds: float) -> dict[str, list[float]]:
    """Images per second of each way in each turn, after one that starts workers and touches memory.

    In the rest between two ways the workers that run ahead come to rest too.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            _take(way.batches, way.ahead)
            start = time.perf_counter()
            _take(way.batches, way.timed)
            if turn:
                rates[name].append(way.timed * batch_size / (time.perf_counter() - start))
            time.sleep(rest_seconds)
    return rates


def _take(batches: Iterator[Any], count: int) -> None:
    for _ in itertools.islice(batches, count):
        pass


def described(values: Sequence[float], ratio: float) -> dict[str, float]:
    """The figures of one way from its turns, beside its ratio to the one it is held against."""
    figures = {"images_per_second": statistics.median(values), "slowest": min(values), "fastest": max(values)}
    return {name: round(value) for name, value in figures.items()} | {"ratio": ratio}


def table(title: str, results: dict[str, dict[str, float]], digits: int) -> str:
    """A Markdown table of ways by name; ratios have so many digits."""
    lines = [f"| {title} | Images/s (median) | Slowest | Fastest | Ratio |", "|---|---:|---:|---:|---:|"]
    for name, row in results.items():
        figures = " | ".join(f"{row[key]:,}" for key in ("images_per_second", "slowest", "fastest"))
        lines.append(f"| {name} | {figures} | {row['ratio']:.{digits}f} |")
    return "\n".join(lines)


def report(results: dict[str, dict[str, float]], shown: str, output: Path | None) -> None:
    """Print what is shown and write it to ``output``, or the results as JSON when its name ends so."""
    print(shown)
    if output:
        write_text(output, (json.dumps(results, indent=2) if output.suffix == ".json" else shown) + "\n")

"""Images per second of several ways of making batches: what is kept of them, and how it is shown."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path


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
        output.write_text((json.dumps(results, indent=2) if output.suffix == ".json" else shown) + "\n")

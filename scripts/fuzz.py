#!/usr/bin/env python3
"""Tries many damaged and odd inputs on the readers; a table by kind, and the inputs that escaped in a folder.

python scripts/fuzz.py --deep 8000 --processes 2
python scripts/fuzz.py --target shards --seed 3 --number 17        # one input again, with its traceback
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT), str(ROOT / "tests")]

from fuzz.harness import ESCAPE, keep, made, outcomes  # noqa: E402
from fuzz.targets import TARGETS  # noqa: E402

from isnas.base.files import markdown_table  # noqa: E402

_BATCH = 500


def main():
    """Try them; exit code 1 when something has escaped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deep", type=int, default=1000, help="inputs for each target (default: 1000)")
    parser.add_argument("--target", choices=TARGETS, help="this one alone")
    parser.add_argument("--seed", type=int, default=1, help="draws the inputs (default: 1; the suite's is 0)")
    parser.add_argument("--number", type=int, help="only this input, here and now")
    parser.add_argument("--processes", type=int, default=1, help="targets at a time (default: 1)")
    parser.add_argument("--output", type=Path, default=Path("escapes"), help="folder for inputs that escaped")
    options = parser.parse_args()
    targets = [TARGETS[options.target]] if options.target else list(TARGETS.values())
    if options.number is not None:
        with tempfile.TemporaryDirectory() as folder:
            for target in targets:
                target.check(made(target, options.seed, options.number), Path(folder))
        return
    start = time.monotonic()
    for target in targets:
        made(target, options.seed, 0)  # before there are threads
    with ThreadPoolExecutor(options.processes) as pool:
        rows = list(pool.map(lambda target: tried(target, options), targets))
    counts = [sum(int(row[k]) for row in rows) for k in range(1, 5)]
    print(markdown_table(("reader", "inputs", "accepted", "refused", "escapes", "seconds"), rows))
    total, *_, escapes = counts
    print(f"\n{total:,} inputs in {time.monotonic() - start:.0f} s, {escapes} escapes")
    sys.exit(int(escapes > 0))


def tried(target, options):
    """The row of a target; what escapes is said at once and kept."""
    start, counts, kinds = time.monotonic(), Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, options.deep, _BATCH):
            numbers = range(first, min(first + _BATCH, options.deep))
            for number, kind, reason in outcomes(target, options.seed, numbers, Path(folder)):
                counts[kind] += 1
                kinds[reason] += 1
                if kind == ESCAPE and kinds[reason] <= 3:  # of a kind that is known three are enough
                    options.output.mkdir(parents=True, exist_ok=True)
                    keep(made(target, options.seed, number), options.output / f"{target.name}-{options.seed}-{number}")
                    print(f"{target.name} {options.seed} {number}: {ascii(reason)[1:-1]}", flush=True)
    numbers = (sum(counts.values()), counts["accepted"], counts["refused"], counts[ESCAPE])
    return [target.name, *map(str, numbers), f"{time.monotonic() - start:.0f}"]


if __name__ == "__main__":
    main()

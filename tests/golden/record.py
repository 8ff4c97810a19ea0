"""Does the golden runs and writes what came out into golden.json, as the entry of this environment.

PYTHONPATH=.:tests python tests/golden/record.py [NAME ...]       all runs, or those named

The entries of other environments stay. Prints what has changed, for the message of the commit.
"""

import json
import sys
import tempfile
from pathlib import Path

from fingerprints import environment, hashes, summary
from golden_runs import RUNS, perform

from isnas.base.files import markdown_table, write_json

TABLE = Path(__file__).with_name("golden.json")


def record(names, table):
    """Put the results of these runs into the table; by run and file, "new", "same" or "changed"."""
    entry, numbers = (table[kind].setdefault(environment(), {}) for kind in ("environments", "summaries"))
    news = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            run = perform(name, Path(folder))
            before, now = entry.get(name, {}), hashes(run)
            news[name] = {
                file: "new" if file not in before else "same" if before[file] == value else "changed"
                for file, value in now.items()
            }
            if before != now or name not in numbers:
                numbers[name] = summary(run)
        entry[name] = now
    return news


def main():
    names = sys.argv[1:] or list(RUNS)
    if unknown := set(names) - RUNS.keys():
        sys.exit(f"there is no run {', '.join(sorted(unknown))}; give of: {'; '.join(RUNS)}")
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"environments": {}, "summaries": {}}
    news = record(names, table)
    for runs in (*table["environments"].values(), *table["summaries"].values()):
        for name in runs.keys() - RUNS.keys():
            del runs[name]
    write_json(TABLE, table)
    files = sorted({file for row in news.values() for file in row})
    print(f"{environment()}\n")
    rows = [[name, *(row.get(file, "") for file in files)] for name, row in news.items()]
    print(markdown_table(["run", *files], rows, num_words=1 + len(files)))
    if any("changed" in row.values() for row in news.values()):
        for other in table["environments"].keys() - {environment()}:
            print(f"\nthe entry of {other!r} is of before the change: record it there, or remove it")


if __name__ == "__main__":
    main()

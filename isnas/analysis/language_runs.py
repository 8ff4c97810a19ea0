"""Runs on text, one or one for each seed, and the table of all: perplexities, and the search whose cell is the best."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from isnas.analysis.selection import copy_result
from isnas.analysis.tables import with_spread
from isnas.base.errors import UserError
from isnas.base.files import markdown_table, write_json, write_text
from isnas.base.text import read_json
from isnas.engine.language.options import MeasuringOptions
from isnas.engine.language.search import Method, search_language
from isnas.engine.language.trained import load_model
from isnas.engine.language.training import Model, train_language
from isnas.engine.next_commands import after_search, after_training
from isnas.engine.seeds import SeedRuns, in_order, run_seeds
from isnas.engine.trained import weights_file

#: A file of a run's is smaller than this.
_LARGEST_BYTES = 10_000_000


def search_text(kind: type[Method], options: MeasuringOptions) -> Path:
    """One search, or one per seed; the best has the least perplexity on the text that validates, in its super-net.

    Returns the run's folder, or that of them all.
    """
    run = partial(search_language, kind)
    if not options.seeds:
        return run(options)
    runs = run_seeds(options, "search", run, result="genotype.json")
    rows = _figures(runs, "genotype.json", ("valid_ppl",))
    if rows:
        best = min(rows, key=lambda name: rows[name]["valid_ppl"])
        copy_result(runs.finished[best], runs.group.folder / "best")
        _report(runs, rows)
        runs.group.log(f"best {best}: {runs.group.folder / 'best' / 'genotype.json'}")
    runs.close(after_search(runs.group.folder, options))
    return runs.group.folder


def train_text(kind: type[Model], options: Any) -> Path:
    """One training, or one per seed and the table of all; the folder, as above."""
    options = options.self_contained()
    run = partial(train_language, kind)
    if not options.seeds:
        return run(options)
    runs = run_seeds(options, "eval", run, result="result.json")
    rows = _figures(runs, "result.json", ("valid_ppl", "test_ppl"))
    if rows:
        _report(runs, rows)
    commands: list[str] = []
    with suppress(UserError):  # the weights may have been moved away since
        for folder in [runs.finished[run] for run in in_order(runs.finished)[:1]]:
            commands = after_training(folder, load_model(weights_file(folder)).vocabulary)
    runs.close(commands)
    return runs.group.folder


def _figures(runs: SeedRuns, name: str, keys: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """The figures of the runs that have ended, by name, but for those whose files are damaged, which have failed."""
    rows = {}
    for run in in_order(runs.finished):
        try:
            rows[run] = _numbers(runs.finished[run] / name, keys)
        except UserError as error:
            runs.failed[run] = f"{error}; remove {runs.finished[run]} to run it anew"
    return rows


def _numbers(path: Path, keys: tuple[str, ...]) -> dict[str, float]:
    try:
        content = read_json(path, _LARGEST_BYTES)
        values = {key: math.inf if content[key] is None else float(content[key]) for key in keys}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error})") from None
    if not all(map(math.isfinite, values.values())):
        raise UserError(f"{path} has figures that are not finite")
    return values


def _report(runs: SeedRuns, rows: dict[str, dict[str, float]]) -> None:
    keys = list(next(iter(rows.values())))
    lines = [[name, *(f"{row[key]:.2f}" for key in keys)] for name, row in rows.items()]
    lines.append(["mean", *(with_spread([row[key] for row in rows.values()], 2) for key in keys)])
    table = f"{markdown_table(['run', *keys], lines)}\n"
    write_text(runs.group.folder / "table.md", table)
    write_json(runs.group.folder / "seeds.json", {"runs": rows})
    for line in table.splitlines():
        runs.group.log(line)

"""A run folder as one page, report.html: what came out, how it went, what was found, how it was made.

The page is made of the files alone, so it is the same whenever it is made, and again when more files are there.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isnas.base.distributed import is_main
from isnas.base.files import write_text
from isnas.base.options import fixed_values
from isnas.base.text import one_line
from isnas.draw.markup import copyable, facts, folded, paragraph, picture, section, table
from isnas.draw.page import page
from isnas.draw.page_timeline import Track, timeline
from isnas.engine.progress import duration
from isnas.engine.run import Run
from isnas.engine.run_files import Connection, Row, RunFiles, connections, figure, pictures_of_architecture
from isnas.engine.run_mistakes import mistakes

PAGE = "report.html"
#: Where and when a run ran: not what it is.
_PLACES = ("run_dir", "resume", "save", "method", "space")
_MOST_LINES = 1000


def end_run(run: Run, commands: Sequence[str]) -> None:
    """The last of a run whose result is written: its page, what TensorBoard shows at the end, and all files closed.

    ``commands``, which use the result, are said by a run that is not one of several.
    """
    keep_page(run, lambda: run_page(run.folder, type(run.options)))
    if not run.is_part:
        run.log_next(commands)
    run.records.finish(fixed_values(run.options))


def keep_page(run: Run, make: Callable[[], str]) -> None:
    """Write a page into the folder of a run; the result is kept whatever becomes of its page. Rank 0 writes."""
    if not is_main():
        return
    try:
        write_text(run.folder / PAGE, make())
    except Exception as error:  # what the run has found is worth more than any mistake here
        run.log(f"WARNING: {PAGE} could not be written ({one_line(error)})")
    else:
        run.log(f"report {run.folder / PAGE}")


def run_page(folder: Path, kind: type[Any] | None) -> str:
    """The page of a run; ``kind`` is the class of its options, for the defaults, where it is known."""
    files = RunFiles(folder, kind)
    return page(folder.resolve().name, what_it_is(files), outcome(files), run_sections(files))


def run_sections(files: RunFiles, prefix: str = "") -> list[str]:
    """The parts of a page about a run, named with a ``prefix`` so that those of several fit on one."""
    from isnas.draw.page_chart import charts  # with matplotlib, which is slow to import
    from isnas.draw.training_curves import course

    return [
        section(f"{prefix}figures", "Figures", facts(key_figures(files))),
        section(f"{prefix}curves", "Curves", charts(course(files.metrics))),
        section(f"{prefix}architecture", "Architecture", *_architecture(files)),
        section(f"{prefix}timeline", "Architectures during the search", *_timelines(files)),
        section(f"{prefix}mistakes", "Mistakes on the test images", *mistakes(files)),
        section(f"{prefix}settings", "Settings", *_settings(files)),
        section(f"{prefix}made", "How it was made", *_made(files)),
        section(f"{prefix}numbers", "Numbers", _numbers(files.metrics)),
    ]


def what_it_is(files: RunFiles) -> str:
    """A search or a training, by which method and of what."""
    words = [files.config.get(name, "") for name in ("method", "dataset")]
    kind = "search" if not files.result else "training"
    if files.result.get("arch") == "one-stage":
        kind = "search and training in one"
    return " · ".join(word for word in (kind, *words) if word)


def outcome(files: RunFiles) -> str:
    """The result in a sentence or two."""
    result, found = files.result, files.found
    size = f"{_form(result, 'params_millions', '{:.3f}')} M parameters"
    epochs = figure(result, "epochs")
    if (error := figure(result, "test_error")) is not None:
        text = f"Of the test images {error:.2f} % are classified wrongly after the last epoch, by a network with {size}"
        if result.get("arch") == "one-stage":
            text += f" that was searched and trained in one run of {len(files.metrics)} epochs"
        elif epochs:
            text += f" that was trained for {epochs:.0f} epochs"
        return f"{text}."
    if (perplexity := figure(result, "test_ppl")) is not None:
        best = f" of epoch {result.get('best_epoch')}" if "best_epoch" in result else ""
        return f"The test perplexity of the language model{best} is {perplexity:.2f}; it has {size}."
    last = figure(found, "valid_acc"), figure(found, "valid_ppl")
    if last == (None, None):
        return "The run has not ended."
    name = files.genotypes[-1].get("hash", "") if files.genotypes else ""
    by = f"{len(_epochs(files.metrics))} epochs"
    if last[0] is not None:
        derived = _form(_last(files.metrics), "derived/params_millions", "{:.2f}")
        size = f"; in the size that papers compare it has {derived} M parameters" if derived else ""
        measured = f"its validation accuracy within the super-net is {last[0]:.2f} %"
        return f"The search found the architecture {name} in {by}: {measured}{size}."
    return f"The search found the cell {name} in {by}; within the super-net its validation perplexity is {last[1]:.2f}."


def key_figures(files: RunFiles) -> dict[str, str]:
    """What is asked first, by what it is called; what a run does not have is left out."""
    result, found, last = files.result, files.found, _last(files.metrics)
    values = {
        "test accuracy": _form(result, "test_acc", "{:.2f} %"),
        "best test accuracy": _form(result, "best_test_acc", "{:.2f} %"),
        "validation accuracy": _form(result or found, "valid_acc", "{:.2f} %"),
        "held-out accuracy": _form(found, "held_out_acc", "{:.2f} %"),
        "test perplexity": _form(result, "test_ppl", "{:.2f}"),
        "validation perplexity": _form(result or found, "valid_ppl", "{:.2f}"),
        "parameters": _form(result, "params_millions", "{:.3f} M"),
        "multiply-adds": _form(result, "multiply_adds_millions", "{:,.1f} M"),
        "derived network": _form(last, "derived/params_millions", "{:.2f} M"),
        "epochs": str(len(_epochs(files.metrics)) or ""),
        "time": "" if (seconds := figure(last, "time/seconds")) is None else duration(seconds),
        "image passes": _form(last, "cost/image_passes", "{:,.0f}"),
        "word passes": _form(last, "cost/word_passes", "{:,.0f}"),
        "peak memory": _form(last, "memory/peak_gib", "{:.2f} GiB"),
        "seed": files.config.get("seed", ""),
    }
    return {name: value for name, value in values.items() if value}


def _architecture(files: RunFiles) -> list[str]:
    cells = []
    for path in pictures_of_architecture(files.folder, "svg"):
        name = " ".join(reversed(path.stem.split("_")))
        shown = picture(files.picture(path.name), f"The {name} as a graph; its genotype stands below", "cell")
        cells.append(f"<figure><figcaption>{name}</figcaption>{shown}</figure>" if shown else "")
    text = files.found.get("text")
    digits = next((row["hash"] for row in (files.result, *files.genotypes[-1:]) if "hash" in row), "")
    parts = [f'<div class="cells">{"".join(cells)}</div>' if any(cells) else ""]
    if isinstance(text, str):
        parts += [paragraph(f"Genotype {digits}, for --arch:"), copyable(text)]
    return parts


def _timelines(files: RunFiles) -> list[str]:
    """When the architecture changed, and for each cell which connections it had at the end of which epoch."""
    rows = [row for row in files.genotypes if connections(row.get("genotype"))]
    if len(rows) < 2:
        return []
    names = ["end" if row.get("final") else str(row.get("epoch")) for row in rows]
    sets = [set(connections(row["genotype"])) for row in rows]
    changes = [place for place in range(1, len(sets)) if sets[place] != sets[place - 1]]
    when = "The architecture never changed."
    if changes:
        last = "by the choice after the last epoch" if names[changes[-1]] == "end" else f"in epoch {names[changes[-1]]}"
        when = f"The architecture changed {len(changes)} times, the last time {last}."
    ends = f"{len(names) - names.count('end')} epochs{' and of the run' if names[-1] == 'end' else ''}"
    different = len({frozenset(each) for each in sets})
    parts = [paragraph(f"There were {different} different architectures at the ends of {ends}. {when}")]
    parts.append('<div class="grid-of">')
    kept = sets[-1]
    ever = sorted(set().union(*sets))
    for cell in dict.fromkeys(connection.cell for connection in ever):
        tracks = [
            Track(_in_words(each), [place for place, there in enumerate(sets) if each in there], each in kept)
            for each in ever
            if each.cell == cell
        ]
        parts.append(timeline(cell if cell.startswith("stage") else f"{cell} cell", tracks, names))
    return [*parts, "</div>"]


def _in_words(connection: Connection) -> str:
    """Such as ``2 ← 0 skip_connect``: node 2 reads node 0; of a chain ``block 2 k5_e6``."""
    if connection.predecessor is None:
        return f"block {connection.node} {connection.operation}"
    return f"{connection.node} ← {connection.predecessor} {connection.operation}"


def _settings(files: RunFiles) -> list[str]:
    settings = [each for each in files.settings() if each.name not in _PLACES]
    everything = folded("All settings", table(["setting", "value"], [each[:2] for each in settings], 2))
    if any(each.default is None for each in settings):
        return [everything]
    changed = [each for each in settings if each.value != each.default]
    if not changed:
        return [paragraph("All settings have their defaults."), everything]
    return [
        paragraph("These differ from the defaults:"),
        table(["setting", "value", "default"], changed, 3),
        everything,
    ]


def _made(files: RunFiles) -> list[str]:
    environment = files.environment
    command = environment.get("command")
    words = [word for word in command if isinstance(word, str)] if isinstance(command, list) else []
    if words and words[0].startswith("isnas "):
        words = [*words[0].split(" "), *words[1:]]
    elif words and words[0].endswith(".py"):
        words = ["python", *words]
    packages = environment.get("packages")
    rows = [(name, value) for name, value in environment.items() if name not in ("command", "packages")]
    rows += list(packages.items()) if isinstance(packages, dict) else []
    known = [(name, value) for name, value in rows if isinstance(value, str | int | float)]
    return [copyable(shlex.join(words)) if words else "", table(["what", "value"], known, 2) if known else ""]


def _numbers(rows: Sequence[Row]) -> str:
    """The losses and accuracies of every epoch, or of as many as are worth it."""
    shown = ("lr", "loss", "acc", "acc_top5", "perplexity", "distance", "searching", "terminated")
    names = [name for name in _names(rows) if name.rpartition("/")[2] in shown]
    lines = []
    for row in rows[:: max(1, -(-len(rows) // _MOST_LINES))]:
        place = "end" if row.get("final") else str(row.get("epoch"))
        lines.append([place, *(_form(row, name, "{:.6g}") for name in names)])
    return folded(f"{len(rows)} rows of metrics.jsonl", table(["epoch", *names], lines)) if names else ""


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _epochs(rows: Sequence[Row]) -> set[int]:
    return {row["epoch"] for row in rows if type(row.get("epoch")) is int and not row.get("final")}


def _last(rows: Sequence[Row]) -> Row:
    return rows[-1] if rows else {}


def _form(row: Row, name: str, form: str) -> str:
    value = figure(row, name)
    return "" if value is None else form.format(value)

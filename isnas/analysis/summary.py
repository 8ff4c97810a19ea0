"""Run folders as rows of tables: searches, and trainings of what they found.

The spread over the seeds of a search and the spread over the seeds of the training of one cell are different things
and stand in different tables. Standard deviations are of a sample (n - 1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias, TypeVar

from isnas.analysis.language_summary import (
    LanguageSearch,
    LanguageTraining,
    summarize_language_search,
    summarize_language_training,
)
from isnas.analysis.reading import (
    cannot_read,
    integer,
    number,
    optional_number,
    optional_percent,
    percent,
    read_config,
    read_lines,
    read_object,
    settings,
    text,
)
from isnas.analysis.tables import Table, with_spread
from isnas.base.errors import UserError
from isnas.base.files import markdown_table
from isnas.engine.progress import duration
from isnas.engine.run import runs_in

SEARCHES_TITLE = "Searches: mean ± standard deviation over the seeds of the search."
TRAININGS_TITLE = "Trainings: test error after the last epoch, mean ± standard deviation over trainings of a cell."
#: Settings in which a one-stage run and a training of its cell differ or may differ.
_FREE = ("method", "save_best", "weights")
#: What a one-stage run does where a training has a choice.
_ONE_STAGE = {"decay_norms": True}
#: Settings that say when an architecture is recovered; once an epoch, the first row is what a search starts from.
_RECOVERIES = ("recover_every", "termination_interval")

Found = TypeVar("Found")
#: What is known of a finished run.
Summary: TypeAlias = "SearchSummary | EvaluationSummary | LanguageSearch | LanguageTraining"


@dataclass(frozen=True)
class SearchSummary:
    """What came out of one search; read from its run folder.

    ``trained_acc``: validation accuracy of the sub-network of the last epoch, before the final recovery, which may
    bring in operations that were never trained in their place; ``valid_acc``: of the architecture it found.
    ``num_architectures``: distinct ones among those to which the epochs led (:func:`learnt`); ``last_change``: the
    epoch after which the architecture was no longer the one of the epoch before, None if it never changed.
    ``params_millions`` and ``multiply_adds_millions``: of the derived network, of cells 20 with C = 36.
    """

    seed: int
    hash: str
    genotype: str
    trained_acc: float
    valid_acc: float
    held_out_acc: float | None
    params_millions: float
    multiply_adds_millions: float
    num_architectures: int
    last_change: int | None
    seconds: float
    image_passes: float | None
    peak_gib: float | None


@dataclass(frozen=True)
class EvaluationSummary:
    """What came out of one training of a target network; read from ``result.json`` of its run folder.

    ``test_error`` (percent) is that after the last epoch. ``settings`` are all that decide the result but seed and
    architecture. ``arch`` is ``one-stage`` for the network that a one-stage run has searched and trained.
    """

    arch: str
    hash: str
    seed: int
    epochs: int
    test_acc: float
    test_error: float
    valid_acc: float | None
    params_millions: float
    multiply_adds_millions: float
    seconds: float
    settings: dict[str, Any]
    test_acc_top5: float | None = None
    image_passes: float | None = None

    @property
    def is_one_stage(self) -> bool:
        """Whether the network was searched and trained in one run."""
        return self.arch == "one-stage"

    def repeats(self, other: EvaluationSummary) -> bool:
        """Whether this is a training, without b, of the cell that the one-stage run ``other`` found, as it trained."""
        if self.is_one_stage or not other.is_one_stage or self.hash != other.hash:
            return False
        if self.settings.get("weights"):  # it began where another training had ended
            return False
        as_trained = _ONE_STAGE | other.settings
        return all(as_trained.get(name) == value for name, value in self.settings.items() if name not in _FREE)


def finished_runs(path: Path) -> dict[Path, Summary | UserError]:
    """The summary of a run folder, or of each run in a folder of several, by its folder.

    A run whose files are damaged has an error in its place, which names it.

    Raises:
        UserError: when it is not a run folder, or nothing in it is finished.
    """
    try:
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path} is not a run folder of a search or an evaluation")
        folders = runs_in(path) or [path]
    except OSError as error:
        raise cannot_read(path, error) from None
    summaries = {folder.resolve(): summary for folder in folders if (summary := _summarize(folder)) is not None}
    if not summaries:
        raise UserError(f"{path} is not finished; go on with --resume {path}")
    return summaries


def _summarize(folder: Path) -> Summary | UserError | None:
    try:
        if (result := folder / "result.json").exists():
            of_text = "test_ppl" in read_object(result)
            return summarize_language_training(folder) if of_text else summarize_evaluation(folder)
        found = read_object(result) if (result := folder / "genotype.json").exists() else {}
        if "valid_acc" in found:
            return summarize_search(integer(read_config(folder), "seed"), folder)
        if "valid_ppl" in found:
            return summarize_language_search(folder)
    except UserError as error:
        return error
    except (OSError, ValueError) as error:
        return cannot_read(folder, error)
    return None


def summarize_evaluation(folder: Path) -> EvaluationSummary:
    """The summary of a finished training.

    Raises:
        UserError: when its files are not as a training leaves them.
    """
    try:
        result = read_object(folder / "result.json")
        chosen = settings(result, "settings")
        text(chosen, "dataset")
        return EvaluationSummary(
            arch=text(result, "arch"),
            hash=text(result, "hash"),
            seed=integer(result, "seed"),
            epochs=integer(result, "epochs"),
            test_acc=percent(result, "test_acc"),
            test_error=percent(result, "test_error"),
            valid_acc=optional_percent(result, "valid_acc"),
            params_millions=number(result, "params_millions"),
            multiply_adds_millions=number(result, "multiply_adds_millions"),
            seconds=number(result, "seconds"),
            settings=chosen,
            test_acc_top5=optional_percent(result, "test_acc_top5"),
            image_passes=optional_number(result, "image_passes"),
        )
    except (OSError, ValueError) as error:
        raise cannot_read(folder, error) from None


def summarize_search(seed: int, folder: Path) -> SearchSummary:
    """The summary of a finished search.

    Raises:
        UserError: when its files are not as a search leaves them.
    """
    try:
        result, metrics = read_object(folder / "genotype.json"), read_lines(folder / "metrics.jsonl")
        rows = read_lines(folder / "genotypes.jsonl")
        if not metrics or len(rows) < 2:
            raise ValueError("metrics.jsonl or genotypes.jsonl misses rows")
        hashes = [text(row, "hash") for row in rows]
        changes = [integer(row, "epoch") for row, before, now in zip(rows[1:], hashes, hashes[1:]) if now != before]
        return SearchSummary(
            seed=seed,
            hash=hashes[-1],
            genotype=text(result, "text"),
            trained_acc=percent(rows[-2], "valid_acc"),
            valid_acc=percent(result, "valid_acc"),
            held_out_acc=optional_percent(result, "held_out_acc"),
            params_millions=number(metrics[-1], "derived/params_millions"),
            multiply_adds_millions=number(metrics[-1], "derived/multiply_adds_millions"),
            num_architectures=len(set(learnt(hashes[:-1], hashes[-1], read_config(folder)))),
            last_change=changes[-1] if changes else None,
            seconds=number(metrics[-1], "time/seconds"),
            image_passes=optional_number(metrics[-1], "cost/image_passes"),
            peak_gib=optional_number(metrics[-1], "memory/peak_gib"),
        )
    except (OSError, ValueError) as error:
        raise cannot_read(folder, error) from None


def learnt(epochs: Sequence[Found], found: Found | None, config: Mapping[str, Any]) -> tuple[Found, ...]:
    """The architecture to which each epoch's updates led, of those at the ends of ``epochs`` and the one ``found``.

    There are as many as epochs, and the one before any update is none of them (the rebuttal's count). Where z is
    recovered once an epoch, at its beginning, an epoch ends with what the epochs before it led to.
    """
    if not any(config.get(name) == "epoch" for name in _RECOVERIES):
        return tuple(epochs)
    return (*epochs[1:], *(() if found is None else (found,)))


def seeds_table(summaries: list[SearchSummary], best: int, derived: str) -> str:
    """The seeds of a search as a Markdown table, the best in bold; ``derived`` is the derived network in words."""
    columns = ["seed", "architecture", "trained", "valid_acc", "held_out_acc", "parameters", "multiply-adds", "seen"]
    columns += ["last change", "image passes", "time", "memory"]
    lines = []
    for row in summaries:
        seed = f"**{row.seed}**" if row.seed == best else str(row.seed)
        held_out = "" if row.held_out_acc is None else f"{row.held_out_acc:.2f}"
        change = "never" if row.last_change is None else f"epoch {row.last_change}"
        cells = [seed, row.hash, f"{row.trained_acc:.2f}", f"{row.valid_acc:.2f}", held_out]
        cells += [f"{row.params_millions:.2f} M", f"{row.multiply_adds_millions:.0f} M", str(row.num_architectures)]
        lines.append([*cells, change, *_cost([row])])
    accuracies = [row.valid_acc for row in summaries]
    return (
        f"{markdown_table(columns, lines, 2)}\n\n"
        f"valid_acc over {len(summaries)} seeds: {with_spread(accuracies)}; "
        f"{len({row.hash for row in summaries})} different architectures. `trained` is the validation accuracy of the "
        "last epoch's sub-network, `valid_acc` that of the architecture that was found after it, `seen` the number of "
        "distinct architectures to which the updates of the epochs led. Parameters and multiply-adds are of the "
        f"derived network ({derived}).\n"
    )


def searches_table(searches: Mapping[str, Sequence[SearchSummary]]) -> Table:
    """One line per search (a name and its seeds): the spread is that of repeating the search."""
    columns = ["search", "n", "trained", "valid_acc", "best valid_acc", "architectures found", "image passes"]
    columns += ["time of one search", "memory"]
    lines = []
    for name, rows in searches.items():
        best = max(rows, key=lambda row: row.valid_acc)
        cells = [name, str(len(rows)), with_spread([row.trained_acc for row in rows])]
        cells += [with_spread([row.valid_acc for row in rows])]
        cells += [f"{best.valid_acc:.2f} ({best.hash}, seed {best.seed})"]
        cells += [str(len({row.hash for row in rows})), *_cost(rows)]
        lines.append(cells)
    return Table("searches", SEARCHES_TITLE, columns, lines)


def evaluations_table(
    evaluations: Sequence[EvaluationSummary], search_seconds: Mapping[str, float] | None = None
) -> Table:
    """One line per architecture and settings: the spread is that of training the same cell again.

    Lines of one architecture differ in a setting. A one-stage run and the trainings of its cell with the same settings
    have a line together, as the paper has them: the network of the run and those trained without b.
    ``search_seconds`` gives by an architecture's hash what the one search that found it took, where that is known.
    """
    groups: dict[tuple[str, str], list[EvaluationSummary]] = {}
    for row in evaluations:
        groups.setdefault((row.hash, json.dumps(row.settings, sort_keys=True)), []).append(row)
    together = {
        ("together", str(number)): [row, *(other for other in evaluations if other.repeats(row))]
        for number, row in enumerate(evaluations)
        if row.is_one_stage
    }
    groups |= {key: rows for key, rows in together.items() if len(rows) > 1}
    columns = ["architecture", "hash", "images", "n", "epochs", "test error (%)", "best", "parameters", "multiply-adds"]
    columns += ["time of its search", "time of one training", "image passes"]
    lines = []
    for key, rows in groups.items():
        errors = [row.test_error for row in rows]
        first, name = rows[0], rows[0].hash
        arch = first.arch if "(" not in first.arch else "found"
        arch += " and retrained" if key[0] == "together" else ""
        search = (search_seconds or {}).get(name)
        images = first.settings["dataset"]
        cells = [arch, name, images, str(len(rows)), str(first.epochs), with_spread(errors), f"{min(errors):.2f}"]
        cells += [f"{first.params_millions:.3f} M", f"{first.multiply_adds_millions:.1f} M"]
        cells += ["" if search is None else duration(search), duration(mean(row.seconds for row in rows))]
        cells.append(_mean([row.image_passes for row in rows], "{:,.0f}"))
        lines.append(cells)
    return Table("trainings", TRAININGS_TITLE, columns, lines, 3)


def settings_table(evaluations: Mapping[str, EvaluationSummary]) -> str:
    """One line per training of a cell with one of the suite's settings, and what the suite reports: mean and best.

    The trainings are by the names of their folders, ``setting-N``.
    """
    columns = ["setting", "learning rate", "weight decay", "test error (%)", "time"]
    lines = [
        [
            *(name.rpartition("-")[2], f"{row.settings['learning_rate']:g}", f"{row.settings['weight_decay']:g}"),
            *(f"{row.test_error:.2f}", duration(row.seconds)),
        ]
        for name, row in evaluations.items()
    ]
    errors = [row.test_error for row in evaluations.values()]
    sentence = f"test error over {len(errors)} settings: {with_spread(errors)} %, best {min(errors):.2f} %"
    return f"{markdown_table(columns, lines)}\n\n{sentence}\n"


def _cost(rows: Sequence[SearchSummary]) -> list[str]:
    """Of one search image passes, time, and peak of memory; what was not recorded is left out."""
    passes = _mean([row.image_passes for row in rows], "{:,.0f}")
    return [passes, duration(mean(row.seconds for row in rows)), _mean([row.peak_gib for row in rows], "{:.2f} GiB")]


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return form.format(mean(known)) if known else ""

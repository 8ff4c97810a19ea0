"""Run folders of searches and trainings on text as rows of tables, which have perplexities where images have errors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from isnas.analysis.reading import (
    Row,
    cannot_read,
    integer,
    number,
    optional_number,
    read_config,
    read_lines,
    read_object,
    settings,
    text,
)
from isnas.analysis.tables import Table, with_spread
from isnas.base.text import shown
from isnas.data.text.texts import TextOptions
from isnas.engine.progress import duration

SEARCHES_TITLE = (
    "Searches on text: perplexity of what was found on the text that validates, in the network of all candidates, mean "
    "± standard deviation over the seeds of the search."
)
TRAININGS_TITLE = (
    "Trainings on text: perplexities of the network of the least validation loss, mean ± standard deviation over "
    "trainings of a cell."
)


@dataclass(frozen=True)
class LanguageSearch:
    """What came out of one search on text; read from its run folder. ``valid_ppl``: None where it is not finite."""

    seed: int
    method: str
    text: str
    epochs: int
    hash: str
    genotype: str
    valid_ppl: float | None
    seconds: float
    word_passes: float


@dataclass(frozen=True)
class LanguageTraining:
    """What came out of one training of a language model; ``settings`` decide the result, but seed and architecture."""

    arch: str
    hash: str
    text: str
    text_digest: str
    seed: int
    epochs: int
    best_epoch: int
    valid_ppl: float
    test_ppl: float
    params_millions: float
    seconds: float
    word_passes: float
    settings: dict[str, Any]


def text_name(config: Row) -> str:
    """The name of the text that a run's settings ask for."""
    try:
        return TextOptions(dataset=text(config, "dataset"), data=str(config.get("data") or "")).text_record.name
    except KeyError:
        raise ValueError(f"dataset is {shown(config['dataset'])}, not a text") from None


def summarize_language_search(folder: Path) -> LanguageSearch:
    """The summary of a finished search on text.

    Raises:
        UserError: when its files are not as a search leaves them.
    """
    try:
        config, result = read_config(folder), read_object(folder / "genotype.json")
        metrics, rows = (read_lines(folder / f"{name}.jsonl") for name in ("metrics", "genotypes"))
        if not metrics or not rows:
            raise ValueError("metrics.jsonl or genotypes.jsonl misses rows")
        return LanguageSearch(
            seed=integer(config, "seed"),
            method=text(config, "method"),
            text=text_name(config),
            epochs=integer(config, "epochs"),
            hash=text(rows[-1], "hash"),
            genotype=text(result, "text"),
            valid_ppl=optional_number(result, "valid_ppl"),
            seconds=number(metrics[-1], "time/seconds"),
            word_passes=number(result, "word_passes"),
        )
    except (OSError, ValueError) as error:
        raise cannot_read(folder, error) from None


def summarize_language_training(folder: Path) -> LanguageTraining:
    """The summary of a finished training on text.

    Raises:
        UserError: when its files are not as a training leaves them.
    """
    try:
        result = read_object(folder / "result.json")
        return LanguageTraining(
            arch=text(result, "arch"),
            hash=text(result, "hash"),
            text=text(result, "text"),
            text_digest=text(result, "text_digest"),
            seed=integer(result, "seed"),
            epochs=integer(result, "epochs"),
            best_epoch=integer(result, "best_epoch"),
            valid_ppl=number(result, "valid_ppl"),
            test_ppl=number(result, "test_ppl"),
            params_millions=number(result, "params_millions"),
            seconds=number(result, "seconds"),
            word_passes=number(result, "word_passes"),
            settings=settings(result, "settings"),
        )
    except (OSError, ValueError) as error:
        raise cannot_read(folder, error) from None


def language_searches_table(searches: Mapping[str, Sequence[LanguageSearch]]) -> Table:
    """One line per search (a name and its seeds)."""
    header = ["search", "method", "text", "n", "epochs", "valid ppl", "best", "cells found", "word passes"]
    lines = []
    for name, rows in searches.items():
        first, found = rows[0], [(row.valid_ppl, row) for row in rows if row.valid_ppl is not None]
        cells = [name, first.method, first.text, str(len(rows)), str(first.epochs)]
        cells += [with_spread([ppl for ppl, _ in found])]
        least, best = min(found, key=lambda each: each[0], default=(math.inf, first))
        cells += [f"{least:.2f} ({best.hash}, seed {best.seed})", str(len({row.hash for row in rows}))]
        lines.append([*cells, *_cost(rows)])
    return Table("language_searches", SEARCHES_TITLE, [*header, "time of one search"], lines, 3)


def language_trainings_table(
    trainings: Sequence[LanguageTraining], search_seconds: Mapping[str, float] | None = None
) -> Table:
    """One line per architecture, text and settings; ``search_seconds`` by an architecture's hash, where known."""
    groups: dict[tuple[str, ...], list[LanguageTraining]] = {}
    for row in trainings:
        groups.setdefault((row.hash, row.text_digest, json.dumps(row.settings, sort_keys=True)), []).append(row)
    header = ["architecture", "hash", "text", "n", "epochs", "valid ppl", "test ppl", "best", "parameters"]
    header += ["time of its search", "word passes", "time of one training"]
    lines = []
    for rows in groups.values():
        first = rows[0]
        search = (search_seconds or {}).get(first.hash)
        arch = first.arch if "(" not in first.arch else "found"
        cells = [arch, first.hash, first.text, str(len(rows)), str(first.epochs)]
        cells += [with_spread([row.valid_ppl for row in rows]), with_spread([row.test_ppl for row in rows])]
        cells += [f"{min(row.test_ppl for row in rows):.2f}", f"{first.params_millions:.3f} M"]
        lines.append([*cells, "" if search is None else duration(search), *_cost(rows)])
    return Table("language_trainings", TRAININGS_TITLE, header, lines, 3)


def _cost(rows: Sequence[LanguageSearch] | Sequence[LanguageTraining]) -> list[str]:
    return [f"{mean(row.word_passes for row in rows):,.0f}", duration(mean(row.seconds for row in rows))]

"""What searches and trainings hand back: what their run folders say, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from isnas.base.errors import UserError
from isnas.base.text import read_json
from isnas.space.in_files import row_of
from isnas.space.recurrent.genotype import genotype_from_json as recurrent_from_json
from isnas.space.which import RECURRENT, space_of_json

if TYPE_CHECKING:
    from isnas.space.space import AnyGenotype

#: A file with a result is smaller than this.
_LARGEST_BYTES = 10_000_000


@dataclass(frozen=True, repr=False)
class Result:
    """What every run leaves: its folder and the architecture; ``runs`` are the single ones of several seeds."""

    folder: Path
    genotype: AnyGenotype
    runs: tuple[Any, ...]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, one an epoch; of several seeds each of ``runs`` has its own.

        Raises:
            UserError: of several seeds, or when the file cannot be read.
        """
        from isnas.engine.records import METRICS, read_rows

        if self.runs:
            raise UserError(f"{self.folder} holds several runs, each with metrics of its own: see runs")
        try:
            return read_rows(self.folder / METRICS)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {self.folder / METRICS}: {error}") from None

    def __repr__(self) -> str:
        """A line for each value that there is."""
        return readable(self)


@dataclass(frozen=True, repr=False)
class SearchResult(Result):
    """What a search has found; of several seeds the best one's, by the images or the text that validate.

    ``valid_acc`` (percent) is that of the architecture in the super-net, on the half of the training images that
    trained b; ``held_out_acc`` the same on images that trained nothing, None without. Of a text, ``valid_ppl`` is the
    perplexity.
    """

    valid_acc: float | None = None
    held_out_acc: float | None = None
    valid_ppl: float | None = None


@dataclass(frozen=True, repr=False)
class TrainResult(Result):
    """What a training has reached after its last epoch; of several seeds or settings the means.

    ``test_acc`` and ``valid_acc`` are percent, the latter of images held out from training, None without; of a text,
    ``test_ppl`` and ``valid_ppl`` are perplexities. ``params_millions`` are the network's, without an auxiliary head.
    """

    test_acc: float | None = None
    valid_acc: float | None = None
    test_ppl: float | None = None
    valid_ppl: float | None = None
    params_millions: float | None = None


def read_search(folder: Path) -> SearchResult:
    """The result of the search in a run folder, or in a folder of several.

    Raises:
        UserError: when it has not ended, or its files are damaged.
    """
    from isnas.engine.run import runs_in

    runs = tuple(map(read_search, runs_in(folder)))
    if not runs:
        found = _content(folder / "genotype.json")
        return SearchResult(folder, _genotype(found), (), **{name: found.get(name) for name in _figures(SearchResult)})
    best = max(runs, key=lambda run: -(run.valid_ppl or math.inf) if run.valid_acc is None else run.valid_acc)
    return replace(best, folder=folder, runs=runs)


def read_training(folder: Path) -> TrainResult:
    """The result of the training in a run folder, or in a folder of several.

    Raises:
        UserError: when it has not ended, or its files are damaged.
    """
    from isnas.engine.run import runs_in

    runs = tuple(map(read_training, runs_in(folder)))
    if not runs:
        found, genotype = _content(folder / "result.json"), _genotype(_content(folder / "genotype.json"))
        return TrainResult(folder, genotype, (), **{name: found.get(name) for name in _figures(TrainResult)})
    means: dict[str, Any] = {name: _mean(vars(run)[name] for run in runs) for name in _figures(TrainResult)}
    return replace(runs[0], folder=folder, runs=runs, **means)


def _figures(kind: type[Result]) -> list[str]:
    """What a kind of result has beside folder, architecture and runs."""
    common = {field.name for field in fields(Result)}
    return [field.name for field in fields(kind) if field.name not in common]


def readable(value: Any) -> str:
    """A dataclass as its name, and a line for each field that says something."""
    told = [(field.name, vars(value)[field.name]) for field in fields(value) if field.repr]
    told = [(name, each) for name, each in told if each not in (None, (), "")]
    width = max((len(name) for name, _ in told), default=0)
    lines = [f"  {name:{width}}  {_brief(each)}" for name, each in told]
    return "\n".join([type(value).__name__, *lines])


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple) and not all(isinstance(each, str) for each in value):
        return f"{len(value)} runs"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = read_json(path, _LARGEST_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; the run may not have ended") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged; start a new run")
    return content


def _genotype(content: Mapping[str, Any]) -> AnyGenotype:
    value = content.get("genotype")
    return recurrent_from_json(value) if space_of_json(value) == RECURRENT else row_of(value).genotype(value)

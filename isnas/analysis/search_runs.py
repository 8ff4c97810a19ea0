"""Searches of any method as their run folders tell them, and the trainings of what they have found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from isnas.analysis.one_stage_runs import FREE
from isnas.analysis.reading import (
    Row,
    cannot_read,
    integer,
    number,
    optional_number,
    percent,
    read_config,
    read_lines,
    read_object,
    text,
)
from isnas.analysis.summary import EvaluationSummary, learnt, summarize_evaluation
from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.engine.run import runs_in
from isnas.space.cells.genotype import Genotype, genotype_from_json
from isnas.space.cells.space import CellSpace
from isnas.space.chain.genotype import ChainGenotype
from isnas.space.chain.genotype import genotype_from_json as chain_genotype
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.genotype import genotype_from_json as recurrent_genotype
from isnas.space.which import CELLS, CHAIN, RECURRENT

#: How papers call the methods; DARTS has two orders, CoNAS a number of stages.
NAMES = {"two_stage": "Two-stage ISTA-NAS", "one_stage": "One-stage ISTA-NAS", "pc_darts": "PC-DARTS"}
NAMES |= {"random_ws": "Random search with weight sharing", "random": "Random search"}
#: The key of a search's cost in metrics.jsonl.
PASSES = "cost/image_passes"
#: Settings in which runs of one kind may differ.
_OF_THE_SEED = {*FREE, "seed", "seeds", "data"}


@dataclass(frozen=True)
class Architecture:
    """An architecture of a search: its hash, its cells (None in another space), and the accuracy (percent) then.

    The accuracy is on the images that choose, of a one-stage search on the test images; None where it is not known.
    """

    hash: str
    genotype: Genotype | None
    accuracy: float | None


@dataclass(frozen=True)
class SearchRun:
    """A search, finished or not, its whole epochs alone.

    ``epochs``: the architecture at the end of every epoch of the search; ``found``: the one that was found, None before
    the end. ``metrics``: the rows of metrics.jsonl. ``processes``: how many shared the work. ``beside``: by the names
    of their files what a search of CoNAS keeps beside it, ``best_sampled``, the one of least loss of those it measured,
    and ``stage_K``, what it would have found after K stages; their accuracies are not known.
    """

    folder: Path
    config: Row
    seed: int
    epochs: tuple[Architecture, ...]
    found: Architecture | None
    metrics: tuple[Row, ...]
    processes: int = 1
    beside: Mapping[str, Architecture] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Its name in the registry."""
        return str(self.config["method"])

    @property
    def group(self) -> tuple[tuple[str, str], ...]:
        """What decides the result, but for the seed."""
        return tuple(sorted((key, str(value)) for key, value in self.config.items() if key not in _OF_THE_SEED))

    @property
    def learnt(self) -> tuple[Architecture, ...]:
        """The architecture to which the updates of each epoch led, by :func:`isnas.analysis.summary.learnt`.

        A one-stage search ends without another recovery: what it found is that of its last epoch.
        """
        return learnt(self.epochs, None if self.method == "one_stage" else self.found, self.config)

    @property
    def seconds(self) -> float:
        """How long it has taken, of a one-stage run the training included."""
        return number(self.metrics[-1], "time/seconds")

    @property
    def image_passes(self) -> float | None:
        """What it has cost: forward and backward of one image are 1; None where that was not recorded."""
        return optional_number(self.metrics[-1], PASSES)


@dataclass(frozen=True)
class Runs:
    """What was given: searches, and finished trainings by their folders; a finished one-stage run is both."""

    searches: tuple[SearchRun, ...]
    trained: dict[Path, EvaluationSummary]

    def trainings_of(self, found: str) -> list[EvaluationSummary]:
        """The trainings of the architecture with this hash, by itself: no one-stage runs."""
        return [row for row in self.trained.values() if row.hash == found and not row.is_one_stage]


def read_all(names: Sequence[str], of_text: bool = False) -> Runs:
    """The runs in these folders, of a folder of several seeds each of them; one that is in several counts once.

    ``of_text``: searches on text are welcome too.

    Raises:
        UserError: when a folder is no run folder, a file in it is not as a run leaves it, or it is a run on text that
            is not welcome.
    """
    searches: dict[Path, SearchRun] = {}
    trained: dict[Path, EvaluationSummary] = {}
    folders = list(dict.fromkeys(part for name in names for part in _folders(Path(name))))
    for folder in bar(folders, "reading runs", delay=SOON):
        try:
            search = read_search(folder)
            on_text = read_config(folder).get("space") == RECURRENT
            if (folder / "result.json").exists() and not on_text:
                trained[folder] = summarize_evaluation(folder)
        except (OSError, ValueError) as error:
            raise cannot_read(folder, error) from None
        if on_text and not (search and of_text):
            raise UserError(f"{folder} is a run on text; `runs` has a table of it, and `conas` of a search of CoNAS")
        if search:
            searches[folder] = search
        elif folder not in trained:
            raise UserError(f"{folder} is not finished; go on with --resume {folder}")
    return Runs(tuple(searches.values()), trained)


def _folders(folder: Path) -> list[Path]:
    try:
        if not (folder / "config.yaml").is_file():
            raise UserError(f"{folder} is not a run folder of a search or an evaluation")
        return [part.resolve() for part in runs_in(folder) or [folder]]
    except OSError as error:
        raise cannot_read(folder, error) from None


def read_search(folder: Path) -> SearchRun | None:
    """A search's run folder; None for one of a training without a search.

    Raises:
        OSError: when a file cannot be read.
        ValueError: when it is not as a search leaves it.
    """
    config = read_config(folder)
    if text(config, "method") == "evaluation":
        return None
    seed = integer(config, "seed")
    text(config, "dataset")
    space = str(config.get("space", CELLS))
    metrics = read_lines(folder / "metrics.jsonl")
    rows = read_lines(folder / "genotypes.jsonl")
    if not metrics or not rows:
        raise ValueError("metrics.jsonl or genotypes.jsonl has no rows: wait for the first epoch to end")
    for row in metrics:
        for name in ("time/seconds", "step", "epoch"):
            number(row, name)
    architectures = [_architecture(row, space) for row in rows]
    found = [each for each, row in zip(architectures, rows) if row.get("final")]
    epochs = [each for each, row in zip(architectures, rows) if not row.get("final")]
    result = folder / "genotype.json"
    if not found and result.exists():
        found = [_architecture(read_object(result), space)]
    if not epochs or all(row.get("final") for row in metrics):
        raise ValueError("metrics.jsonl or genotypes.jsonl has no epochs")
    machine = read_object(folder / "env.json") if (folder / "env.json").exists() else {}
    processes = integer(machine, "processes") if "processes" in machine else 1
    final = found[-1] if found else None
    beside = _beside(folder, config, space)
    return SearchRun(folder, config, seed, tuple(epochs), final, tuple(metrics), processes, beside)


def _beside(folder: Path, config: Row, space: str) -> dict[str, Architecture]:
    if config["method"] != "conas":
        return {}
    names = ["best_sampled", *(f"stage_{stage}" for stage in range(1, min(integer(config, "stages"), 1000)))]
    files = {name: folder / f"{name}.json" for name in names}
    return {
        name: _architecture(read_object(file) | {"valid_acc": None}, space)
        for name, file in files.items()
        if file.exists()
    }


#: How the architectures of the spaces are read.
_READ: dict[str, Callable[[Any], Genotype | ChainGenotype | RecurrentGenotype]] = {
    CELLS: genotype_from_json,
    CHAIN: chain_genotype,
    RECURRENT: recurrent_genotype,
}


def _architecture(row: Row, space: str) -> Architecture:
    name = "valid_acc" if "valid_acc" in row else "test_acc"
    accuracy = percent(row, name) if row.get(name) is not None else None
    if space not in _READ:
        return Architecture(text(row, "hash"), None, accuracy)
    try:
        genotype = _READ[space](row.get("genotype"))
    except UserError as error:
        raise ValueError(str(error)) from None
    return Architecture(genotype.hash(), genotype if isinstance(genotype, Genotype) else None, accuracy)


def grouped(searches: Sequence[SearchRun]) -> dict[str, list[SearchRun]]:
    """The searches of the same settings, seed aside, by a name that says in which settings a method's groups differ.

    Raises:
        UserError: when two of a group have the same seed.
    """
    groups: dict[tuple[tuple[str, str], ...], list[SearchRun]] = {}
    for run in searches:
        groups.setdefault(run.group, []).append(run)
    named = {}
    for settings, runs in groups.items():
        name = paper_name(runs[0].config)
        others = [other for other, (run, *_) in groups.items() if paper_name(run.config) == name]
        differing = [f"{key} {value}" for key, value in settings if any((key, value) not in each for each in others)]
        named[", ".join([name, *differing])] = ordered = sorted(runs, key=lambda run: run.seed)
        for one, other in pairwise(ordered):
            if one.seed == other.seed:
                raise UserError(f"{one.folder} and {other.folder} are the same search, seed {one.seed}; leave one out")
    return named


def paper_name(config: Row) -> str:
    """What papers call the method of these settings."""
    method = str(config["method"])
    if method == "conas":
        return f"CoNAS (t = {config.get('stages', '?')})"
    if method == "darts":
        return f"DARTS ({'2nd' if config.get('unrolled') else '1st'} order)"
    return NAMES.get(method, method)


def space_of(run: SearchRun) -> CellSpace:
    """The space of cells that a search of images is in.

    Raises:
        UserError: when its settings do not say.
    """
    if run.config.get("space") == CHAIN:
        raise UserError(
            f"{run.folder} is a search of chains, and what is asked here is of cells; name searches of cells"
        )
    operations, nodes = run.config.get("operations"), run.config.get("num_nodes")
    if not isinstance(operations, list) or not isinstance(nodes, int) or not 0 < nodes < 96:
        raise UserError(f"{run.folder} cannot be read (config.yaml does not say operations and num_nodes of cells)")
    alone = run.config.get("layers") == 1 or run.config.get("shared_cell") is True
    return CellSpace(tuple(map(str, operations)), nodes, reduction=not alone)


def require(found: Sequence[Any], what: str) -> None:
    """See that there is something to answer of.

    Raises:
        UserError: when nothing is ``found``.
    """
    if not found:
        raise UserError(f"none of these folders is {what}")

"""One-stage runs as their folders tell them, finished or not; only whole epochs count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isnas.analysis.reading import (
    Row,
    cannot_read,
    integer,
    number,
    percent,
    read_config,
    read_lines,
    read_object,
    text,
)
from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.base.options import free_options
from isnas.base.text import shown
from isnas.data.data_options import DataOptions, StreamOptions
from isnas.engine.harness_options import RunOptions, SeedOptions, WeightsOptions
from isnas.space.cells.genotype import Genotype, genotype_from_json
from isnas.space.which import CHAIN
from isnas.train.train_options import StepOptions

#: Options that do not decide what a run finds: those that may change when it is resumed.
FREE = free_options(RunOptions, SeedOptions, StreamOptions, DataOptions, StepOptions, WeightsOptions)
#: Options that say which images a run is on; an imagefolder's ``data`` too.
DATA = ("dataset", "image_size", "max_train_images", "grey", "svhn_extra")


@dataclass(frozen=True)
class Recovered:
    """One recovery: before which step it came, in which epoch, and what it found.

    ``distances``: per node (normal cell's first) how far z has moved since the recovery before, as the run's option
    ``distance`` says; None at the first recovery. ``terminated``: nodes that had terminated by then, this recovery
    included.
    """

    step: int
    epoch: int
    distances: tuple[float, ...] | None
    terminated: frozenset[int]
    hash: str


@dataclass(frozen=True)
class OneStageRun:
    """A one-stage run.

    ``genotypes``: the architecture at the end of every epoch of the search. ``fixed_after``: number of epochs after
    which the architecture was fixed, None while it is open; ``all_terminated``: whether that was because all nodes
    had terminated. ``search_acc``: test accuracy (percent) after the last epoch of the search so far; ``end_acc``: at
    the end of the training, None before it.
    """

    name: str
    config: dict[str, Any]
    steps_per_epoch: int
    recoveries: tuple[Recovered, ...]
    genotypes: tuple[Genotype, ...]
    fixed_after: int | None
    all_terminated: bool
    search_acc: float
    end_acc: float | None

    @property
    def num_nodes(self) -> int:
        """Intermediate nodes of both cells, or of one that is both."""
        return _cells(self.config) * int(self.config["num_nodes"])

    @property
    def genotype(self) -> Genotype:
        """The last architecture: the one that was fixed, once there is one."""
        return self.genotypes[-1]

    @property
    def terminations(self) -> list[Recovered | None]:
        """Per node the recovery at which it terminated."""
        return [next((r for r in self.recoveries if node in r.terminated), None) for node in range(self.num_nodes)]


def read_one_stage(folder: Path) -> OneStageRun:
    """Read a run folder of ``tools/train_onestage.py``.

    Raises:
        UserError: when it is none, holds no distances yet, or cannot be read.
    """
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} is not a run folder: it holds no config.yaml")
    try:
        return _read(folder)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise cannot_read(folder, error) from None


def read_runs(folders: tuple[str, ...]) -> list[OneStageRun]:
    """Read runs that may stand in one table, of a run of several seeds each of them, and give each a name of its own.

    Raises:
        UserError: as :func:`read_one_stage`, for a folder given twice, for runs on different images, and for cells of
            different numbers of nodes.
    """
    paths = [part for name in folders for part in _seed_folders(Path(name))]
    if twice := [str(path) for path, n in Counter(path.resolve() for path in paths).items() if n > 1]:
        raise UserError(f"{twice[0]} is given twice")
    runs = [read_one_stage(path) for path in bar(paths, "reading runs", delay=SOON)]
    first = runs[0].config
    keys = [*DATA, "num_nodes", *(["data"] if first["dataset"] == "imagefolder" else [])]
    for path, run in zip(paths[1:], runs[1:]):
        for key in keys:
            if run.config.get(key) != first.get(key):
                what = "have cells of other sizes" if key == "num_nodes" else "are on different images"
                values = f"{key} {first.get(key)} and {run.config.get(key)}"
                raise UserError(f"{paths[0]} and {path} {what}: {values}; compare runs that share it")
    if len({run.name for run in runs}) < len(runs):
        runs = [replace(run, name=str(path)) for run, path in zip(runs, paths)]
    return runs


def _seed_folders(folder: Path) -> list[Path]:
    seeds = [part for part in folder.glob("seed-*") if part.name[5:].isdecimal()]
    return sorted(seeds, key=lambda part: int(part.name[5:])) or [folder]


def _read(folder: Path) -> OneStageRun:
    config = read_config(folder)
    if "termination_interval" not in config:
        raise UserError(f"{folder} is not a run of train_onestage.py: its config.yaml has no termination_interval")
    if config.get("space") == CHAIN:
        raise UserError(f"{folder} is a run of chains, and what is asked here is of cells; name runs of cells")
    for name in ("epsilon", "learning_rate"):
        number(config, name)
    num_nodes = _cells(config) * integer(config, "num_nodes")
    integer(config, "patience")
    text(config, "dataset")
    metrics, rows = read_lines(folder / "metrics.jsonl"), read_lines(folder / "distances.jsonl")
    if metrics and not rows:
        raise UserError(f"{folder} holds no distances.jsonl: the run was made before distances were recorded")
    searching = [row for row in metrics if number(row, "searching")]
    key = "distances" if text(config, "distance") == "top_s" else "distances_full"
    recoveries = []
    for row in rows:
        if integer(row, "epoch") >= len(searching):
            break  # its epoch is not over
        distances = _distances(row, key, num_nodes)
        terminated = frozenset(row["terminated"]) if _whole(row.get("terminated")) else None
        if terminated is None:
            raise ValueError(f"distances.jsonl: terminated is {shown(row.get('terminated'))}, not a list of nodes")
        recoveries.append(
            Recovered(integer(row, "step"), integer(row, "epoch"), distances, terminated, text(row, "hash"))
        )
    if not any(recovery.distances for recovery in recoveries):
        raise UserError(f"{folder} has no distances yet: wait for the epoch of the run's second recovery to end")
    try:
        lines = read_lines(folder / "genotypes.jsonl")[: len(searching)]
        genotypes = [genotype_from_json(line.get("genotype")) for line in lines]
    except UserError as error:
        raise ValueError(f"genotypes.jsonl: {error}") from None
    if len(genotypes) < len(searching):
        raise ValueError("genotypes.jsonl misses epochs that metrics.jsonl has")
    if any(len(genotype.normal + genotype.reduce) < num_nodes for genotype in genotypes):
        raise ValueError(f"genotypes.jsonl has cells of fewer than {num_nodes // _cells(config)} nodes")
    fixed = folder / "genotype.json"
    result = read_object(fixed) if fixed.exists() else {}
    return OneStageRun(
        name=folder.resolve().name,
        config=config,
        steps_per_epoch=max(1, integer(metrics[0], "step") // (integer(metrics[0], "epoch") + 1)),
        recoveries=tuple(recoveries),
        genotypes=tuple(genotypes),
        fixed_after=integer(result, "search_epochs") if result.get("search_epochs") is not None else None,
        all_terminated=bool(result.get("all_terminated")),
        search_acc=percent(searching[-1], "test/acc"),
        end_acc=percent(metrics[-1], "test/acc") if (folder / "result.json").exists() else None,
    )


def _cells(config: dict[str, Any]) -> int:
    """How many cells are searched."""
    return 1 if config.get("shared_cell") else 2


def _distances(row: Row, key: str, num_nodes: int) -> tuple[float, ...] | None:
    """How far each node's z has moved, None where that is not known of all."""
    values = row.get(key)
    if values is None or (isinstance(values, list) and None in values):
        return None
    if not isinstance(values, list) or len(values) != num_nodes:
        raise ValueError(f"distances.jsonl: {key} is {shown(values)}, not {num_nodes} numbers")
    numbers = dict(enumerate(values))
    return tuple(number({key: numbers[node]}, key, most=1e300) for node in range(num_nodes))


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)

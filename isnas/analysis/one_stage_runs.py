"""One-stage runs as their folders tell them, finished or not; only whole epochs count."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from isnas.base.errors import UserError
from isnas.base.options import free_options
from isnas.data.data_options import DataOptions
from isnas.data.large.streams import StreamOptions
from isnas.engine.harness_options import RunOptions, SeedOptions
from isnas.space.cells.genotype import Genotype, genotype_from_json

#: Options that do not decide what a run finds: those that may change when it is resumed.
FREE = free_options(RunOptions, SeedOptions, StreamOptions, DataOptions)
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
        """Intermediate nodes of both cells."""
        return 2 * int(self.config["num_nodes"])

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
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{folder} cannot be read: {type(error).__name__} {error}") from None


def read_runs(folders: tuple[str, ...]) -> list[OneStageRun]:
    """Read runs that may stand in one table, of a run of several seeds each of them, and give each a name of its own.

    Raises:
        UserError: as :func:`read_one_stage`, for a folder given twice, for runs on different images, and for cells of
            different numbers of nodes.
    """
    paths = [part for name in folders for part in _seed_folders(Path(name))]
    if twice := [str(path) for path, n in Counter(path.resolve() for path in paths).items() if n > 1]:
        raise UserError(f"{twice[0]} is given twice")
    runs = [read_one_stage(path) for path in paths]
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
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    if "termination_interval" not in config:
        raise UserError(f"{folder} is not a run of train_onestage.py: its config.yaml has no termination_interval")
    metrics, rows = _rows(folder / "metrics.jsonl"), _rows(folder / "distances.jsonl")
    if metrics and not rows:
        raise UserError(f"{folder} holds no distances.jsonl: the run was made before distances were recorded")
    searching = [row for row in metrics if row["searching"]]
    key = "distances" if config["distance"] == "top_s" else "distances_full"
    recoveries = []
    for row in rows:
        if row["epoch"] >= len(searching):
            break  # its epoch is not over
        distances = None if row[key] is None or None in row[key] else tuple(map(float, row[key]))
        if distances is not None and len(distances) != 2 * config["num_nodes"]:
            raise UserError(f"{folder}: a row of distances.jsonl has {len(distances)} nodes")
        terminated = frozenset(map(int, row["terminated"]))
        recoveries.append(Recovered(int(row["step"]), int(row["epoch"]), distances, terminated, str(row["hash"])))
    if not any(recovery.distances for recovery in recoveries):
        raise UserError(f"{folder} has no distances yet: wait for the epoch of the run's second recovery to end")
    genotypes = [genotype_from_json(row["genotype"]) for row in _rows(folder / "genotypes.jsonl")[: len(searching)]]
    if len(genotypes) < len(searching):
        raise UserError(f"{folder} cannot be read: genotypes.jsonl misses epochs that metrics.jsonl has")
    fixed = folder / "genotype.json"
    result = json.loads(fixed.read_text(encoding="utf-8")) if fixed.exists() else {}
    return OneStageRun(
        name=folder.resolve().name,
        config=config,
        steps_per_epoch=metrics[0]["step"] // (metrics[0]["epoch"] + 1),
        recoveries=tuple(recoveries),
        genotypes=tuple(genotypes),
        fixed_after=result.get("search_epochs"),
        all_terminated=bool(result.get("all_terminated")),
        search_acc=float(searching[-1]["test/acc"]),
        end_acc=float(metrics[-1]["test/acc"]) if (folder / "result.json").exists() else None,
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that may be growing: a last line without its end is left out."""
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines]

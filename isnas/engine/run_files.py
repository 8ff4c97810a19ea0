"""What a run folder holds, for a page about it: what is damaged or of another kind is not there, and nothing raises."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from isnas.base.errors import UserError
from isnas.base.options import build, load_yaml
from isnas.base.text import number, read_json, read_text
from isnas.base.yaml_text import read_config

Row = dict[str, Any]
#: Files larger than this are not read: 10,000 epochs of a search have a tenth of it.
_LARGEST = 200_000_000
_LARGEST_PICTURE = 20_000_000


class Setting(NamedTuple):
    """An option of a run, and its default where that is known."""

    name: str
    value: str
    default: str | None


class Connection(NamedTuple):
    """An operation between two nodes of a cell, by the numbers that a genotype gives them."""

    cell: str
    node: int
    predecessor: int | None  # none: of a chain
    operation: str


class RunFiles:
    """The files of a run folder; ``kind`` is the class of the run's options, None where that is not known."""

    def __init__(self, folder: Path, kind: type[Any] | None) -> None:
        self.folder, self.kind = folder, kind
        self.environment = self.object("env.json")
        self.found = self.object("genotype.json")
        self.result = self.object("result.json")
        self.metrics = self.rows("metrics.jsonl")
        self.genotypes = self.rows("genotypes.jsonl")

    @cached_property
    def config(self) -> dict[str, str]:
        """The run's settings as they stand in config.yaml."""
        try:
            return {name: _written(value) for name, value in read_config(self.folder / "config.yaml").items()}
        except UserError:
            return {}

    def settings(self) -> list[Setting]:
        """All options with their defaults, in their order; without defaults where the class does not fit the file."""
        if self.kind is not None:
            try:
                options = build(self.kind, load_yaml(self.kind, self.folder / "config.yaml"))
            except UserError:
                pass
            else:
                fields = vars(self.kind)["__dataclass_fields__"]
                return [
                    Setting(name, _written(value), _written(fields[name].default))
                    for name, value in vars(options).items()
                ]
        return [Setting(name, value, None) for name, value in self.config.items()]

    def object(self, name: str) -> Row:
        """The object in a JSON file; empty when there is none."""
        try:
            value = read_json(self.folder / name, _LARGEST)
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def rows(self, name: str) -> list[Row]:
        """The objects in a file of JSON lines, up to the first line that is none."""
        found: list[Row] = []
        try:
            for line in read_text(self.folder / name, _LARGEST).split("\n")[:-1]:
                row = json.loads(line)
                if not isinstance(row, dict):
                    break
                found.append(row)
        except (OSError, ValueError, RecursionError):
            pass
        return found

    def table(self, name: str) -> list[list[str]]:
        """The rows of a file of comma-separated values that have as many cells as the first."""
        try:
            rows = list(csv.reader(read_text(self.folder / name, _LARGEST).splitlines()))
        except (OSError, ValueError, csv.Error):
            return []
        return [row for row in rows if len(row) == len(rows[0])]

    def picture(self, name: str) -> bytes:
        """The bytes of a picture; none when it is not there or too large for a page."""
        path = self.folder / name
        try:
            return path.read_bytes() if path.is_file() and path.stat().st_size <= _LARGEST_PICTURE else b""
        except OSError:
            return b""


def figure(row: Mapping[str, Any], name: str) -> float | None:
    """A number of a row, or None."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        return None
    return float(value)


def count(text: str) -> float:
    """The number in a cell of a table; 0 where there is none."""
    try:
        return max(0.0, min(number(text), 1e15))
    except ValueError:
        return 0.0


def pictures_of_architecture(folder: Path, suffix: str) -> list[Path]:
    """The pictures of this kind in a run's folder, of its cells or of its chain."""
    return [path for name in ("cell*", "chain") for path in sorted(folder.glob(f"{name}.{suffix}"))]


def connections(genotype: Any) -> list[Connection]:
    """The connections of a genotype in JSON, of whatever space: lists of nodes, each of (operation, predecessor)."""
    found = []
    cells = genotype.items() if isinstance(genotype, dict) else ()
    for cell, nodes in cells:
        first = 1 if cell == "recurrent" else 2  # of the nodes that have connections; the inputs come before
        if cell == "chain":
            found += _blocks(nodes)
            continue
        for node, pairs in enumerate(nodes if isinstance(nodes, list) else (), first):
            for pair in pairs if isinstance(pairs, list) else ():
                match pair:
                    case [str(operation), int(predecessor)]:
                        found.append(Connection(str(cell), node, predecessor, operation))
    return found


def _blocks(stages: Any) -> list[Connection]:
    """The candidates of a chain's blocks, each stage being a cell."""
    found = []
    for stage, blocks in enumerate(stages if isinstance(stages, list) else (), 1):
        for place, block in enumerate(blocks if isinstance(blocks, list) else (), 1):
            names = block.split("+") if isinstance(block, str) else []
            found += [Connection(f"stage {stage}", place, None, name) for name in names]
    return found


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_written, value))
    if value is None or value == "":
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)

"""What a folder of shards must hold: as shards.json says, which make_shards.py writes, or by the shards' numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from isnas.base.errors import UserError
from isnas.base.text import printable, read_json, shown
from isnas.data.class_folders import some
from isnas.data.large.shard_index import Entries

#: What make_shards.py has packed: in the first file while it is at it, in the second one when it is done.
UNFINISHED_FILE, FINISHED_FILE = "unfinished.json", "shards.json"

#: The name of a shard: what stands before its number, the number, of how many, and what stands behind.
_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})(?:-of-([0-9]{1,18}))?([^0-9]*)\.tar", re.DOTALL)


class ShardRecord(NamedTuple):
    """A shard as it was made."""

    size: int  #: in bytes
    images: int
    digest: str  #: of its :class:`isnas.data.large.shard_index.Entries`


@dataclass(frozen=True)
class Packed:
    """What shards.json says.

    ``images`` are the numbers of images for train and val; ``shards`` those of shards; ``records`` what each must be by
    its name, None in a folder of an earlier version, whose shards.json knows of no single shard.
    """

    path: Path
    classes: int
    images: dict[str, int]
    shards: dict[str, int]
    records: dict[str, dict[str, ShardRecord]] | None

    def require_files(self, name: str, paths: Sequence[Path]) -> None:
        """Raise a :class:`UserError` unless all shards of train or val are there, as large as they were, and no other.

        Raises:
            OSError: when one cannot be read.
        """
        if self.records is None:
            if len(paths) != self.shards[name]:
                raise UserError(
                    f"{self.path.parent} holds {len(paths)} shards for {name}, and {self.path.name} says "
                    f"{self.shards[name]}; fetch or make the missing ones, and remove those that do not belong there"
                )
            return
        records, there = self.records[name], {path.name for path in paths}
        for names, fault, remedy in (
            ({*records} - there, f"are missing from {self.path.parent}", "fetch or make them"),
            (there - {*records}, f"are in {self.path.parent}, but not in {self.path.name}", "remove them"),
        ):
            if names:
                raise UserError(f"shards for {name} {fault}: {some(sorted(names))}; {remedy}")
        for path in paths:
            if (size := path.stat().st_size) != records[path.name].size:
                raise self._changed(path, f"{size} bytes", f"{records[path.name].size}")

    def require_images(self, name: str, paths: Sequence[Path], entries: Sequence[Entries]) -> None:
        """Raise a :class:`UserError` unless the shards hold the images that were packed, in their places."""
        if self.records is not None:
            for path, each in zip(paths, entries):
                _, images, digest = self.records[name][path.name]
                if (len(each.labels), each.digest) != (images, digest):
                    raise self._changed(path, f"{len(each.labels)} images ({each.digest})", f"{images} ({digest})")
        found = sum(len(each.labels) for each in entries)
        if found != self.images[name]:
            raise UserError(
                f"the shards for {name} in {self.path.parent} hold {found} images, and {self.path.name} says "
                f"{self.images[name]}; fetch or make them anew"
            )

    def _changed(self, path: Path, found: str, said: str) -> UserError:
        return UserError(
            f"the shard {path} is not the one that was made: it has {found}, and {self.path.name} says {said}; "
            "fetch or make it anew"
        )


def read_packed(root: Path) -> Packed | None:
    """What shards.json says of the shards in a folder; None without one, as with shards of others.

    Raises:
        UserError: when it is damaged.
        OSError: when it cannot be read.
    """
    path = root / FINISHED_FILE
    try:
        facts = read_json(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    try:
        images = {name: _count(facts[name][0]) for name in ("train", "val")}
        shards = {name: -(-count // max(1, _count(facts["images_per_shard"]))) for name, count in images.items()}
        records = _records(facts["shards"]) if "shards" in facts else None
        return Packed(path, _count(facts["classes"]), images, shards, records)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise _damaged(path, "it says something else than tools/make_shards.py writes") from None


def shard_records(paths: Sequence[Path], entries: Sequence[Entries]) -> dict[str, ShardRecord]:
    """What shards.json keeps of shards, as they are now."""
    return {
        path.name: ShardRecord(path.stat().st_size, len(each.labels), each.digest) for path, each in zip(paths, entries)
    }


def require_numbers(paths: Sequence[Path]) -> None:
    """Raise a :class:`UserError` when the numbers in the shards' names show that some are missing.

    The last number of a name counts. Numbers that begin with 0 or 1, or of which more than half are there, must have
    no gap; after NUMBER-of-COUNT there must be so many.
    """
    found: dict[tuple[str, str, str], set[int]] = {}
    for path in paths:
        if match := _NUMBERED.fullmatch(path.name):
            before, number, count, behind = match.groups()
            found.setdefault((before, count or "", behind), set()).add(int(number))
    for (before, count, behind), numbers in found.items():
        first, span = min(numbers), max(numbers) - min(numbers) + 1
        counted = first <= 1 or span < 2 * len(numbers)
        missing = (int(count) if count else span if counted else 0) - len(numbers)
        if missing > 0:
            gap = next((number for number in range(first, first + span) if number not in numbers), None)
            raise UserError(
                f"{paths[0].parent} holds {len(numbers)} shards {printable(before)}NUMBER{count and f'-of-{count}'}"
                f"{printable(behind)}.tar of {len(numbers) + missing}{'' if gap is None else f', none of number {gap}'}"
                "; fetch the others, or if these are all that is meant, rename them 0, 1, 2, ... without -of-COUNT"
            )


def _records(value: Any) -> dict[str, dict[str, ShardRecord]]:
    return {
        name: {
            shard: ShardRecord(_count(size), _count(images), str(digest))
            for shard, (size, images, digest) in value[name].items()
        }
        for name in ("train", "val")
    }


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{shown(value)} is not a count")
    return value


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged: {reason}; fetch it anew, or make the shards anew with tools/make_shards.py")

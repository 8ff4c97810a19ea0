"""What a run writes as it goes: log.txt, metrics.jsonl, other rows and, from these, TensorBoard and a tracking service.

All are append-only, so their sizes at a checkpoint say what belongs to it: a resumed run cuts them back to those sizes
and goes on as if it had never been stopped. Digests show that what belongs to it is what was written. TensorBoard's
file is made anew from the others. Who holds the lock on log.txt owns the folder: nothing of a run is read or
written without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from weakref import WeakSet

from isnas.base import screen
from isnas.base.errors import UserError
from isnas.base.files import locked
from isnas.base.text import printable
from isnas.engine.board import FOLDER, GENOTYPES, METRICS, Board
from isnas.engine.epoch_line import epoch_line
from isnas.engine.tracking import Tracker

LOG = "log.txt"
#: What a choice among architectures has measured, a row each.
MEASUREMENTS = "measurements.jsonl"
FILES = (LOG, METRICS, GENOTYPES, "distances.jsonl", MEASUREMENTS)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one of a run's files of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Mark(NamedTuple):
    """How far a file has been written: its size in bytes, and the SHA-256 of them."""

    size: int
    sha256: str


class Claim:
    """A run folder that this process owns until it releases it or ends."""

    def __init__(self, folder: Path, made: Sequence[Path] = ()) -> None:
        """Lock a folder that is there; those in ``made`` go when it is given up, the innermost first.

        Raises:
            UserError: when another process owns it.
            OSError: when it cannot be written to.
        """
        path, descriptor = folder / LOG, None
        self.folder, self._made = folder, [*([] if path.exists() else [path]), *made]
        while descriptor is None:
            try:
                descriptor = locked(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            except BlockingIOError:
                message = f"another process is writing the run in {folder}; wait for it, or stop it first"
                raise UserError(message) from None
        self._descriptor: int | None = descriptor

    @classmethod
    def making(cls, folder: Path) -> Claim:
        """Claim a folder that need not be there; raises as above."""
        for attempt in range(10):
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            try:
                return cls(folder, missing)
            except FileNotFoundError:  # its owner was about to remove it
                if attempt == 9:
                    raise
        raise AssertionError

    def give_up(self) -> None:
        """Release the folder and remove what claiming it has made, as far as nothing is in it."""
        for path in self._made:
            with suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                elif not path.stat().st_size:
                    path.unlink()
        self.release()

    def release(self) -> None:
        """Let others have the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def misfits(folder: Path, marks: Mapping[str, Mark]) -> str | None:
    """What is wrong with the files of a folder for whom they were once as ``marks`` say; None where nothing is.

    Raises:
        OSError: when one cannot be read.
    """
    for name, mark in marks.items():
        try:
            with open(folder / name, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < mark.size:
                    return f"{name} has {size} bytes, it had {mark.size}"
                if _digest(file, mark.size).hexdigest() != mark.sha256:
                    return f"the first {mark.size} bytes of {name} are not those that were written"
        except FileNotFoundError:
            return f"{name} is gone"
    return None


def _digest(file: BinaryIO, size: int) -> hashlib._Hash:
    """SHA-256 of the first ``size`` bytes."""
    result = hashlib.sha256()
    while size > 0 and (part := file.read(min(size, 1 << 20))):
        result.update(part)
        size -= len(part)
    return result


class Records:
    """The records of a run folder that is owned, which :meth:`begin` opens; they close with it.

    ``in_epoch``: a terminal is spared the lines of the log, and gets one at the epoch's end.
    """

    in_epoch = False

    def __init__(self, claim: Claim, marks: Mapping[str, Mark] | None = None, tensorboard: bool = True) -> None:
        """``marks`` are those of a checkpoint which they fit, or None at the start of a run."""
        self.folder, self.tensorboard, self._claim = claim.folder, tensorboard, claim
        self._marks = marks or {}
        self._thread = threading.get_ident()
        _OPEN.add(self)
        self.files: dict[str, BinaryIO] = {}
        self._digests: dict[str, hashlib._Hash] = {}
        self.board: Board | None = None
        self.tracker: Tracker | None = None

    def begin(self) -> None:
        """Cut what is there back to the checkpoint; only then may something be written."""
        for name in FILES:
            if name in self._marks or (self.folder / name).exists():
                size = self._marks[name].size if name in self._marks else 0
                with open(self.folder / name, "rb") as file:
                    self._digests[name] = _digest(file, size)
                if os.fstat(self._file(name).fileno()).st_size > size:
                    self._file(name).truncate(size)
        shutil.rmtree(self.folder / FOLDER, ignore_errors=True)
        if self._marks.get(METRICS, Mark(0, "")).size:
            self._open_board()

    def marks(self) -> dict[str, Mark]:
        """What has been written so far and is on the disk, for a checkpoint."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        return {
            name: Mark(os.fstat(file.fileno()).st_size, self._digests[name].hexdigest())
            for name, file in self.files.items()
        }

    def log(self, message: str, event: bool = False) -> None:
        """One line in log.txt and on the screen, with the time in front; what cannot be seen in it is escaped.

        In an epoch a terminal shows it only if it is an ``event`` or a warning.
        """
        line = f"{time.strftime('%m/%d %I:%M:%S %p')} {printable(message)}"
        if event or message.startswith("WARNING") or not (self.in_epoch and screen.is_watched()):
            _print_line(line)
        self._write(LOG, line)

    def end_epoch(self, epoch: int, left: str | None) -> None:
        """The epoch has ended and its rows are written: on a terminal show its line, with the time that is ``left``."""
        self.in_epoch = False
        if screen.is_watched():
            paths = self.folder / METRICS, self.folder / GENOTYPES
            metrics, genotypes = (read_rows(path) if path.exists() else [] for path in paths)
            if line := epoch_line(epoch, metrics, genotypes, left):
                _print_line(line)

    def metrics(self, step: int, epoch: int, values: dict[str, Any]) -> None:
        """A row of metrics.jsonl, whose numbers TensorBoard and a tracking service show at ``step``."""
        row = {"step": step, "epoch": epoch, **values}
        self._write(METRICS, json.dumps(row, allow_nan=False))
        if self.board is not None:
            self.board.metrics(row)
        else:
            self._open_board()
        if self.tracker is not None:
            self.tracker.row(step, row)

    def row(self, name: str, row: dict[str, Any]) -> None:
        """A row of ``genotypes.jsonl`` or another of :data:`FILES`."""
        self._write(name, json.dumps(row, allow_nan=False))
        if self.board is not None and name == GENOTYPES:
            self.board.genotype(row)

    def finish(self, settings: Mapping[str, Any]) -> None:
        """The run has ended: show its pictures and settings, finish all files and let go of the folder."""
        if self.board is not None:
            self.board.finish(settings)
        self.close()

    def close(self) -> None:
        """Finish all files and let go of the folder."""
        if self.board is not None:
            self.board.close()
        if self.tracker is not None:
            self.tracker.close()
        for file in self.files.values():
            file.close()
        self._claim.release()
        _OPEN.discard(self)

    def discard(self) -> None:
        """Finish all files, which have been removed, and leave no folder where there was none."""
        self.close()
        self._claim.give_up()

    def _open_board(self) -> None:
        """Open TensorBoard's file with what the others hold."""
        if self.tensorboard:
            self.board = Board(self.folder)

    def _file(self, name: str) -> BinaryIO:
        if name not in self.files:
            self.files[name] = (self.folder / name).open("ab")
            self._digests.setdefault(name, hashlib.sha256())
        return self.files[name]

    def _write(self, name: str, line: str) -> None:
        content = (line + "\n").encode()
        file = self._file(name)
        file.write(content)
        file.flush()
        self._digests[name].update(content)


#: Those of this process that are not closed.
_OPEN: WeakSet[Records] = WeakSet()


@contextmanager
def closed_at_the_end() -> Iterator[None]:
    """A block in which this thread works at runs; whatever ends it, they are taken up again by whoever wants to."""
    before, thread = set(_OPEN), threading.get_ident()
    try:
        yield
    finally:
        for records in set(_OPEN) - before:
            if records._thread == thread:
                records.close()


class NoRecords(Records):
    """What a process has that does not write."""

    def __init__(self) -> None:
        pass

    def begin(self) -> None:
        pass

    def marks(self) -> dict[str, Mark]:
        return {}

    def log(self, message: str, event: bool = False) -> None:
        pass

    def end_epoch(self, epoch: int, left: str | None) -> None:
        pass

    def metrics(self, step: int, epoch: int, values: dict[str, Any]) -> None:
        pass

    def row(self, name: str, row: dict[str, Any]) -> None:
        pass

    def finish(self, settings: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def _print_line(line: str) -> None:
    if screen.has_bars():
        from tqdm import tqdm

        tqdm.write(line)  # keeps a progress bar in one piece
    else:
        print(line, flush=True)

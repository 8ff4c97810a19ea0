"""What a run writes as it goes: log.txt, metrics.jsonl, other rows and, from the metrics, TensorBoard.

All are append-only, so their sizes at a checkpoint say what belongs to it: a resumed run cuts them back to those sizes
and goes on as if it had never been stopped. TensorBoard's files are made anew from metrics.jsonl.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from isnas.base.errors import UserError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FILES = ("log.txt", "metrics.jsonl", "genotypes.jsonl", "distances.jsonl")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one of a run's files of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Records:
    """The records of one run folder; ``sizes`` are those of a checkpoint, or None at the start of a run.

    Raises:
        UserError: when another process is writing them.
    """

    def __init__(self, folder: Path, sizes: dict[str, int] | None = None, tensorboard: bool = True) -> None:
        self.folder, self.tensorboard = folder, tensorboard
        self.files: dict[str, TextIO] = {}
        _lock(self._file("log.txt"), folder)
        for name in FILES:
            if (folder / name).exists():
                size = (sizes or {}).get(name, 0)
                if os.fstat(self._file(name).fileno()).st_size > size:
                    self._file(name).truncate(size)
        shutil.rmtree(folder / "tb", ignore_errors=True)
        self.board: SummaryWriter | None = None
        if "metrics.jsonl" in self.files and os.fstat(self.files["metrics.jsonl"].fileno()).st_size:
            self._open_board()

    def sizes(self) -> dict[str, int]:
        """Bytes written so far, for a checkpoint."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: os.fstat(file.fileno()).st_size for name, file in self.files.items()}

    def log(self, message: str) -> None:
        """A line in log.txt and on the screen, with the time in front."""
        line = f"{time.strftime('%m/%d %I:%M:%S %p')} {message}"
        _print_line(line)
        self._write("log.txt", line)

    def metrics(self, step: int, epoch: int, values: dict[str, Any]) -> None:
        """A row of metrics.jsonl and its numbers as TensorBoard scalars at ``step``."""
        row = {"step": step, "epoch": epoch, **values}
        self._write("metrics.jsonl", json.dumps(row, allow_nan=False))
        if self.board is not None:
            _add_scalars(self.board, row)
        else:
            self._open_board()

    def row(self, name: str, row: dict[str, Any]) -> None:
        """A row of ``genotypes.jsonl`` or another of :data:`FILES`."""
        self._write(name, json.dumps(row, allow_nan=False))

    def close(self) -> None:
        """Finish all files."""
        for file in self.files.values():
            file.close()
        if self.board is not None:
            self.board.close()

    def _open_board(self) -> None:
        """Open TensorBoard's only file with what metrics.jsonl holds."""
        if not self.tensorboard:
            return
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self.board = SummaryWriter(self.folder / "tb", flush_secs=30)
        for row in read_rows(self.folder / "metrics.jsonl"):
            _add_scalars(self.board, row)

    def _file(self, name: str) -> TextIO:
        if name not in self.files:
            self.files[name] = (self.folder / name).open("a", encoding="utf-8")
        return self.files[name]

    def _write(self, name: str, line: str) -> None:
        file = self._file(name)
        file.write(line + "\n")
        file.flush()


class NoRecords(Records):
    """What a process has that does not write."""

    def __init__(self) -> None:
        pass

    def sizes(self) -> dict[str, int]:
        return {}

    def log(self, message: str) -> None:
        pass

    def metrics(self, step: int, epoch: int, values: dict[str, Any]) -> None:
        pass

    def row(self, name: str, row: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def _lock(file: TextIO, folder: Path) -> None:
    """Hold the file until the process ends, where the system and the file system have locks."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another process is writing the run in {folder}; wait for it, or stop it first") from None
    except (ImportError, OSError):
        pass


def _add_scalars(board: SummaryWriter, row: dict[str, Any]) -> None:
    for key, value in row.items():
        if key not in ("step", "epoch") and isinstance(value, int | float):
            board.add_scalar(key, value, row["step"])


def _print_line(line: str) -> None:
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(line)  # keeps a progress bar in one piece
    else:
        print(line, flush=True)

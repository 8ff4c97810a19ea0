"""A run and its folder: what is in it, how it is started, how it is taken up again."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

import torch

from isnas.base import preemption
from isnas.base.distributed import check_same, from_main, is_main, join, world_size
from isnas.base.errors import UserError, first_line
from isnas.base.extras import is_installed, require
from isnas.base.files import remove_unfinished, write_json, write_text
from isnas.base.launched import command_line, place
from isnas.base.options import fixed_values, to_dict, to_yaml
from isnas.base.text import printable, read_json, shown
from isnas.engine.checkpoint import LAST, PREVIOUS, load_checkpoint, save_checkpoint
from isnas.engine.harness_options import AnyRunOptions, RunOptions
from isnas.engine.records import FILES, LOG, Claim, Mark, NoRecords, Records
from isnas.engine.tracking import SERVICES, TRACKED, Tracker, check_service
from isnas.engine.weights import WEIGHTS_FILES

_REPOSITORY = Path(__file__).resolve().parents[2]
_START = ("env.json", "config.yaml")  # what a start writes, in this order
#: Options that may differ from start to start but not from process to process: they decide when all exchange something.
_IN_STEP = ("report_freq", "max_bad_images")
_PACKAGES = ("isnas", "torchvision", "numpy", "scikit-learn", "cvxpy", "clarabel", "Mosek")


def set_up(options: AnyRunOptions) -> torch.device:
    """For a training: find the device and meet the other processes.

    Raises:
        UserError: for a device that is not there or computes wrong gradients, processes that differ in what decides the
            result or in when they exchange something, or a batch that cannot be divided among them.
    """
    device = find_device(options.device, options.threads, options.tf32)
    options.check_device(device)
    join(device, options.timeout_minutes)
    if world_size() > 1:
        commit = _commit()
        facts = {"device": device.type, "torch": torch.__version__} | ({"commit": commit} if commit else {})
        in_step = {name: value for name, value in to_dict(options).items() if name in _IN_STEP}
        check_same(fixed_values(options) | in_step | facts, "start all of them alike")
    options.check_processes(world_size())
    return device


def find_device(name: str, threads: int, tf32: bool = False) -> torch.device:
    """Set the number of threads, if it is not 0, and find the device; ``tf32`` as in :class:`StepOptions`.

    ``auto`` is CUDA if it is there, the CPU otherwise, and never MPS, on which nothing here has been run; of several
    processes on a machine each takes a GPU of its own.

    Raises:
        UserError: for a device that is not there.
    """
    if threads:
        torch.set_num_threads(threads)
    me = place()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if me.world_size > 1 and name.startswith("cuda"):
        count = torch.cuda.device_count()
        if name != "cuda" or (count not in (0, 1) and me.local_rank >= count):
            raise UserError(
                f"device {name} is not for several processes; start one for each of the {count} GPUs of a machine and "
                "leave --device out"
            )
        name = "cuda:0" if count == 1 else f"cuda:{me.local_rank}"
    if name.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise UserError(f"device {name} cannot be used; choose cpu, cuda, cuda:N, mps or auto")
    if me.world_size > 1 and name.startswith("mps"):
        raise UserError(f"device {name} is for a process on its own; start the tool without torchrun or srun")
    try:
        probe = torch.ones(1, device=name)
        probe.add_(1).item()  # runs a kernel: a GPU this torch has none for fails here
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name} cannot be used: {first_line(error)}; --device cpu always can") from None
    device = probe.device  # with the number of the GPU, which set_device wants
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
    return device


class Run:
    """A run folder that is being written to; made by :func:`start_run`. Of several processes rank 0 writes.

    ``state`` is what its checkpoint holds, if there is one, ``source`` the name of that file.
    """

    def __init__(
        self,
        folder: Path,
        options: AnyRunOptions,
        checkpoint: dict[str, Any] | None,
        records: Records,
        notes: Sequence[str],
    ) -> None:
        self.folder = folder
        self.options = options
        self.state: dict[str, Any] | None = None if checkpoint is None else checkpoint["state"]
        self.source: str = LAST if checkpoint is None else checkpoint["file"]
        self.records = records
        self.saved_at = time.monotonic()
        self._notes = notes

    def begin(self) -> None:
        """Cut the records back to the checkpoint and log how the run begins: as soon as nothing can refuse it."""
        self.records.begin()
        for note in self._notes:
            self.log(note)

    def log(self, message: str, event: bool = False) -> None:
        """Write a line to the log; what is an ``event`` shows on a terminal in an epoch too."""
        self.records.log(message, event)

    def log_next(self, commands: Sequence[str]) -> None:
        """Write to the log which commands use what the run has left, a line for each."""
        for command in commands:
            self.log(f"next: {command}")

    @property
    def is_part(self) -> bool:
        """Whether it is one of several runs in a folder that has a config too."""
        folder = self.folder.resolve()
        return folder in runs_in(folder.parent) and (folder.parent / _START[1]).exists()

    def save(self, state: dict[str, Any], marks: dict[str, Mark] | None = None) -> None:
        """Write a checkpoint; ``marks`` are those of the records that belong to it, None for all they hold now."""
        if is_main():
            records = {name: tuple(mark) for name, mark in (marks or self.records.marks()).items()}
            content = {"state": state, "records": records, "options": fixed_values(self.options)}
            save_checkpoint(self.folder, content, keep_previous=self.source == PREVIOUS)
            self.source = LAST
        self.saved_at = time.monotonic()

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a file of the run folder as a whole."""
        if is_main():
            write_json(self.folder / name, content)

    def discard(self) -> None:
        """Remove what the run has written so far, and the folder when nothing else is in it."""
        for name in (*_START, LAST, PREVIOUS, TRACKED, *FILES):
            (self.folder / name).unlink(missing_ok=True)
        self.records.discard()

    def checkpoint_due(self) -> bool:
        """Whether ``checkpoint_minutes`` have passed since the last one; rank 0's clock counts."""
        return is_main() and time.monotonic() - self.saved_at >= 60.0 * self.options.checkpoint_minutes


def start_run(options: AnyRunOptions, kind: str, device: torch.device) -> Run:
    """Make the run folder, or take up the run in ``options.resume`` at its last checkpoint.

    Nothing of a run that is taken up is changed before :meth:`Run.begin`.

    Raises:
        UserError: when the folder already holds a run, or another process writes it, or its checkpoint is of another
            config or damaged.
    """
    check_service(options.log_to)
    preemption.listen()
    records: list[Records] = []

    def on_main() -> tuple[str, dict[str, Any] | None, list[str]]:
        notes: list[str] = []
        tensorboard = _with_tensorboard(options, notes)
        if options.resume:
            claim, checkpoint = _resumed(options, notes)
            notes += _beginning(options, claim.folder, checkpoint, device)
        else:
            claim, checkpoint = _new_folder(options, kind, device), None
            notes.append(f"run folder {claim.folder}")
        if checkpoint is None:
            notes += map(printable, options.notes)
        if tensorboard and not _is_unicode(claim.folder):
            notes.append("no TensorBoard files: it cannot write into a folder whose name is not UTF-8")
            tensorboard = False
        records.append(Records(claim, checkpoint and checkpoint["records"], tensorboard))
        if options.log_to in SERVICES:
            own = records[0]
            own.tracker = Tracker(options.log_to, claim.folder, fixed_values(options), own.log)
        return str(claim.folder), checkpoint, notes

    name, checkpoint, notes = from_main(on_main)
    if world_size() > 1:
        batch_size = options.batch_size
        notes.append(
            f"{world_size()} processes: {batch_size // world_size()} of {batch_size} {options.entries} of a batch to "
            f"each; what is random is drawn for the whole batch, from seed {options.seed}"
        )
    return Run(Path(name), options, checkpoint, records[0] if records else NoRecords(), notes)


def _with_tensorboard(options: AnyRunOptions, notes: list[str]) -> bool:
    """Whether its files are written: where it is installed, or the user insists."""
    if options.tensorboard:
        require("--tensorboard", "tensorboard")
    elif options.tensorboard is None and not is_installed("tensorboard"):
        notes.append(
            'WARNING: no TensorBoard files, as it is not installed: pip install "isnas[tracking]", or give '
            "--no_tensorboard"
        )
        return False
    return options.tensorboard is not False


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _new_folder(options: AnyRunOptions, kind: str, device: torch.device) -> Claim:
    if options.run_dir and options.save != RunOptions.save:
        raise UserError("--save has no effect with --run_dir, which names the run folder; leave one of them out")
    folder = Path(options.run_dir or f"{kind}-{options.save}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        if options.run_dir:
            _refuse_a_run(folder)
            claim = Claim.making(folder)
        else:
            folder = _made_anew(folder)
            claim = Claim(folder, [folder])
        try:
            _refuse_a_run(folder)  # again: its owner may have left it meanwhile
            remove_unfinished(folder)
            write_json(folder / _START[0], environment(device))
            write_text(folder / _START[1], to_yaml(replace(options, run_dir="")))
        except UserError:
            claim.give_up()
            raise
        except OSError:
            for name in _START:
                (folder / name).unlink(missing_ok=True)
            claim.give_up()
            raise
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise UserError(f"cannot write the run folder {folder}: {reason}") from None
    return claim


def _made_anew(folder: Path) -> Path:
    """A new folder of this name, or with -2, -3, ... behind it."""
    for number in count(1):
        path = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError


def _refuse_a_run(folder: Path) -> None:
    """Raise unless a run can begin in the folder: it began to when config.yaml is there, which is written last."""
    names = [name for name in (_START[1], LAST, PREVIOUS, "genotype.json", *WEIGHTS_FILES) if (folder / name).exists()]
    logged = (folder / LOG).exists() and (folder / LOG).stat().st_size > 0
    if names or logged or runs_in(folder):
        resume = f"go on with --resume {folder}, or " if _START[1] in names else ""
        raise UserError(f"{folder} already holds a run; {resume}choose another folder")


def runs_in(folder: Path) -> list[Path]:
    """The folders ``seed-N`` or ``setting-N`` in a folder of several runs, by their numbers."""
    parts = [part for part in folder.glob("se*-*") if re.fullmatch(r"(seed|setting)-[0-9]+", part.name)]
    return sorted(parts, key=lambda part: int(part.name.rpartition("-")[2]))


def _resumed(options: AnyRunOptions, notes: list[str]) -> tuple[Claim, dict[str, Any] | None]:
    """The run's folder and its checkpoint; what is to be said of it is added to ``notes``."""
    folder = Path(options.resume)
    if options.run_dir:
        raise UserError("--run_dir has no effect with --resume, which names the run folder; leave it out")
    try:
        claim = Claim(folder)
    except OSError as error:
        raise UserError(f"cannot write the run folder {folder}: {error.strerror}") from None
    try:
        checkpoint = _checkpoint(options, folder, notes)
    except BaseException:
        claim.give_up()
        raise
    remove_unfinished(folder)
    return claim, checkpoint


def _checkpoint(options: AnyRunOptions, folder: Path, notes: list[str]) -> dict[str, Any] | None:
    try:
        checkpoint = load_checkpoint(folder, notes.append)
    except UserError as error:
        if not options.parts():
            raise
        notes.append(f"{error}: the log of the whole begins anew")  # their own checkpoints are what counts
        return None
    if checkpoint is None:
        return None
    for key, value in fixed_values(options).items():
        if key not in checkpoint["options"]:
            raise UserError(f"cannot resume {folder}, a run of another version, without {key}; start a new run")
        stored = checkpoint["options"][key]
        if type(stored) is not type(value) or stored != value:
            raise UserError(
                f"the checkpoint in {folder} was made with {key} {shown(stored)}, but config.yaml says {shown(value)}; "
                "restore config.yaml or start a new run"
            )
    return checkpoint


def _beginning(
    options: AnyRunOptions, folder: Path, checkpoint: dict[str, Any] | None, device: torch.device
) -> list[str]:
    resuming = checkpoint is not None or bool(options.parts())
    how = f"resuming {folder}" if resuming else f"no checkpoint in {folder} yet: starting from the beginning"
    return [*_changes(folder, device), how]


def _changes(folder: Path, device: torch.device) -> list[str]:
    """What is not as it was when the run was started and may change the last bits of its result."""
    try:
        before = read_json(folder / _START[0])
        before["torch"] = before["packages"]["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        return ["env.json cannot be read: whether the run goes on under the same conditions is not known"]
    now = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": str(device)}
    now |= {"processes": world_size()}
    return [
        f"WARNING: {key} is {value}, it was {shown(before.get(key))}: the last bits of the result may differ"
        for key, value in now.items()
        if before.get(key) != value
    ]


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, hardware, threads and commit of this run."""
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "packages": {"torch": torch.__version__} | {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "device": str(device),
        "accelerator": accelerator,
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "commit": _commit(),
        "command": command_line(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return f"{names[0]} x {os.cpu_count()}"
    except (OSError, IndexError):
        return f"{platform.processor() or platform.machine()} x {os.cpu_count()}"


def _commit() -> str | None:
    """The checked-out commit, with ``-dirty`` when tracked files differ from it; None outside a checkout."""
    if not (_REPOSITORY / ".git").exists():  # installed; the folder may lie in a checkout of something else
        return None
    try:
        command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None

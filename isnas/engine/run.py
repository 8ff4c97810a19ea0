"""A run and its folder: what is in it, how it is started, how it is taken up again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from isnas.base import preemption
from isnas.base.distributed import from_main, is_main, join, place, world_size
from isnas.base.errors import UserError, first_line
from isnas.base.files import remove_unfinished, write_json, write_text
from isnas.base.options import fixed_values, to_yaml
from isnas.engine.checkpoint import LAST, PREVIOUS, load_checkpoint, save_checkpoint
from isnas.engine.harness_options import HarnessOptions, RunOptions
from isnas.engine.records import FILES, NoRecords, Records

_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGES = ("isnas", "torchvision", "numpy", "scikit-learn", "cvxpy", "clarabel", "Mosek")


def set_up(options: HarnessOptions) -> torch.device:
    """For a training: listen to signals, find the device and meet the other processes.

    Raises:
        UserError: for a device that is not there, or a batch that cannot be divided among the processes.
    """
    preemption.listen()
    options.check_processes(place().world_size)
    device = find_device(options.device, options.threads, options.tf32)
    join(device, options.timeout_minutes)
    return device


def find_device(name: str, threads: int, tf32: bool = True) -> torch.device:
    """Set the number of threads, if it is not 0, and find the device; ``tf32`` as in :class:`StepOptions`.

    ``auto`` is CUDA if it is there, the CPU otherwise; of several processes on a machine each takes a GPU of its own.

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
    if name.split(":")[0] not in ("cpu", "cuda"):  # b and the recovery need float64, which not every device has
        raise UserError(f"device {name} cannot be used; choose cpu, cuda, cuda:N or auto")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).add_(1).item()  # runs a kernel: a GPU this torch has none for fails here
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name} cannot be used: {first_line(error)}; --device cpu always can") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
    return device


class Run:
    """A run folder that is being written to; made by :func:`start_run`. Of several processes rank 0 writes."""

    def __init__(
        self, folder: Path, options: HarnessOptions, checkpoint: dict[str, Any] | None, records: Records
    ) -> None:
        self.folder = folder
        self.options = options
        self.state: dict[str, Any] | None = None if checkpoint is None else checkpoint["state"]
        self.records = records
        self.saved_at = time.monotonic()

    @property
    def log(self) -> Callable[[str], None]:
        """Write a line to the log."""
        return self.records.log

    def save(self, state: dict[str, Any], sizes: dict[str, int] | None = None) -> None:
        """Write a checkpoint; ``sizes`` are those of the records that belong to it, None for all they hold now."""
        if is_main():
            blob = {"state": state, "sizes": sizes or self.records.sizes(), "options": fixed_values(self.options)}
            save_checkpoint(self.folder, blob)
        self.saved_at = time.monotonic()

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a file of the run folder as a whole."""
        if is_main():
            write_json(self.folder / name, content)

    def discard(self) -> None:
        """Remove what the run has written so far, and the folder when nothing else is in it."""
        self.records.close()
        for name in ("config.yaml", "env.json", LAST, PREVIOUS, *FILES):
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def checkpoint_due(self) -> bool:
        """Whether ``checkpoint_minutes`` have passed since the last one; rank 0's clock counts."""
        return is_main() and time.monotonic() - self.saved_at >= 60.0 * self.options.checkpoint_minutes


def start_run(options: HarnessOptions, kind: str, device: torch.device) -> Run:
    """Make the run folder, or take up the run in ``options.resume`` at its last checkpoint.

    Raises:
        UserError: when the folder already holds a run, or its checkpoint is of another config or damaged.
    """
    records: list[Records] = []

    def on_main() -> tuple[str, dict[str, Any] | None]:
        folder, checkpoint = _resumed(options) if options.resume else (_new_folder(options, kind, device), None)
        records.append(Records(folder, checkpoint and checkpoint["sizes"], options.tensorboard))
        return str(folder), checkpoint

    name, checkpoint = from_main(on_main)
    run = Run(Path(name), options, checkpoint, records[0] if records else NoRecords())
    if not options.resume:
        run.log(f"run folder {run.folder}")
    elif is_main():
        _announce(run, checkpoint, device)
    if world_size() > 1:
        batch_size = options.batch_size
        run.log(
            f"{world_size()} processes: {batch_size // world_size()} of {batch_size} images of a batch to each; what "
            f"is random is drawn for the whole batch, from seed {options.seed}"
        )
    return run


def _new_folder(options: HarnessOptions, kind: str, device: torch.device) -> Path:
    if options.run_dir and options.save != RunOptions.save:
        raise UserError("--save has no effect with --run_dir, which names the run folder; leave one of them out")
    folder = Path(options.run_dir or f"{kind}-{options.save}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        names = ("config.yaml", "log.txt", LAST, PREVIOUS, "genotype.json", "weights.pt")
        if any((folder / name).exists() for name in names) or any(folder.glob("seed-*")):
            raise UserError(f"{folder} already holds a run; go on with --resume {folder}, or choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "env.json", environment(device))
        write_text(folder / "config.yaml", to_yaml(replace(options, run_dir="")))
    except OSError as error:
        raise UserError(f"cannot write the run folder {folder}: {error.strerror}") from None
    return folder


def _resumed(options: HarnessOptions) -> tuple[Path, dict[str, Any] | None]:
    """The run's folder and its checkpoint; what is to be said of it stands under ``notes``."""
    folder = Path(options.resume)
    if options.run_dir:
        raise UserError("--run_dir has no effect with --resume, which names the run folder; leave it out")
    notes: list[str] = []
    checkpoint = load_checkpoint(folder, notes.append)
    if checkpoint is not None:
        if not {"state", "sizes", "options"} <= checkpoint.keys():
            raise UserError(f"cannot resume {folder}: its {LAST} is not a checkpoint of a run; start a new run")
        for key, value in fixed_values(options).items():
            if key not in checkpoint["options"]:
                raise UserError(f"cannot resume {folder}, a run of another version, without {key}; start a new run")
            if checkpoint["options"].get(key) != value:
                raise UserError(
                    f"the checkpoint in {folder} was made with {key} {checkpoint['options'].get(key)}, but config.yaml "
                    f"says {value}; restore config.yaml or start a new run"
                )
        checkpoint["notes"] = notes
    return folder, checkpoint


def _announce(run: Run, checkpoint: dict[str, Any] | None, device: torch.device) -> None:
    remove_unfinished(run.folder)
    notes = [] if checkpoint is None else checkpoint["notes"]
    for note in notes + _changes(run.folder, device):
        run.log(note)
    several = bool(run.options.seeds)
    resuming = checkpoint is not None or several
    run.log(f"resuming {run.folder}" if resuming else f"no checkpoint in {run.folder} yet: starting from the beginning")


def _changes(folder: Path, device: torch.device) -> list[str]:
    """What is not as it was when the run was started and may change the last bits of its result."""
    try:
        before = json.loads((folder / "env.json").read_text(encoding="utf-8"))
        before["torch"] = before["packages"]["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        return ["env.json cannot be read: whether the run goes on under the same conditions is not known"]
    now = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": str(device)}
    now |= {"processes": world_size()}
    return [
        f"WARNING: {key} is {value}, it was {before.get(key)}: the last bits of the result may differ"
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
        "command": sys.argv,
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

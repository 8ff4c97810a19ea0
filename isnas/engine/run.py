"""A run and its folder: what is in it, how it is started, how it is taken up again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.base.files import remove_unfinished, write_json, write_text
from isnas.base.options import fixed_values, option, to_yaml
from isnas.engine.checkpoint import LAST, PREVIOUS, load_checkpoint, save_checkpoint
from isnas.engine.records import FILES, Records

_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGES = ("torchvision", "numpy", "scikit-learn", "cvxpy", "clarabel", "Mosek")


@dataclass(frozen=True)
class RunOptions:
    """Where and how a run runs, whatever it computes."""

    seed: int = option(0, "decides everything that is random", minimum=0)
    save: str = option("EXP", "name in the run folder search-{save}-{date}-{time}", free=True)
    run_dir: str = option("", "the run folder itself, instead of a name with a date", free=True)
    resume: str = option("", "go on with the run in this folder", free=True)
    device: str = option("auto", "cpu, cuda, cuda:N, or auto: cuda if it is there", free=True)
    threads: int = option(0, "CPU threads; 0 leaves it to torch", minimum=0, maximum=1024, free=True)
    report_freq: int = option(50, "steps between two lines of the log", minimum=1, free=True)
    checkpoint_minutes: float = option(10.0, "minutes between checkpoints within an epoch", above=0.0, free=True)
    tensorboard: bool = option(True, "write TensorBoard files, --no_tensorboard not to", free=True)


def set_up(options: RunOptions) -> torch.device:
    """Set the number of threads and find the device; ``auto`` is CUDA if it is there, the CPU otherwise.

    Raises:
        UserError: for a device that is not there.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):  # b and the recovery need float64, which not every device has
        raise UserError(f"device {name} cannot be used; choose cpu, cuda, cuda:N or auto")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).add_(1).item()  # runs a kernel: a GPU this torch has none for fails here
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise UserError(f"device {name} cannot be used: {reason}; --device cpu always can") from None
    return device


class Run:
    """A run folder that is being written to; made by :func:`start_run`."""

    def __init__(self, folder: Path, options: Any, checkpoint: dict[str, Any] | None) -> None:
        self.folder = folder
        self.options = options
        self.state: dict[str, Any] | None = None if checkpoint is None else checkpoint["state"]
        self.records = Records(folder, checkpoint and checkpoint["sizes"], options.tensorboard)
        self.saved_at = time.monotonic()

    @property
    def log(self) -> Callable[[str], None]:
        """Write a line to the log."""
        return self.records.log

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint."""
        blob = {"state": state, "sizes": self.records.sizes(), "options": fixed_values(self.options)}
        save_checkpoint(self.folder, blob)
        self.saved_at = time.monotonic()

    def discard(self) -> None:
        """Remove what the run has written so far, and the folder when nothing else is in it."""
        self.records.close()
        for name in ("config.yaml", "env.json", LAST, PREVIOUS, *FILES):
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def checkpoint_due(self) -> bool:
        """Whether ``checkpoint_minutes`` have passed since the last one."""
        return time.monotonic() - self.saved_at >= 60.0 * self.options.checkpoint_minutes


def start_run(options: Any, kind: str, device: torch.device) -> Run:
    """Make the run folder, or take up the run in ``options.resume`` at its last checkpoint.

    Raises:
        UserError: when the folder already holds a run, or its checkpoint is of another config or damaged.
    """
    if options.resume:
        return _resume(options, device)
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
    run = Run(folder, options, None)
    run.log(f"run folder {folder}")
    return run


def _resume(options: Any, device: torch.device) -> Run:
    folder = Path(options.resume)
    if options.run_dir:
        raise UserError("--run_dir has no effect with --resume, which names the run folder; leave it out")
    notes: list[str] = []
    checkpoint = load_checkpoint(folder, notes.append)
    if checkpoint is not None:
        if not {"state", "sizes", "options"} <= checkpoint.keys():
            raise UserError(f"cannot resume {folder}: its {LAST} is not a checkpoint of a run; start a new run")
        for key, value in fixed_values(options).items():
            if checkpoint["options"].get(key) != value:
                raise UserError(
                    f"the checkpoint in {folder} was made with {key} {checkpoint['options'].get(key)}, but config.yaml "
                    f"says {value}; restore config.yaml or start a new run"
                )
    run = Run(folder, options, checkpoint)
    remove_unfinished(folder)
    for note in notes + _changes(folder, device):
        run.log(note)
    several = bool(getattr(options, "seeds", ()))
    resuming = checkpoint is not None or several
    run.log(f"resuming {folder}" if resuming else f"no checkpoint in {folder} yet: starting from the beginning")
    return run


def _changes(folder: Path, device: torch.device) -> list[str]:
    """What is not as it was when the run was started and may change the last bits of its result."""
    try:
        before = json.loads((folder / "env.json").read_text(encoding="utf-8"))
        before["torch"] = before["packages"]["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        return ["env.json cannot be read: whether the run goes on under the same conditions is not known"]
    now = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": str(device)}
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
    try:
        command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None

"""The same run with several seeds or settings, one process each, in one folder that is resumed as a whole.

The folder holds ``seed-0``, ``seed-1``, ... or what else the options name, each a run folder like any other.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TextIO, TypeVar

import torch

from isnas.base import preemption
from isnas.base.errors import EXIT_PREEMPTED, EXIT_USER_ERROR, PreemptedError, UserError, lack_of_memory
from isnas.engine.harness_options import AnyRunOptions, RunOptions
from isnas.engine.run import Run, set_up, start_run
from isnas.engine.runs_page import write_group_page

Settings = TypeVar("Settings", bound=AnyRunOptions)


@dataclass
class SeedRuns:
    """What :func:`run_seeds` did: the run of the whole, the finished folders by their names, and what went wrong."""

    group: Run
    finished: dict[str, Path]
    failed: dict[str, str]

    def close(self, commands: Sequence[str] = ()) -> None:
        """Write the page of all, say which ``commands`` use the result if none has failed, finish the files.

        Raises:
            UserError: when a run has failed.
        """
        write_group_page(self.group, {name: self.finished[name] for name in in_order(self.finished)})
        if not self.failed:
            self.group.log_next(commands)
        self.group.records.close()
        if self.failed:
            reasons = "; ".join(f"{in_words(name)}: {self.failed[name]}" for name in in_order(self.failed))
            kind = next(iter(self.failed)).split("-")[0]
            raise UserError(f"{reasons}. The other {kind}s are done; --resume {self.group.folder} tries again")


def in_words(name: str) -> str:
    """What a run's folder is called in the log: ``seed 0``."""
    return name.replace("-", " ")


def in_order(names: Iterable[str]) -> list[str]:
    """Names of runs' folders by their numbers."""
    return sorted(names, key=lambda name: int(name.rpartition("-")[2]))


def run_seeds(options: Settings, kind: str, run_one: Callable[[Settings], object], result: str) -> SeedRuns:
    """Call ``run_one(options)`` with the changes of each of ``options.parts()``, in processes of their own.

    A part whose folder holds the file ``result`` is done; one whose folder holds a run is resumed. ``run_one`` must be
    a function of a module, so that another process can import it.

    Raises:
        UserError: when the options are such that no run can start; no folder is left behind then.
        PreemptedError: when a signal has come and the runs have saved what they have.
    """
    group = start_run(options, kind, set_up(options))
    group.begin()
    runs = SeedRuns(group, {}, {})
    running: dict[str, _Child] = {}
    parts = options.parts()
    waiting = list(parts)
    logged = (group.state or {}).get("finished", [])
    slots = list(range(min(options.jobs, len(waiting))))
    threads = options.threads if len(slots) == 1 else max(1, torch.get_num_threads() // len(slots))
    try:
        while waiting or running:
            while waiting and slots:
                name = waiting.pop(0)
                folder = group.folder / name
                if os.path.exists(folder / result):  # False where it cannot be looked into: the run says why
                    runs.finished[name] = folder
                    if name not in logged:
                        group.log(f"{in_words(name)} is done: {folder}")
                    continue
                place = "resume" if os.path.exists(folder / "config.yaml") else "run_dir"
                changes: dict[str, Any] = {"seeds": (), "jobs": 1, "threads": threads} | parts[name]
                changes |= {"save": RunOptions.save, "device": _device(options.device, slots[0])}
                own = replace(options, **(changes | {"resume": "", "run_dir": ""} | {place: str(folder)}))
                prefix = f"{in_words(name)}: " if options.jobs > 1 else ""
                running[name] = _Child(run_one, own, slots.pop(0), prefix)
            if running:
                wait([child.process.sentinel for child in running.values()], timeout=1.0)
                if preemption.asked():
                    _stop(running, group)
            for name, child in [(n, c) for n, c in running.items() if not c.process.is_alive()]:
                del running[name]
                slots.append(child.slot)
                folder = group.folder / name
                message = child.failure()
                if message is None:
                    runs.finished[name] = folder
                    group.log(f"{in_words(name)} is done: {folder}")
                    group.save({"finished": in_order(runs.finished)})
                elif not options.resume and not runs.finished and not any(group.folder.glob("*-*/config.yaml")):
                    group.discard()
                    raise UserError(message)
                else:
                    runs.failed[name] = message
                    group.log(f"{in_words(name)} failed: {message}")
    finally:
        for child in running.values():
            child.process.kill()
    return runs


def _stop(running: dict[str, _Child], group: Run) -> None:
    """Let every run save and stop, and stop.

    Raises:
        PreemptedError: always.
    """
    for child in running.values():
        child.process.terminate()
    for child in running.values():
        child.process.join()
    running.clear()
    raise PreemptedError(f"stopped by {preemption.asked()}, and every run saved; --resume {group.folder} goes on")


class _Child:
    """A process that runs one of them; it ends when this one does."""

    def __init__(self, run_one: Callable[[Settings], object], options: Settings, slot: int, prefix: str) -> None:
        self.slot = slot
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_run_child, args=(run_one, options, sender, prefix), daemon=True)
        with preemption.ignored_in_children(signal.SIGINT):  # this process ends them
            self.process.start()
        sender.close()

    def failure(self) -> str | None:
        """Why the process has failed, or None when it has not; it must have ended."""
        self.process.join()
        code = self.process.exitcode
        if code == 0:
            return None
        if self.receiver.poll():
            try:
                return self.receiver.recv()
            except EOFError:
                pass
        return f"killed by signal {-code}" if code and code < 0 else f"ended with exit code {code}, see above"


def _run_child(run_one: Callable[[Settings], object], options: Settings, sender: Connection, prefix: str) -> None:
    preemption.end_with_parent()
    preemption.begin_child()
    if prefix:
        sys.stdout = _Prefixed(sys.stdout, prefix, sys.stdout.isatty())
        sys.stderr = _Prefixed(sys.stderr, prefix)  # the bars of several processes would be one another's noise
    try:
        run_one(options)
    except PreemptedError:
        sys.exit(EXIT_PREEMPTED)
    except Exception as error:
        lacking = lack_of_memory(error)
        if lacking is None and not isinstance(error, UserError | OSError):
            raise
        sender.send(" ".join((lacking or str(error)).split()))
        sys.exit(EXIT_USER_ERROR)


class _Prefixed(io.TextIOBase):
    """Writes whole lines, each with a prefix, and is the ``terminal`` that it writes to or is none."""

    def __init__(self, stream: TextIO, prefix: str, terminal: bool = False) -> None:
        self.stream, self.prefix, self.terminal, self.rest = stream, prefix, terminal, ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        if lines:
            self.stream.write("".join(f"{self.prefix}{line}\n" for line in lines))
            self.stream.flush()
        return len(text)


def _device(name: str, slot: int) -> str:
    """The device of a slot: the GPUs in turn, unless one of them is named."""
    if name in ("auto", "cuda") and torch.cuda.device_count() > 1:
        return f"cuda:{slot % torch.cuda.device_count()}"
    return name

"""Signals that ask a run to stop: SIGTERM, as a cluster or a shutdown sends it, SIGUSR1, as a batch script does,
SIGHUP, from a terminal that goes away, and SIGINT, Ctrl-C.

Until a run's folder is there nothing can be lost, so a tool ends at once, also while it imports or waits for other
processes; from then on a signal is remembered, and the run saves its state at the next step. A second Ctrl-C ends it
at once. All of this is for processes that are tools, as they say by :func:`begin` or :func:`begin_child`; elsewhere,
as in a notebook, signals are left alone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from isnas.base import screen
from isnas.base.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))


#: What :func:`asked` calls SIGINT.
CTRL_C = "Ctrl-C"


class _State:
    is_tool = False
    asked_by: str | None = None
    begun_with: tuple[int, ...] = ()  #: signals that end the tool at once


def begin(trains: bool = False) -> None:
    """First of all in a tool, before the imports that take seconds: from now on signals end it with one line.

    Ctrl-C ends it with exit code 130, and a tool that ``trains`` is ended with 85 by a signal that asks a run to stop,
    as the same command starts it again. A thread sees to it, for the main one may wait for another process in code that
    is not Python's, or be loading a library. What a tool that trains prints may get lost with a terminal; its run has
    its log.
    """
    if trains:
        screen.outlive()
    _State.is_tool = True
    _State.begun_with = tuple(filter(_heeded, (signal.SIGINT, *(_SIGNALS if trains else ()))))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in _State.begun_with:
        signal.signal(number, _leave_to_thread)
    signal.set_wakeup_fd(writer)
    threading.Thread(target=_end_by_signal, args=(reader,), daemon=True).start()


def end_with_parent() -> None:
    """In a process that another one started by multiprocessing: end as soon as that is gone, be it by SIGKILL."""
    import multiprocessing  # needless in most tools

    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def begin_child() -> None:
    """First of all in a process that a tool has started for a run of its own: from now on :func:`listen` listens."""
    screen.outlive()
    _State.is_tool = True


def imported() -> None:
    """A tool has its imports. One that does not train is ended by Ctrl-C as Python has it, cleaning up behind it."""
    if _State.begun_with == (signal.SIGINT,):
        _stop_ending()


def listen() -> None:
    """From now on a tool remembers these signals instead of ending by them; a second Ctrl-C raises KeyboardInterrupt.

    What nohup has told the process to ignore it goes on to ignore.
    """
    if _State.is_tool and threading.current_thread() is threading.main_thread():
        _stop_ending()
        for number in filter(_heeded, _SIGNALS):
            signal.signal(number, _remember)
        if _heeded(signal.SIGINT):
            signal.signal(signal.SIGINT, _interrupt)


@contextmanager
def ignored_in_children(number: int) -> Iterator[None]:
    """A block in which processes are started that ignore a signal; this one does so until they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def asked() -> str | None:
    """The name of the signal that has come, :data:`CTRL_C` for SIGINT, None when none has."""
    return _State.asked_by


def _heeded(number: int) -> bool:
    return signal.getsignal(number) != signal.SIG_IGN


def _stop_ending() -> None:
    if _State.begun_with:
        if signal.SIGINT in _State.begun_with:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _State.begun_with = ()
        os.close(signal.set_wakeup_fd(-1))  # the thread ends with it


def _remember(number: int, frame: FrameType | None) -> None:
    _State.asked_by = signal.Signals(number).name


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _State.asked_by == CTRL_C:
        raise KeyboardInterrupt
    _State.asked_by = CTRL_C
    _say("Ctrl-C: saving at the next step; once more ends it at once")


def _leave_to_thread(number: int, frame: FrameType | None) -> None:
    if number != signal.SIGINT:  # in case listen() comes before the thread's turn
        _remember(number, frame)


def _end_by_signal(reader: int) -> None:
    """Wait for the number of a signal, and end the process by it; a pipe that is closed ends the thread."""
    while number := os.read(reader, 1):
        if number[0] not in _State.begun_with:  # of another handler, which has seen it itself
            continue
        code, line = EXIT_INTERRUPTED, "stopped by the user"
        if number[0] != signal.SIGINT:
            name = signal.Signals(number[0]).name
            code, line = EXIT_PREEMPTED, f"stopped by {name} before the first step; start it again"
        _say(line)
        os._exit(code)
    os.close(reader)


def _say(line: str) -> None:
    """A line on standard error from one of several processes, past Python's own streams, which may be at work."""
    if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) in ("0", ""):
        with suppress(OSError):  # it may be gone with the terminal
            os.write(2, f"{os.path.basename(sys.argv[0])}: {line}\n".encode(errors="replace"))

"""A user's mistake ends as one clear line and exit code 2, never as a traceback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from isnas.base import screen
from isnas.base.text import printable

EXIT_FAILURE = 1
EXIT_USER_ERROR = 2
EXIT_PREEMPTED = 85
EXIT_INTERRUPTED = 130
EXIT_READER_GONE = 141  # as a shell names the end by SIGPIPE

_LONGEST_LINE = 2000
_MEMORY = re.compile(
    "can't allocate memory|not enough memory|out of memory|Cannot allocate memory|Storage size calculation overflowed"
)


class UserError(ValueError):
    """A mistake of the user's; the message says what is wrong and what to do."""


class DivergedError(UserError):
    """A loss or a weight is no longer a number: start again with a smaller learning rate."""


class PreemptedError(Exception):
    """A signal has asked the run to stop, and its state is saved."""


class LostContactError(RuntimeError):
    """Another process of the same run has ended, or did not answer in time."""


def first_line(error: BaseException) -> str:
    """What an error says, without what follows in further lines; its kind when it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def lack_of_memory(error: BaseException) -> str | None:
    """What to tell the user of an error that says that there is not enough memory; None when it says something else."""
    said = str(error)
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and _MEMORY.search(said)):
        return None
    found = re.search(r"allocate ([\d.]+) ?(bytes|[KMGT]iB)", said)
    size = ""
    if found:
        wanted = f"{float(found[1]) / 2**30:.1f} GiB" if found[2] == "bytes" else f"{found[1]} {found[2]}"
        size = f" for {wanted} more"
    return (
        f"there is not enough memory{' on the GPU' if 'CUDA' in said else ''}{size}: take fewer images or words at a "
        "time, a smaller network or smaller images (--help lists the flags), or free some"
    )


def run_tool(main: Callable[[list[str]], object]) -> NoReturn:
    """Call ``main(argv)`` and exit, with one line unless all went well.

    0 when it returns, 2 for a :class:`UserError`, an OSError (a full disk, a folder that cannot be written) or too
    little memory, 85 when a signal has stopped it and it can be resumed, 1 when another process of the same run is
    gone, 130 for Ctrl-C, be it that a run has saved, and 141 without a word when nobody reads its output to the end,
    as in ``| head``. Of several processes one speaks.
    """
    code, line = 0, ""
    screen.accept_all_text()
    try:
        try:
            main(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say("stopped by the user")
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not screen.is_read():
            screen.silence(sys.stdout)
            sys.exit(EXIT_READER_GONE)
        code, line = _outcome(error)
        if not line:
            raise
    distributed = sys.modules.get("isnas.base.distributed")  # a tool that has not imported it has not met others
    if line:
        from isnas.base.launched import speaks_before_they_meet

        if speaks_before_they_meet() if distributed is None else distributed.speaks(code):
            _say(line)
    if distributed is not None:
        distributed.leave(code)
    sys.exit(code)


def _outcome(error: Exception) -> tuple[int, str]:
    """The exit code and the line for an error, "" when it is no user's mistake."""
    if isinstance(error, PreemptedError):
        from isnas.base import preemption  # which imports this module

        return EXIT_INTERRUPTED if preemption.asked() == preemption.CTRL_C else EXIT_PREEMPTED, str(error)
    if isinstance(error, LostContactError):
        return EXIT_FAILURE, f"error: {error}"
    lacking = lack_of_memory(error)
    if lacking or isinstance(error, UserError | OSError):
        return EXIT_USER_ERROR, f"error: {lacking or error}"
    return EXIT_FAILURE, ""


def _say(line: str) -> None:
    """One line on standard error, of what can be seen and of bounded length."""
    text = printable(" ".join(line.split()))
    if len(text) > _LONGEST_LINE:
        text = f"{text[: _LONGEST_LINE // 2]} ... {text[-_LONGEST_LINE // 2 :]}"
    with suppress(OSError):  # the terminal may be gone
        print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)

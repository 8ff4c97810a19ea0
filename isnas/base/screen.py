"""Standard output and error, whatever is at their other end: a terminal without umlauts, one that is gone, a pipe."""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import Any, TextIO

_GONE = (errno.EIO, errno.EPIPE, errno.ENXIO)


def accept_all_text() -> None:
    """Let both take any text: characters that their encoding lacks are written as escapes, and a closed one is none."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell has closed it: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def outlive() -> None:
    """Let both go on in silence when the terminal or the reader goes away: the work does not end with it."""
    accept_all_text()
    sys.stdout, sys.stderr = _Lasting(sys.stdout), _Lasting(sys.stderr)  # type: ignore[assignment]


def is_read() -> bool:
    """Whether anybody can still read standard output, as nobody does behind ``| head``."""
    try:
        waiting = select.poll()
        waiting.register(sys.stdout.fileno(), 0)
        return not any(event & select.POLLERR for _, event in waiting.poll(0))
    except (AttributeError, OSError, ValueError):
        return True


def is_watched() -> bool:
    """Whether standard output is a terminal: it gets a line for each epoch, others all of log.txt."""
    return sys.stdout.isatty()


def has_bars() -> bool:
    """Whether progress is shown, on standard error: on a terminal alone."""
    return sys.stderr.isatty()


def silence(stream: TextIO) -> None:
    """Send what is written from now on, and what waits to be, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _Lasting:
    """A stream that is silent once what it writes to is gone; a full disk remains an error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or not."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._silenced(error)
            return len(text)

    def flush(self) -> None:
        """Write what waits, or not."""
        try:
            self._stream.flush()
        except OSError as error:
            self._silenced(error)

    def _silenced(self, error: OSError) -> None:
        if error.errno not in _GONE:
            raise error
        silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

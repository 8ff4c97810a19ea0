"""A terminal in the place of standard output and error, and what it shows."""

import os
import pty
import sys
import termios
import threading
from contextlib import contextmanager


@contextmanager
def terminal(monkeypatch):
    """A terminal in the place of standard output and error; gives a list, in the end of its lines as they came."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 120))
    read, shown = [], []

    def drain():
        while part := _read(master):
            read.append(part)

    reader = threading.Thread(target=drain)
    reader.start()
    with open(slave, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        yield shown
    reader.join(timeout=60)
    os.close(master)
    shown += b"".join(read).decode().split("\r\n")


def _read(master):
    try:
        return os.read(master, 1 << 16)
    except OSError:  # how the end of a terminal reads
        return b""

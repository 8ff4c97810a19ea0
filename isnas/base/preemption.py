"""Signals that ask a run to stop: SIGTERM, as a cluster or a shutdown sends it, and SIGUSR1, as a batch script does."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class _Asked:
    by: str | None = None


def listen() -> None:
    """From now on remember these signals instead of ending by them."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, _remember)


def asked() -> str | None:
    """The name of the signal that has come, None when none has."""
    return _Asked.by


def _remember(number: int, frame: FrameType | None) -> None:
    _Asked.by = signal.Signals(number).name

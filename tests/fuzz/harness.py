"""Tries inputs on fuzz targets, in forked processes: a crash, a hang or a bomb is the fault of one input, by number.

An input is a function of the target's name, a seed and a number. It may be accepted, or refused with a UserError of
a length that a screen holds; everything else is an escape.
"""

import faulthandler
import gc
import json
import os
import random
import resource
import shutil
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from isnas.base.errors import UserError

ACCEPTED, REFUSED, ESCAPE = "accepted", "refused", "escape"

#: The longest message, in characters, without the folder of the input.
LONGEST = 2000

_ADDRESS_SPACE = 6 << 30  # beyond what the process has: the machine is not the input's to fill


@dataclass(frozen=True)
class Target:
    """A reader and what may become of its inputs.

    ``make(rng)`` is an input: bytes, text, files by name, or a value. ``check(input, folder)`` hands it to the reader
    and fails when what was read cannot be right. The suite tries so many ``inputs``, each of which may take ``seconds``
    and, at its peak, ``mebibytes``.
    """

    name: str
    make: Callable[[random.Random], Any]
    check: Callable[[Any, Path], None]
    inputs: int = 300
    mebibytes: int = 64
    seconds: float = 20.0


class Outcome(NamedTuple):
    """What became of an input; ``reason`` says what a refusal said, or what has escaped and where."""

    number: int
    kind: str
    reason: str


def made(target, seed, number):
    """An input of a target."""
    return target.make(random.Random(f"{target.name} {seed} {number}"))


def outcomes(target, seed, numbers, folder):
    """The outcome of every input in the range ``numbers``, tried below ``folder``, whatever becomes of the others."""
    made(target, seed, 0)  # what inputs are made of is then there in all processes
    gc.collect()  # what a child would free hides as much of what an input takes
    while numbers:
        tried = 0
        for outcome in _from_child(target, seed, numbers, folder):
            tried += 1
            yield outcome
        numbers = numbers[tried:]


def _from_child(target, seed, numbers, folder):
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(receiver)
            _serve(target, seed, numbers, folder, sender)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(sender)
    last = None
    try:
        with open(receiver) as answers:
            for line in answers:
                last = Outcome(*json.loads(line))
                yield last
    except GeneratorExit:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        late = f"took more than {target.seconds:g} seconds"
        ended = f"ended by {signal.Signals(-code).name}" if code < 0 else "cannot be made"
        reason = late if code == -signal.SIGALRM else ended
        yield Outcome(numbers[0] if last is None else last.number + 1, ESCAPE, reason)


def _serve(target, seed, numbers, folder, sender):
    torch.set_num_threads(1)
    faulthandler.disable()
    with open("/proc/self/statm") as statm:
        limit = int(statm.read().split()[0]) * resource.getpagesize() + _ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, wherever it is
    os.fsync = lambda _: None  # nothing is to outlast the machine
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        place = folder / f"{target.name}-{number}"
        place.mkdir()
        value = made(target, seed, number)
        signal.setitimer(signal.ITIMER_REAL, target.seconds)
        kind, reason = tried(target, value, place)
        signal.setitimer(signal.ITIMER_REAL, 0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        if grown > target.mebibytes and kind != ESCAPE:
            kind, reason = ESCAPE, f"took {grown} MiB"
        os.write(sender, json.dumps((number, kind, reason)).encode() + b"\n")
        shutil.rmtree(place, ignore_errors=True)
        if grown > target.mebibytes:
            return  # the peak of what follows would not show


def tried(target, value, folder):
    """The kind of what became of an input, and the reason."""
    try:
        target.check(value, folder)
    except UserError as error:
        message = str(error).replace(str(folder), "")
        if len(message) > LONGEST:
            return ESCAPE, f"a message of {len(message)} characters: {message[:80]!r}"
        return REFUSED, message[:200]
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/isnas/" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        try:
            text = str(error)[:160]
        except Exception:
            text = ""
        return ESCAPE, f"{type(error).__name__} at {place}: {text!r}"
    return ACCEPTED, ""


def keep(value, path):
    """Write an input where it can be looked at: a file, a folder of files, or its text."""
    if isinstance(value, dict) and all(isinstance(part, bytes) for part in value.values()):
        for name, content in value.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    else:
        path.write_bytes(value if isinstance(value, bytes) else repr(value).encode("utf-8", "backslashreplace"))

"""Which of several processes this is, by what its launcher has set.

A process is told who it is by torchrun (RANK, WORLD_SIZE, LOCAL_RANK) or by srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS,
SLURM_LOCALID).
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from isnas.base.errors import UserError
from isnas.base.text import digits, shown

_command: ContextVar[Sequence[str]] = ContextVar("command", default=())


@contextmanager
def called_as(words: Sequence[str]) -> Iterator[None]:
    """A block that does what this command line does, in a process that was started for something else."""
    before = _command.set(words)
    try:
        yield
    finally:
        _command.reset(before)


def command_line() -> list[str]:
    """The words of the command line whose work this is."""
    return list(_command.get() or sys.argv)


def command(name: str, *words: str) -> str:
    """What starts another command, with these words, in the way in which this one was: as a tool of a clone, or not."""
    program = Path(command_line()[0])
    tool = program.with_name(f"{name}.py")
    beside = program.suffix == ".py" and tool.is_file()
    return shlex.join([*(("python", str(tool)) if beside else ("isnas", name)), *words])


class Place(NamedTuple):
    """The rank of a process among all, their number, and its rank among those of its machine."""

    rank: int
    world_size: int
    local_rank: int


def place() -> Place:
    """Who this process is, by what its launcher has set; the only one, when none has.

    Raises:
        UserError: when the launcher's variables do not make sense.
    """
    env = os.environ
    if "WORLD_SIZE" in env or "RANK" in env:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif "SLURM_STEP_NUM_TASKS" in env:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    else:
        return Place(0, 1, 0)
    missing = [name for name in names[:2] if name not in env]
    if missing:
        raise UserError(
            f"{missing[0]} is not set though {names[0] if missing[0] == names[1] else names[1]} is; start the tool "
            "with torchrun or srun, or unset it for a process on its own"
        )
    found = Place(*(number_of(name, 0) for name in names))
    if not 0 <= found.rank < found.world_size:
        raise UserError(f"{names[0]} {found.rank} is not below {names[1]} {found.world_size}; start the tool anew")
    if found.world_size > 1:
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            if name not in env:
                raise UserError(
                    f"{names[1]} is {found.world_size} but {name} is not set: where rank 0 can be reached; start the "
                    f"tool with torchrun, export {name}, or unset {names[1]} for a process on its own"
                )
        if not 0 < number_of("MASTER_PORT", 0) < 2**16:
            raise UserError(f"MASTER_PORT must be from 1 to 65535, not {env['MASTER_PORT']}; export another")
    return found


def number_of(name: str, default: int) -> int:
    """The number in an environment variable that a launcher sets; ``default`` where it is empty or not there.

    Raises:
        UserError: when it holds something else, or more than nine digits.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    found = digits(text, 999_999_999)
    if found is None:
        raise UserError(
            f"the environment variable {name} must be a number of nine digits at most, not {shown(text)}; set it "
            "right, or start the tool with torchrun or srun, which set it"
        )
    return found


def speaks_before_they_meet() -> bool:
    """Whether this process tells the user of a fault, as others of its machine mostly have the same."""
    try:
        me = place()
        return me.world_size == 1 or me.local_rank == 0
    except UserError as error:
        number = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))
        return not re.fullmatch("0*[1-9][0-9]{0,8}", number) or "is not below" in str(error)

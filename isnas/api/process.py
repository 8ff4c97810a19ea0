"""A command as a function: options by name instead of flags, and a process that afterwards is as it was before."""

from __future__ import annotations

import io
import numbers
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from isnas.apps.console import COMMANDS
from isnas.base.errors import UserError, lack_of_memory
from isnas.base.launched import called_as, place
from isnas.base.text import shown


def run_command(name: str, options: Mapping[str, Any], show_log: bool) -> Path:
    """The run folder of a command that trains, one of :data:`isnas.apps.console.COMMANDS`, with these options.

    With ``show_log`` it prints what it does, as on a command line.

    Raises:
        UserError: as the command does.
    """
    words = as_flags(options)
    command = import_module(f"isnas.apps.{COMMANDS[name].module}")
    silence = nullcontext() if show_log else redirect_stdout(io.StringIO())
    with unchanged_process(), called_as([f"isnas {name}", *words]), silence:
        return command.main(words)


def as_flags(options: Mapping[str, Any]) -> list[str]:
    """Options by name as the words of a command line; what is None or an empty list is left out.

    Raises:
        UserError: for a value that a flag cannot have.
    """
    if "help" in options:
        raise UserError("there is no option help; help(isnas.search) and docs/api.md say what there is")
    words: list[str] = []
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif isinstance(value, list | tuple | range):
            words += [f"--{name}", *(_as_word(name, item) for item in value)] if len(value) else []
        else:
            words.append(f"--{name}={_as_word(name, value)}")
    return words


def _as_word(name: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return repr(float(value))
    raise UserError(f"{name} must be a number, a text, a path or a list of them, not {shown(value)}")


@contextmanager
def unchanged_process() -> Iterator[None]:
    """A block of work whose settings of the process end with it: threads, CUDA's device and precision, limits, runs.

    Raises:
        UserError: for too little memory, and where several processes have been started to train together, which a
            command does.
    """
    if place().world_size > 1:
        raise UserError("this process is one of several, in which Python calls nothing here; start the command itself")
    import torch

    from isnas.data.decoding import limit_megapixels, megapixels_limit
    from isnas.engine.records import closed_at_the_end

    threads, megapixels = torch.get_num_threads(), megapixels_limit()
    cudnn, precision = torch.backends.cudnn, torch.get_float32_matmul_precision()
    benchmark, tf32 = cudnn.benchmark, cudnn.allow_tf32
    device = torch.cuda.current_device() if torch.cuda.is_initialized() else None
    try:
        with closed_at_the_end():
            yield
    except (MemoryError, RuntimeError) as error:
        if lacking := lack_of_memory(error):
            raise UserError(lacking) from error
        raise
    finally:
        limit_megapixels(megapixels)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.cuda.is_initialized():
            cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
            torch.set_float32_matmul_precision(precision)
            if device is not None:
                torch.cuda.set_device(device)

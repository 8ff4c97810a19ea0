"""What takes seconds to import, named in a table and imported when it is used."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


def load(name: str) -> Any:
    """The function or class ``module:name``, its module being imported now if it is not yet."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def late(name: str, **fixed: Any) -> Callable[..., Any]:
    """A function that calls the one of this name, as in :func:`load`, with these arguments beside its own."""

    def call(*args: Any, **values: Any) -> Any:
        return load(name)(*args, **fixed, **values)

    return call


def callable_module(module: str, name: str) -> None:
    """Let a module be called as the function of this name is: a part of the package and a verb may share a word.

    Its signature and its docstring are then the function's.
    """

    class Called(ModuleType):
        def __call__(self, *args: Any, **values: Any) -> Any:
            return load(name)(*args, **values)

        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(load(name))

        @property
        def __doc__(self) -> str | None:  # type: ignore[override]
            return load(name).__doc__

    sys.modules[module].__class__ = Called

"""What takes seconds to import, named in a table and imported when it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
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

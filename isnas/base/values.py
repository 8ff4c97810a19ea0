"""The value of an option: its type and bounds, from what a user wrote, and how messages speak of it."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import types
import typing
from typing import Any

from isnas.base.errors import UserError
from isnas.base.text import brief, number, shown, whole_number

#: The types of options that are lists: ``--seeds 0 1 2``, in YAML ``seeds: [0, 1, 2]``.
INTEGERS, NUMBERS, TEXTS = tuple[int, ...], tuple[float, ...], tuple[str, ...]
LISTS = (INTEGERS, NUMBERS, TEXTS)

#: How a config writes what a flag says by being there: as YAML's older version has it, in any case.
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@functools.cache
def type_hints(cls: Any) -> dict[str, Any]:
    """The types of the options of a class, by their names."""
    return typing.get_type_hints(cls)


def coerce(field: dataclasses.Field, hint: Any, value: Any) -> Any:
    """The value of an option, as its type ``hint`` has it, one of its choices if it has any.

    Raises:
        UserError: when it cannot be that.
    """
    choices = field.metadata["choices"]
    optional = isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)
    if optional:
        if value is None or value == "none":
            return None
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
    try:
        result = _convert(hint, value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{field.name} must be {_article(type_name(hint))}, not {shown(value)}") from None
    if field.metadata["path"]:
        result = tuple(map(user_path, result)) if isinstance(result, tuple) else user_path(result)
    for each in result if isinstance(result, tuple) else (result,):
        if choices and each not in choices:
            raise UserError(f"unknown {field.name} {shown(each)}; choose from {', '.join(choices)}")
    return result


def _convert(hint: Any, value: Any) -> Any:
    """``value``, a text that a user wrote or a plain value, as the type ``hint``.

    Raises:
        TypeError, ValueError, OverflowError: when it is none.
    """
    if hint in LISTS:
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(_convert(typing.get_args(hint)[0], item) for item in value)
    if hint is bool:
        if isinstance(value, str) and value.lower() in _BOOLEANS:
            return _BOOLEANS[value.lower()]
        if not isinstance(value, bool):
            raise ValueError
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if hint is str:
        text = str(value)
        os.fsencode(text)  # no file, log or process takes what this refuses
        if "\0" in text:
            raise ValueError
        return text
    if isinstance(value, str):
        return whole_number(value.strip()) if hint is int else number(value.strip())
    result = hint(value)
    if hint is int and result != value:
        raise ValueError
    return result


def user_path(text: str | None) -> str:
    """A path as a user writes it."""
    return os.path.expanduser(text or "")


def check_bounds(field: dataclasses.Field, value: Any) -> None:
    """See that a number, and every one of a list, is finite and within the bounds of its option.

    Raises:
        UserError: when it is not.
    """
    if isinstance(value, tuple):
        for item in value:
            check_bounds(field, item)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{field.name} must be a finite number, not {value}")
    bounds = field.metadata["bounds"]
    tests = {
        "above": ("greater than", lambda bound: value > bound),
        "below": ("less than", lambda bound: value < bound),
        "minimum": ("at least", lambda bound: value >= bound),
        "maximum": ("at most", lambda bound: value <= bound),
    }
    for key, (words, holds) in tests.items():
        if bounds[key] is not None and not holds(bounds[key]):
            raise UserError(f"{field.name} must be {words} {brief(bounds[key])}, not {brief(value)}")


def type_name(hint: Any) -> str:
    """A type in a word."""
    if isinstance(hint, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    names = {int: "integer", float: "number", str: "text", bool: "true or false"}
    return (names | {INTEGERS: "integers", NUMBERS: "numbers", TEXTS: "texts"})[hint]


def _article(name: str) -> str:
    plain = name.endswith("s") or name.startswith(("true", "text"))
    return name if plain else ("an " if name[0] in "aeiou" else "a ") + name


def in_help(default: Any) -> str:
    """A default as the help shows it."""
    if isinstance(default, tuple) and default:
        return " ".join(map(str, default))
    return "none" if default in (None, "", ()) else str(default)

"""Configs as text: what a YAML file of the form ``option: value`` says, before any option's type decides on it.

YAML would have it that ``0300`` is 192, ``1:30`` is 90 and the last of two equal keys wins, and lets a line stand for a
billion others. Here a scalar is its characters, null is None, a list holds scalars, and nothing else is understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from isnas.base.configs import similar_config
from isnas.base.errors import UserError
from isnas.base.text import brief, read_text, shown

#: What a config can say: text, nothing, or a list of them.
Scalar = str | None
Value = Scalar | list[Scalar]

_NULL = ("", "~", "null", "Null", "NULL")
_LARGEST = 1_000_000  # bytes; the options of a run take 3,000


def read_config(path: Path) -> dict[str, Value]:
    """The lines ``option: value`` of a YAML file; scalars as they are written, without quotes.

    Raises:
        UserError: when the file cannot be read, is not YAML, or holds anything else: a key twice, a mapping or list
            within a value, an anchor, a tag, a second document.
    """
    name = brief(str(path), 300)
    try:
        text = read_text(path, _LARGEST)
    except OSError as error:
        near = similar_config(path) if isinstance(error, FileNotFoundError) else ""
        hint = f"; did you mean {near}?" if near else ""
        raise UserError(f"cannot read the config {name}: {error.strerror}{hint}") from None
    except ValueError as error:
        raise UserError(f"the config {name} is not YAML: {error}") from None
    try:
        return _values(name, yaml.parse(text, yaml.SafeLoader))
    except UserError:
        raise
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise UserError(f"the config {name} is not YAML: {str(error.problem)[:120]}{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"the config {name} is not YAML: {str(error)[:120]}") from None


def _values(name: str, events: Iterator[yaml.Event]) -> dict[str, Value]:
    """The mapping that the parser's ``events`` describe."""
    values: dict[str, Value] = {}
    started = False
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent) and started:
            raise _refused(name, event, "a second document begins; a config is one")
        if isinstance(event, yaml.NodeEvent):
            if not isinstance(event, yaml.MappingStartEvent):
                break
            _check_plain(name, event)
            while not isinstance(key := next(events), yaml.MappingEndEvent):
                _check_plain(name, key)
                if not isinstance(key, yaml.ScalarEvent):
                    raise _refused(name, key, "a list or mapping stands where the name of an option belongs")
                if key.value in values:
                    raise _refused(name, key, f"{shown(key.value)} is given twice; leave one of them out")
                values[key.value] = _value(name, key.value, events)
            started = True
    if not started:
        raise UserError(f"the config {name} must hold lines of the form 'option: value'")
    return values


def _value(name: str, key: str, events: Iterator[yaml.Event]) -> Value:
    event = next(events)
    _check_plain(name, event)
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.MappingStartEvent):
        raise _refused(name, event, f"{shown(key)} holds a mapping, which no option takes")
    items: list[Scalar] = []
    while not isinstance(item := next(events), yaml.SequenceEndEvent):
        _check_plain(name, item)
        if not isinstance(item, yaml.ScalarEvent):
            raise _refused(name, item, f"{shown(key)} holds a list within a list, which no option takes")
        items.append(_scalar(item))
    return items


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    return None if event.implicit[0] and event.value in _NULL else event.value


def _check_plain(name: str, event: yaml.Event) -> None:
    """Refuse what lets one place of a file stand for another, and what names a type."""
    if getattr(event, "anchor", None) is not None:
        raise _refused(name, event, "anchors and aliases (&, *) mean nothing here; write the value out")
    if getattr(event, "tag", None) is not None:
        raise _refused(name, event, "tags (!) mean nothing here; the option knows its type")


def _refused(name: str, event: yaml.Event, reason: str) -> UserError:
    return UserError(f"the config {name}, line {event.start_mark.line + 1}: {reason}")

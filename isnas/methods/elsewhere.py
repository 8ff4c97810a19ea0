"""Who has what a command line lacks, for messages: another method, or another tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

from isnas.methods.languages import LANGUAGE_SEARCHES, LANGUAGE_TRAININGS, RECURRENT
from isnas.methods.registry import METHODS, SEARCHES, SPACES, TRAININGS, MethodRow

#: The methods of each tool, on images and on text.
ON_IMAGES = {
    "train_search.py": SEARCHES.rows,
    "train_onestage.py": {"one_stage": TRAININGS.rows["one_stage"]},
    "evaluate.py": {"evaluation": TRAININGS.rows["evaluation"]},
}
ON_TEXT = {"train_search.py": LANGUAGE_SEARCHES.rows, "evaluate.py": LANGUAGE_TRAININGS.rows}


def elsewhere(name: str, value: object = None, methods: Mapping[str, MethodRow] | None = None) -> str:
    """Which of ``methods``, or else which space or tools, have an option of this name, in words; "" when none has.

    With a ``value`` of ``method`` or ``space`` the tool that has it, when that of ``methods`` has not.
    """
    mine = methods or {}
    if value is not None:
        return _tool_with(name, value, mine)
    if having := [method for method, row in mine.items() if name in _names(row)]:
        return f"--method {_listed(having, 'or')}"
    spaces = [space for space, row in SPACES.items() if name in {field.name for field in fields(row.full)}]
    if spaces and mine and all(METHODS.rows.get(method) is row for method, row in mine.items()):
        return f"--space {_listed(spaces, 'or')}"  # the run is of images, in another space
    on_images = [tool for tool, rows in ON_IMAGES.items() if spaces or name in set().union(*map(_names, rows.values()))]
    on_text = [tool for tool, rows in ON_TEXT.items() if name in set().union(*map(_names, rows.values()))]
    if not on_images and not on_text:
        return ""
    kind = "" if on_images and on_text else " on images" if on_images else " on text"
    return f"{_listed(on_images or on_text, 'and')}{kind}"


def _tool_with(name: str, value: object, mine: Mapping[str, MethodRow]) -> str:
    tools: list[str] = []
    if name == "method":
        tools = [tool for tool, rows in ON_IMAGES.items() if str(value) in rows and not mine.keys() & rows]
    elif name == "space" and value == RECURRENT:
        tools = [tool for tool, rows in ON_TEXT.items() if mine.keys() & rows]
    return next(iter(tools), "")


def _names(row: MethodRow) -> set[str]:
    return {field.name for field in fields(row.options())}


def _listed(names: Iterable[str], word: str) -> str:
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last

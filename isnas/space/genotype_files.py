"""What the genotypes of all spaces have in common where they are read: JSON files, and the text of DARTS.

Text is ``Genotype(field=..., ...)``. Only literals and ``range(...)`` are understood, and nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from isnas.base.errors import UserError
from isnas.base.text import closest, read_json, shown

#: The largest texts and files that are read: thrice the largest cells of a search.
_LONGEST = 200_000  # characters; 100 KB per 4,000 connections
_LARGEST = 1_000_000  # bytes

#: Nodes of a cell at most.
MOST_NODES = 96

AnyKind = TypeVar("AnyKind")

#: The line that :func:`lines_of` puts below a genotype, with the time that a log has before it, or without.
_BELOW = re.compile(r"\)\s{1,9}(?:[\d/: APM]{1,30}\s)?extra_bn = ('\w{1,99}')$")  # in linear time


def lines_of(genotype: Any, extra_bn: str) -> tuple[str, ...]:
    """The lines of a log that say a genotype without extra batch normalisations, and which it has.

    They are apart so that the first pastes into the code of DARTS; :func:`fields_in_text` takes both, or the first.
    """
    return (f"genotype = {genotype}", *([] if extra_bn == "none" else [f"extra_bn = {extra_bn!r}"]))


def fields_in_text(text: str, form: str) -> dict[str, Any]:
    """The fields in the text of a genotype; ``form`` shows them in messages: ``normal=[...], normal_concat=...``.

    The text may be a line of a log with the line of its extra batch normalisations below it.

    Raises:
        UserError: when it is of another form.
    """
    if len(text) > _LONGEST:
        raise UserError(f"genotype: the text has {len(text):,} characters, more than the {_LONGEST:,} of any cells")
    refused = UserError(f"genotype: the text is not of the form Genotype({form})")
    text = _BELOW.sub(r", extra_bn=\1)", text.strip())
    try:
        with warnings.catch_warnings():  # of an escape or a call that Python finds odd: below they are refused
            warnings.simplefilter("ignore")
            call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refused from None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
        raise refused
    names = [keyword.arg for keyword in call.keywords]
    if call.args or None in names or len(set(names)) < len(names):
        raise UserError(f"genotype: every field must be given once, by name, as in {form.partition(', ')[0]}")
    return {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}


def genotype_in_file(path: Path, from_json: Callable[[Any], AnyKind]) -> AnyKind:
    """What ``from_json`` makes of a JSON file, or of what it has under ``genotype``.

    Raises:
        UserError: when the file cannot be read, is not JSON, or ``from_json`` refuses it; it names the file.
    """
    try:
        value = read_json(path, _LARGEST)
    except OSError as error:
        raise UserError(f"cannot read the genotype {path}: {error.strerror}") from None
    except ValueError as error:
        reason = "" if isinstance(error, json.JSONDecodeError) else f" ({str(error)[:100]})"
        raise UserError(
            f"{path} is not JSON{reason}; a genotype file is what the search writes as genotype.json"
        ) from None
    if isinstance(value, dict) and isinstance(value.get("genotype"), dict):
        value = value["genotype"]
    try:
        return from_json(value)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def genotype_at(text: str, read: Callable[[Path], AnyKind]) -> AnyKind | None:
    """What ``read`` makes of the file, or of that in the run folder, that ``text`` names; None where there is neither.

    Raises:
        UserError: as ``read`` does.
    """
    path = Path(text)
    try:
        if path.is_dir():
            best = path / "best"  # of a search with several seeds
            return read((best if best.is_dir() else path) / "genotype.json")
        if path.suffix == ".json" or path.is_file():
            return read(path)
    except OSError:
        pass  # no file system has a name that long
    return None


def config_of(text: str) -> Path | None:
    """The config.yaml of the run whose folder, or whose file in it, ``text`` names; None where there is none.

    ``best``, of a search with several seeds, has that of the folder it is in.
    """
    try:
        folder = Path(text).parent if os.path.isfile(text) else Path(text)
        if os.path.basename(os.path.abspath(folder)) == "best" and not (folder / "config.yaml").is_file():
            folder = Path(os.path.normpath(folder / ".."))
        return folder / "config.yaml" if text and (folder / "config.yaml").is_file() else None
    except (OSError, ValueError):  # a text or a name that is no path
        return None


def genotype_of(
    text: str,
    from_text: Callable[[str], AnyKind],
    named: Callable[[str], AnyKind],
    read: Callable[[Path], AnyKind],
    names: Iterable[str],
    forms: str,
) -> AnyKind:
    """What ``text`` names: ``Genotype(...)`` text, a name that ``named`` knows, or what :func:`genotype_at` finds.

    ``names`` are those that it knows, and ``forms`` all that ``text`` may be, for messages.

    Raises:
        UserError: when it is none of these.
    """
    if "Genotype(" in text:
        return from_text(text[text.index("Genotype(") :])  # a line copied from a log says "genotype = " first
    try:
        return named(text)
    except UserError:
        pass  # not a name: a file or folder, then
    found = genotype_at(text, read)
    if found is None:
        near = closest(text, names, least=0.75)
        raise UserError(f"unknown architecture {shown(text)}{f'; did you mean {near}?' if near else f': give {forms}'}")
    return found


def is_pair(value: Any) -> bool:
    """Whether it looks like an (operation, predecessor) pair."""
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str)


def as_range(numbers: tuple[int, ...]) -> list[int] | range:
    """Ascending numbers as text has them: a range where they are one."""
    run = range(numbers[0], numbers[-1] + 1)
    return run if numbers == tuple(run) else list(numbers)


def canonical_concat(field: str, concat: Any, nodes: range, of: str) -> tuple[int, ...]:
    """The numbers of the nodes that form the output, ascending; ``field`` and ``of`` are what messages call them.

    Raises:
        UserError: when there is none, one twice, or one that is not among ``nodes``.
    """
    if not isinstance(concat, list | tuple | range) or not concat:
        raise UserError(f"genotype: {field} must list at least one node")
    for node in concat:
        if isinstance(node, bool) or not isinstance(node, int) or node not in nodes:
            raise UserError(
                f"genotype: {field} names node {shown(node)}, but {of} has nodes {nodes.start}..{nodes.stop - 1}"
            )
    if len(set(concat)) < len(concat):
        raise UserError(f"genotype: {field} names a node twice")
    return tuple(sorted(concat))


def check_nodes(field: str, nodes: Any) -> None:
    """See that there are nodes, and not too many.

    Raises:
        UserError: when it is not so.
    """
    if not isinstance(nodes, list | tuple) or not nodes:
        raise UserError(f"genotype: {field} has no nodes")
    if len(nodes) > MOST_NODES:
        raise UserError(f"genotype: {field} has {len(nodes)} nodes; a cell has {MOST_NODES} at most")


def canonical_node(field: str, number: int, node: Any, names: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """A node's (operation, predecessor) pairs, by predecessor and then in the order of ``names``.

    Raises:
        UserError: for what is no list of such pairs, another operation, or a predecessor that is not below ``number``.
    """
    if not isinstance(node, list | tuple):
        raise UserError(f"genotype: node {number} of {field} must be a list of (operation, predecessor)")
    if len(node) > (most := number * len(names)):
        raise UserError(
            f"genotype: node {number} of {field} has {len(node)} connections; there are {most} different ones"
        )
    for pair in node:
        if not is_pair(pair):
            raise UserError(
                f"genotype: {shown(pair)} in node {number} of {field} is not an (operation, predecessor) pair"
            )
        operation, predecessor = pair
        if operation not in names:
            raise UserError(f"genotype: unknown operation {shown(operation)}; choose from {', '.join(names)}")
        if isinstance(predecessor, bool) or not isinstance(predecessor, int) or not 0 <= predecessor < number:
            raise UserError(f"genotype: node {number} of {field} cannot have predecessor {shown(predecessor)}")
    return tuple(sorted(((o, p) for o, p in node), key=lambda pair: (pair[1], names.index(pair[0]))))


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        bounds = [_literal(argument) for argument in node.args]
        if node.keywords or not 1 <= len(bounds) <= 2 or not all(type(b) is int and 0 <= b <= 100 for b in bounds):
            raise UserError("genotype: range takes one or two small integers")
        return list(range(*bounds))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise UserError("genotype: only names, numbers and lists are allowed in the text, no expressions") from None


def require_count(name: str, value: Any) -> None:
    """See that a size in a file is a whole number from 1 up.

    Raises:
        ValueError: when it is not.
    """
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 up, not {shown(value)}")

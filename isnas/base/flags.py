"""Flags: the words of a command line as values of the options of a class, its help, and what to say of other words."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import typing
from argparse import SUPPRESS
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.habits import advice, own_name
from isnas.base.text import brief, closest, printable, shown
from isnas.base.values import INTEGERS, LISTS, in_help, type_hints, type_name

#: For messages about what a tool does not have: ``elsewhere(name)`` is who has an option of this name, in words, and
#: ``elsewhere(name, value)`` the tool that has this value of it; "" when nobody has.
Elsewhere = Callable[..., str]


def nobody(name: str, value: object = None) -> str:
    """What a tool hands over that knows of no other."""
    return ""


class Parser(argparse.ArgumentParser):
    """argparse's, whose mistakes are the user's, which takes no abbreviations, and whose help ends with examples."""

    def __init__(self, about: str = "", **settings: Any) -> None:
        what, *self.examples = about.splitlines() or [""]
        self.forms: dict[str, str] = {}  # of the values that flags take
        super().__init__(description=what, allow_abbrev=False, **settings)

    def error(self, message: str) -> typing.NoReturn:
        flag = message.removeprefix("argument ").partition(":")[0]
        form = f": {flag} {self.forms[flag]}" if flag in self.forms else ""
        raise UserError(f"{message[:200]}{form}; --help lists the flags")

    def format_help(self) -> str:
        tool = f"python {sys.argv[0]}" if sys.argv[0].endswith(".py") else sys.argv[0]
        command = self.prog.removeprefix(Path(sys.argv[0]).name)
        examples = [f"  {tool}{command} {words}".rstrip() for words in self.examples]
        return "\n".join([super().format_help(), *(["examples:", *examples, ""] if examples else [])])


def parse_flags(cls: type, argv: list[str], about: str, command: str, elsewhere: Elsewhere) -> dict[str, Any]:
    """What the words of a command line give: texts by option of ``cls``, and by ``config``; the rest as in ``parse``.

    Raises:
        UserError: for a word that is no flag, and belongs to none.
    """
    fields, hints = {field.name: field for field in dataclasses.fields(cls)}, type_hints(cls)
    words = _joined([_by_present_name(fields, by_own_name(word, fields)) for word in argv])
    parser = _flag_parser(cls, about, command, given={word.partition("=")[0] for word in words})
    namespace, rest = parser.parse_known_intermixed_args(words)
    given = vars(namespace)
    if rest:
        raise _unknown(rest[0], words, [*fields, "config"], given, elsewhere)
    for name in given.keys() & fields.keys():
        if hints[name] == INTEGERS or (hints[name] in LISTS and fields[name].metadata["choices"]):
            given[name] = [part for word in given[name] for part in word.strip(",").split(",")]  # no value has a comma
    return given


def _flag_parser(cls: type, about: str, command: str, given: Collection[str]) -> argparse.ArgumentParser:
    """The parser of the flags of ``cls``, in groups, for a command line that has those in ``given``."""
    fields, hints, titles = dataclasses.fields(cls), type_hints(cls), _titles(cls)
    placed = [field.name for field in fields if field.metadata["positional"] and f"--{field.name}" not in given]
    forms = [f"[{name.upper()}{' ...' if hints[name] in LISTS else ''}]" for name in placed]
    program = f"{Path(sys.argv[0]).name} {command}".rstrip()
    parser = Parser(about, prog=program, usage=" ".join(["%(prog)s [options]", *forms]), argument_default=SUPPRESS)
    parser.add_argument("--config", metavar="FILE", help="YAML file with options, or the name of one of configs/")
    below = dict.fromkeys(titles[field.name] for field in fields if field.name in titles)
    groups = {"": parser} | {title: parser.add_argument_group(title) for title in below}
    for field in fields:
        name, hint, text = field.name, hints[field.name], field.metadata["help"]
        add, many, form = groups[titles.get(name, "")].add_argument, hint in LISTS, _form(field, hint)
        default = f"(default: {in_help(field.default)})"
        if hint in (bool, bool | None):
            add(f"--{name}", action="store_true", dest=name, help=_told(text, default, f"--no_{name} to undo"))
            add(f"--no_{name}", action="store_false", dest=name, help=SUPPRESS)
            continue
        if many and field.metadata["choices"]:
            text += f", of {', '.join(field.metadata['choices'])}"
        if name in placed:
            count = "*" if many else "?"
            add(name, metavar=name.upper(), nargs=count, help=_told(text, f"(or --{name} {form})"))
        told = SUPPRESS if name in placed else _told(text, default)
        add(f"--{name}", metavar=form, nargs="+" if many else None, help=told)
        parser.forms[f"--{name}"] = form
    return parser


def _form(field: dataclasses.Field, hint: Any) -> str:
    """What stands for the value of a flag, or for each of them: ``INTEGER``, ``PATH``, ``{homotopy,ista}``."""
    if field.metadata["choices"] and hint not in LISTS:
        return "{" + ",".join(field.metadata["choices"]) + "}"
    return "PATH" if field.metadata["path"] else type_name(hint).upper().removesuffix("S")


def _told(text: str, note: str, more: str = "") -> str:
    """A help text as argparse takes it."""
    return f"{text} {note}{f'; {more}' if more else ''}".replace("%", "%%")


def _titles(cls: type) -> dict[str, str]:
    """By option the title that it is found below: of the first component with a title that declares it."""
    titles: dict[str, str] = {}
    for component in reversed(cls.__mro__):
        if title := vars(component).get("title"):
            titles |= {name: title for name in vars(component).get("__annotations__", {}) if name not in titles}
    return titles


def _unknown(word: str, words: list[str], names: list[str], given: Collection[str], elsewhere: Elsewhere) -> UserError:
    """What to say of one of the ``words`` that is none of the flags, ``names``, and belongs to none of those given."""
    flag, _, value = word.partition("=")
    if not re.match("--?[A-Za-z]", word):
        found = advice("", brief(word), [name for name in names if name not in given])
        return UserError(f"unexpected argument {shown(word)}; {found or '--help lists the flags'}")
    name, after = flag.lstrip("-"), words[words.index(word) + 1 :]
    value = value or (after[0] if after and not after[0].startswith("-") else "")
    found = advice(name, brief(value), names)
    ending = f"; {found}" if found else correction(name, names, "--", elsewhere=elsewhere)
    return UserError(f"unknown flag {brief(flag)}{ending}")


def by_own_name(word: str, names: Collection[str]) -> str:
    """``--batch-size=3`` -> ``--batch_size=3``, and with ``learning_rate`` among the ``names`` of options ``--lr`` ->
    ``--learning_rate``; values stay as they are.
    """
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return f"--{own_name(name.replace('-', '_'), names)}{equals}{value}"


def _by_present_name(fields: Mapping[str, dataclasses.Field], word: str) -> str:
    """A flag by its present name."""
    name, equals, value = word.partition("=")
    return f"--{present_name(fields, name[2:], name)}{equals}{value}" if name.startswith("--") else word


def _joined(words: list[str]) -> list[str]:
    """``--lasso_lambda -1e-5`` -> ``--lasso_lambda=-1e-5``, which argparse would take for another flag."""
    result: list[str] = []
    for word in words:
        if re.match(r"-(\.?\d|inf|nan)", word) and result and re.fullmatch(r"--\w+", result[-1]):
            result[-1] += "=" + word
        else:
            result.append(word)
    return result


def present_name(fields: Mapping[str, dataclasses.Field], name: str, place: str) -> str:
    """The name of an option that was given, be it by an old name, which is then said."""
    for field in fields.values():
        if name == field.metadata["formerly"] != "":
            print(f"{printable(place)} is now called {field.name}", file=sys.stderr)
            return field.name
    return name


def correction(
    word: str, names: Collection[str], prefix: str = "", what: str = "flags", elsewhere: Elsewhere = nobody
) -> str:
    """The end of a message about a ``word`` that is none of ``names``."""
    near = own_name(word, names)
    if near == word:
        if owner := elsewhere(word.removeprefix("no_")):
            return f"; it is an option of {owner}"
        near = closest(word, names)
    return f"; did you mean {prefix}{near}?" if near else f"; --help lists the {what}"

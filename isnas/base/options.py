"""Options: one dataclass per component, filled from defaults, then a preset, then a YAML file, then flags.

A tool's options are a dataclass that inherits from the components it uses, so that the instance can be handed to
each of them. Every field is declared with :func:`option`, which carries the help text and the bounds. A key that
does not exist, a value of the wrong type, out of bounds or not finite is a :class:`UserError`, however the instance is
made: see :class:`Component`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import math
import os
import re
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from isnas.base.configs import config_file
from isnas.base.errors import UserError
from isnas.base.text import brief, number, printable, shown, whole_number
from isnas.base.yaml_text import read_config

#: The types of options that are lists: ``--seeds 0 1 2``, in YAML ``seeds: [0, 1, 2]``.
INTEGERS, NUMBERS, TEXTS = tuple[int, ...], tuple[float, ...], tuple[str, ...]
LISTS = (INTEGERS, NUMBERS, TEXTS)

#: How a config writes what a flag says by being there: as YAML's older version has it, in any case.
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Component:
    """What every class of options inherits, itself a frozen dataclass all of whose fields are an :func:`option`.

    An instance is coerced and checked when it is made, be it by its class, :func:`build` or ``dataclasses.replace``:
    every value against its type, choices and bounds, then all together by each component's ``validate``.

    ``defaults`` are values of other components' options that take the place of their defaults where it is composed
    with them, but neither of a preset's nor of what is given.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        cls: Any = type(self)
        fields, hints = dataclasses.fields(cls), _hints(cls)
        for field in fields:
            object.__setattr__(self, field.name, _coerce(field, hints[field.name], vars(self)[field.name]))
        for field in fields:
            _check_bounds(field, vars(self)[field.name])
        for component in reversed(cls.__mro__):
            if "validate" in vars(component):
                component.validate(self)


Options = TypeVar("Options", bound=Component)


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def option(
    default: Any,
    help: str,
    *,
    choices: Iterable[str] | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    above: float | None = None,
    below: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    free: bool = False,
    positional: bool = False,
    path: bool = False,
    formerly: str = "",
) -> Any:
    """A dataclass field with its help text and bounds.

    ``free`` options may change when a run is resumed. ``positional`` ones are given without a flag, in the order in
    which they are declared, between the flags or after them; one that is missing keeps its default, which the
    ``validate`` of its component refuses. In a ``path`` a leading ``~`` is the home folder. ``formerly`` is a name
    that is still understood, and said to be an old one. An option with ``presets`` chooses one of them: by name the
    values of other options that take the place of their defaults, but not of what is given.
    """
    choices = presets or choices or ()
    bounds = {"above": above, "below": below, "minimum": minimum, "maximum": maximum}
    table = isinstance(choices, Mapping)  # whose rows may become more
    metadata: dict[str, Any] = {"help": help, "choices": choices if table else tuple(choices), "bounds": bounds}
    metadata |= {"presets": presets or {}}
    metadata |= {"free": free, "positional": positional, "path": path, "formerly": formerly}
    return dataclasses.field(default=default, metadata=metadata)


def compose(name: str, *components: type, **chosen: Chosen) -> type[Any]:
    """Options that inherit from all ``components``, with a field for each choice by which they were found.

    Of an option that several of them declare the first one's default and bounds hold, as with attributes, unless one
    has another among its ``defaults``. Instances go to other processes and back, though no module holds their class.
    """
    return _composed(name, components, tuple(chosen.items()))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A value of an option on which other options depend, and what it was chosen from."""

    value: str
    choices: tuple[str, ...]
    help: str


def chosen(argv: list[str], name: str, choices: Iterable[str], default: str, help: str) -> Chosen:
    """The value of the option ``name`` before the class of all options is known.

    It is that in the folder after ``--resume``, or the flag's, or that in the file after ``--config``, or the default.

    Raises:
        UserError: when it is none of ``choices``.
    """
    given, folder, file = _early(argv, name)
    try:
        value = _said_first(name, given, folder, file)
        found = Chosen(default if value is None else str(value), tuple(choices), help)
        if found.value not in found.choices:
            place = "" if value is given else f" in {file}"
            raise UserError(f"unknown {name} {shown(found.value)}{place}; choose from {', '.join(found.choices)}")
    except UserError as error:
        if folder and _is_there(file):
            raise _of_another_tool(folder, error) from None
        raise
    return found


def stored_or_given(argv: list[str], name: str) -> Any:
    """What the folder after ``--resume``, the flag, or the file after ``--config`` says of an option; None: nothing."""
    given, folder, file = _early(argv, name)
    try:
        return _said_first(name, given, folder, file)
    except UserError:
        return given  # what is wrong with the file is said where it is read for all options


def _said_first(name: str, given: str | None, folder: str, file: Path) -> Any:
    stored = read_config(file).get(name) if _is_there(file) else None
    return given if given is not None and not (folder and stored) else stored


def _early(argv: list[str], name: str) -> tuple[str | None, str, Path]:
    """The flag's value, the folder after ``--resume`` if there is one, and the file that holds options."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag in (name, "config", "resume"):
        parser.add_argument(f"--{flag}", nargs="?")
    given = vars(parser.parse_known_args([_underscored(word) for word in argv])[0])
    folder = _path(given["resume"])
    return given[name], folder, Path(folder, "config.yaml") if folder else config_file(given["config"] or "")


@functools.cache
def _composed(name: str, components: tuple[type, ...], chosen: tuple[tuple[str, Chosen], ...]) -> type[Any]:
    fields: list[Any] = [(key, str, option(each.value, each.help, choices=each.choices)) for key, each in chosen]
    # a base that comes late brings the fields of its own bases with it; here the first class that declares one decides
    kind = type(name, components, {})
    order, defaults = kind.__mro__, dict(ChainMap(*(vars(part).get("defaults", {}) for part in components)))
    for key in dict.fromkeys(field.name for part in components for field in dataclasses.fields(part)):
        owner = next(part for part in order if key in vars(part).get("__annotations__", {}))
        field = owner.__dataclass_fields__[key]  # type: ignore[attr-defined]
        again = dataclasses.field(default=defaults.get(key, field.default), metadata=field.metadata)
        fields.append((key, _hints(owner)[key], again))

    def reduce(self: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _recomposed, (name, components, chosen, to_dict(self))

    namespace = {"__reduce__": reduce, "__module__": __name__}
    return dataclasses.make_dataclass(name, fields, bases=components, namespace=namespace, frozen=True)


def _recomposed(name: str, components: tuple[type, ...], chosen: Any, values: dict[str, Any]) -> Any:
    return _composed(name, components, chosen)(**values)


def parse_command(commands: Mapping[str, str], argv: list[str], description: str) -> tuple[str, list[str]]:
    """The first word of ``argv``, one of ``commands`` (by name, with what it does), and the words after it.

    Raises:
        UserError: when the word is missing or unknown.
    """
    parser = _Parser(description=description, epilog="COMMAND --help lists the flags of a command")
    entries = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, what in commands.items():
        entries.add_parser(name, help=what.replace("%", "%%"), add_help=False)
    word = argv[0] if argv else ""
    if word in ("-h", "--help"):
        parser.print_help()
        sys.exit(0)
    if not word or word.startswith("-"):
        raise UserError(f"the command comes first: {', '.join(commands)}; --help says what each does")
    if word not in commands:
        raise UserError(f"unknown command {shown(word)}{_hint(word, commands)}")
    return word, argv[1:]


def parse(
    cls: type[Options],
    argv: list[str],
    description: str,
    command: str = "",
    follow: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Options:
    """The options of a tool: defaults of ``cls``, then a preset, then ``--config FILE``, then the flags in ``argv``.

    When ``cls`` has an option ``resume`` and it is given, the values come from ``config.yaml`` of that run folder,
    and a flag that differs from them is an error unless its option is ``free``. ``command`` is the one of
    :func:`parse_command` whose options these are; ``--help`` names it. ``follow`` adds to what was given what follows
    from it, unless a run is resumed.

    Raises:
        UserError: for anything the user got wrong.
    """
    given = _parse_flags(cls, argv, description, command)
    config = given.pop("config", None)
    if given.get("resume"):
        if config is not None:
            raise UserError("--resume takes its settings from the run folder; leave --config out")
        return _resumed(cls, given)
    values = load_yaml(cls, config_file(config)) if config is not None else {}
    if values.get("resume"):
        raise UserError(f"{config} names a run to resume; give it as --resume FOLDER and leave --config out")
    return build(cls, follow(values | given))


def build(cls: type[Options], values: Mapping[str, Any]) -> Options:
    """An instance of ``cls`` from ``values``, coerced and checked as :class:`Component` says.

    What ``values`` leave out has the value of the preset that they choose, or its default.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for field in fields.values():
        if field.metadata["presets"]:
            chosen = _coerce(field, str, values.get(field.name, field.default))
            values = {**field.metadata["presets"][chosen], **values}
    for key in values:
        if key not in fields:
            raise UserError(f"unknown option {shown(key)}{_hint(key, fields)}")
    return cls(**values)


def load_yaml(cls: type, path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, its keys checked against the options of ``cls``."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for given, value in read_config(path).items():
        key = _present_name(fields, given, f"{given} in {path}")
        if key in values:
            raise UserError(f"{path} gives {key} twice, once by its old name; leave that one out")
        values[key] = value
    for key in values:
        if key not in fields:
            raise UserError(f"unknown option {shown(key)} in {path}{_hint(key, fields)}")
    return values


def _present_name(fields: Mapping[str, dataclasses.Field], name: str, place: str) -> str:
    """The name of an option that was given, be it by an old name, which is then said."""
    for field in fields.values():
        if name == field.metadata["formerly"] != "":
            print(f"{printable(place)} is now called {field.name}", file=sys.stderr)
            return field.name
    return name


def to_dict(options: Component) -> dict[str, Any]:
    """The options as plain values, in the order in which they were declared."""
    return {field.name: vars(options)[field.name] for field in dataclasses.fields(options)}


def to_yaml(options: Component) -> str:
    """The options as YAML text that :func:`load_yaml` reads back."""
    return yaml.safe_dump(to_dict(options), sort_keys=False)


def fixed_values(options: Component) -> dict[str, Any]:
    """The options that decide a run's result: all but the ``free`` ones."""
    free = free_options(type(options))
    return {name: value for name, value in to_dict(options).items() if name not in free}


def changed(options: Component, names: Iterable[str]) -> list[str]:
    """Which of these options do not have their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    return [name for name in names if vars(options)[name] != defaults[name]]


def free_options(*components: type) -> frozenset[str]:
    """Names of the ``free`` options of these components."""
    fields = (field for component in components for field in dataclasses.fields(component))
    return frozenset(field.name for field in fields if field.metadata["free"])


def _resumed(cls: type[Options], given: dict[str, Any]) -> Options:
    folder = Path(_path(given["resume"]))
    if not os.path.isdir(folder):
        raise UserError(f"cannot resume {brief(str(folder), 300)}: there is no such folder")
    if not os.path.isfile(folder / "config.yaml"):
        raise UserError(f"cannot resume {folder}: it holds no config.yaml, so it is not a run folder")
    try:
        stored = build(cls, load_yaml(cls, folder / "config.yaml"))
    except UserError as error:
        raise _of_another_tool(folder, error) from None
    wanted = build(cls, to_dict(stored) | given)
    before, after = fixed_values(stored), fixed_values(wanted)
    for key in before:
        if before[key] != after[key]:
            raise UserError(
                f"--{key} {brief(after[key])} differs from the run's {brief(before[key])}; a resumed run keeps "
                "its settings: leave the flag out, or start a new run"
            )
    return wanted


def _of_another_tool(folder: str | Path, error: UserError) -> UserError:
    return UserError(f"cannot resume {folder}: it is a run of another tool or version ({error})")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message[:200]}; --help lists the flags")


def _parse_flags(cls: type, argv: list[str], description: str, command: str) -> dict[str, Any]:
    fields, hints = dataclasses.fields(cls), _hints(cls)
    program = f"{Path(sys.argv[0]).name} {command}" if command else None
    parser = _Parser(prog=program, description=description, allow_abbrev=False)
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="YAML file with options, or the name of one of configs/",
    )
    flags = {"config"}
    for field in fields:
        if field.metadata["positional"]:
            words = "*" if hints[field.name] in LISTS else "?"
            explained = field.metadata["help"].replace("%", "%%")
            parser.add_argument(
                field.name, metavar=field.name.upper(), nargs=words, default=argparse.SUPPRESS, help=explained
            )
            continue
        explained = f"{field.metadata['help']} (default: {_show(field.default)})".replace("%", "%%")
        common: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
        flags.add(field.name)
        if hints[field.name] in (bool, bool | None):
            explained += f"; --no_{field.name} to undo"
            parser.add_argument(f"--{field.name}", action="store_true", help=explained, **common)
            parser.add_argument(f"--no_{field.name}", action="store_false", help=argparse.SUPPRESS, **common)
        else:
            choices = field.metadata["choices"]
            metavar = "{" + ",".join(choices) + "}" if choices else _type_name(hints[field.name]).upper()
            if hints[field.name] in LISTS:
                common["nargs"] = "+"
            parser.add_argument(f"--{field.name}", metavar=metavar, help=explained, **common)
    given = [_renamed({field.name: field for field in fields}, _underscored(word)) for word in argv]
    namespace, rest = parser.parse_known_intermixed_args(_joined(given))
    if rest:
        word = rest[0]
        if word.startswith("--"):
            name = word[2:].partition("=")[0]
            raise UserError(f"unknown flag --{brief(name)}{_hint(name, flags, '--')}")
        raise UserError(f"unexpected argument {shown(word)}; --help lists the flags")
    return vars(namespace)


def _underscored(word: str) -> str:
    """``--batch-size=3`` -> ``--batch_size=3``; values stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


def _renamed(fields: Mapping[str, dataclasses.Field], word: str) -> str:
    """A flag by its present name."""
    name, equals, value = word.partition("=")
    return f"--{_present_name(fields, name[2:], name)}{equals}{value}" if name.startswith("--") else word


def _joined(words: list[str]) -> list[str]:
    """``--lasso_lambda -1e-5`` -> ``--lasso_lambda=-1e-5``, which argparse would take for another flag."""
    result: list[str] = []
    for word in words:
        if re.match(r"-(\.?\d|inf|nan)", word) and result and re.fullmatch(r"--\w+", result[-1]):
            result[-1] += "=" + word
        else:
            result.append(word)
    return result


def _coerce(field: dataclasses.Field, hint: Any, value: Any) -> Any:
    choices = field.metadata["choices"]
    optional = isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)
    if optional:
        if value is None or value == "none":
            return None
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
    try:
        result = _convert(hint, value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{field.name} must be {_article(_type_name(hint))}, not {shown(value)}") from None
    if field.metadata["path"]:
        result = tuple(map(_path, result)) if isinstance(result, tuple) else _path(result)
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


def _path(text: str | None) -> str:
    return os.path.expanduser(text or "")


def _is_there(file: Path) -> bool:
    return os.path.exists(file) and not os.path.isdir(file)  # of a name that is too long as well


def _check_bounds(field: dataclasses.Field, value: Any) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_bounds(field, item)
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


def _hint(word: str, names: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else "; --help lists the flags"


def _type_name(hint: Any) -> str:
    if isinstance(hint, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    names = {int: "integer", float: "number", str: "text", bool: "true or false"}
    return (names | {INTEGERS: "integers", NUMBERS: "numbers", TEXTS: "texts"})[hint]


def _article(name: str) -> str:
    plain = name.endswith("s") or name.startswith(("true", "text"))
    return name if plain else ("an " if name[0] in "aeiou" else "a ") + name


def _show(default: Any) -> str:
    if isinstance(default, tuple) and default:
        return " ".join(map(str, default))
    return "none" if default in (None, "", ()) else str(default)

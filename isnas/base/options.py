"""Options: one dataclass per component, filled from defaults, then a preset, then a YAML file, then flags.

A tool's options are a dataclass that inherits from the components it uses, so that the instance can be handed to
each of them. Every field is declared with :func:`option`, which carries the help text and the bounds. A key that
does not exist, a value of the wrong type, out of bounds or not finite is a :class:`UserError`, however the instance is
made: see :class:`Component`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from isnas.base.configs import config_file
from isnas.base.errors import UserError
from isnas.base.flags import Elsewhere, Parser, by_own_name, correction, nobody, parse_flags, present_name
from isnas.base.text import brief, shown
from isnas.base.values import check_bounds, coerce, type_hints, user_path
from isnas.base.yaml_text import read_config


class Component:
    """What every class of options inherits, itself a frozen dataclass all of whose fields are an :func:`option`.

    An instance is coerced and checked when it is made, be it by its class, :func:`build` or ``dataclasses.replace``:
    every value against its type, choices and bounds, then all together by each component's ``validate``. Its ``title``
    stands above its options in the help; what further components declare again stays below the first one's.

    ``defaults`` are values of other components' options that take the place of their defaults where it is composed
    with them, but neither of a preset's nor of what is given.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    title: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, title: str = "") -> None:
        cls.title = title

    def __post_init__(self) -> None:
        cls: Any = type(self)
        fields, hints = dataclasses.fields(cls), type_hints(cls)
        for field in fields:
            object.__setattr__(self, field.name, coerce(field, hints[field.name], vars(self)[field.name]))
        for field in fields:
            check_bounds(field, vars(self)[field.name])
        for component in reversed(cls.__mro__):
            if "validate" in vars(component):
                component.validate(self)


Options = TypeVar("Options", bound=Component)


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

    ``free`` options may change when a run is resumed. ``positional`` ones may be given without their flag, in the order
    in which they are declared, between the flags or after them; one that is missing keeps its default, which the
    ``validate`` of its component may refuse. In a ``path`` a leading ``~`` is the home folder. ``formerly`` is a name
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


def chosen(
    argv: list[str],
    name: str,
    choices: Iterable[str],
    default: str,
    help: str,
    elsewhere: Elsewhere = nobody,
) -> Chosen:
    """The value of the option ``name`` before the class of all options is known.

    It is that in the folder after ``--resume``, or the flag's, or that in the file after ``--config``, or the default.

    Raises:
        UserError: when it is none of ``choices``; ``elsewhere`` may know whose it is.
    """
    given, folder, file = _early(argv, name)
    try:
        value = _said_first(name, given, folder, file)
    except UserError as error:
        raise _of_another_tool(error, folder, file) from None
    found = Chosen(default if value is None else str(value), tuple(choices), help)
    if found.value in found.choices:
        return found
    place = "" if value is given else f" in {file}"
    unknown = UserError(f"unknown {name} {shown(found.value)}{place}; choose from {', '.join(found.choices)}")
    raise _of_another_tool(unknown, folder, file, "" if value is given else elsewhere(name, found.value))


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
    parser, names = Parser(add_help=False), (name, "config", "resume")
    for flag in names:
        parser.add_argument(f"--{flag}", nargs="?")
    given = vars(parser.parse_known_args([by_own_name(word, names) for word in argv])[0])
    folder = _run_folder(given["resume"])
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
        fields.append((key, type_hints(owner)[key], again))

    def reduce(self: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _recomposed, (name, components, chosen, to_dict(self))

    namespace = {"__reduce__": reduce, "__module__": __name__}
    return dataclasses.make_dataclass(name, fields, bases=components, namespace=namespace, frozen=True)


def _recomposed(name: str, components: tuple[type, ...], chosen: Any, values: dict[str, Any]) -> Any:
    return _composed(name, components, chosen)(**values)


def parse_command(commands: Mapping[str, str], argv: list[str], about: str) -> tuple[str, list[str]]:
    """The first word of ``argv``, one of ``commands`` (by name, with what it does), and the words after it.

    ``about`` as in :func:`parse`.

    Raises:
        UserError: when the word is missing or unknown.
    """
    parser = Parser(about, usage="%(prog)s COMMAND [options]", epilog="COMMAND --help lists the flags of a command")
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
        raise UserError(f"unknown command {shown(word)}{correction(word, commands, what='commands')}")
    return word, argv[1:]


def parse(
    cls: type[Options],
    argv: list[str],
    about: str,
    command: str = "",
    follow: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    elsewhere: Elsewhere = nobody,
) -> Options:
    """The options of a tool: defaults of ``cls``, then a preset, then ``--config FILE``, then the flags in ``argv``.

    When ``cls`` has an option ``resume`` and it is given, the values come from ``config.yaml`` of that run folder,
    and a flag that differs from them is an error unless its option is ``free``. ``about`` is for ``--help``: a line
    that says what the tool does, and after it a line for each example, the words that follow the tool's name.
    ``command`` is the one of :func:`parse_command` whose options these are; ``--help`` names it. ``follow`` adds to
    what was given what follows from it, unless a run is resumed.

    Raises:
        UserError: for anything the user got wrong.
    """
    given = parse_flags(cls, argv, about, command, elsewhere)
    config = given.pop("config", None)
    if given.get("resume"):
        if config is not None:
            raise UserError("--resume takes its settings from the run folder; leave --config out")
        return _resumed(cls, given | {"resume": _run_folder(given["resume"])})
    values = load_yaml(cls, config_file(config), elsewhere) if config is not None else {}
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
            chosen = coerce(field, str, values.get(field.name, field.default))
            values = {**field.metadata["presets"][chosen], **values}
    for key in values:
        if key not in fields:
            raise UserError(f"unknown option {shown(key)}{correction(key, fields)}")
    return cls(**values)


def load_yaml(cls: type, path: Path, elsewhere: Elsewhere = nobody) -> dict[str, Any]:
    """The mapping in a YAML file, its keys checked against the options of ``cls``."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for given, value in read_config(path).items():
        key = present_name(fields, given, f"{given} in {path}")
        if key in values:
            raise UserError(f"{path} gives {key} twice, once by its old name; leave that one out")
        values[key] = value
    unknown = [key for key in values if key not in fields]
    if tools := list(filter(None, (elsewhere(key, values[key]) for key in unknown))):
        raise _config_of(tools[0], path)
    if unknown:
        hint = correction(unknown[0], fields, elsewhere=elsewhere)
        raise UserError(f"unknown option {shown(unknown[0])} in {path}{hint}")
    return values


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
    folder = Path(given["resume"])
    if os.path.isfile(folder):
        raise UserError(f"cannot resume {folder}: it is a file; give the folder of the run: --resume {folder.parent}")
    if not os.path.isdir(folder):
        raise UserError(f"cannot resume {brief(str(folder), 300)}: there is no such folder")
    if not os.path.isfile(folder / "config.yaml"):
        raise UserError(f"cannot resume {folder}: it holds no config.yaml, so it is not a run folder")
    try:
        stored = build(cls, load_yaml(cls, folder / "config.yaml"))
    except UserError as error:
        raise _of_another_tool(error, str(folder), folder / "config.yaml") from None
    wanted = build(cls, to_dict(stored) | given)
    before, after = fixed_values(stored), fixed_values(wanted)
    for key in before:
        if before[key] != after[key]:
            raise UserError(
                f"--{key} {brief(after[key])} differs from the run's {brief(before[key])}; a resumed run keeps "
                "its settings: leave the flag out, or start a new run"
            )
    return wanted


def _run_folder(text: str | None) -> str:
    """The folder of the run that a user means: the checkpoint in it stands for it."""
    path = user_path(text)
    named = os.path.basename(path) == "checkpoint.pt" and not os.path.isdir(path)
    return os.path.dirname(path) or "." if named else path


def _of_another_tool(error: UserError, folder: str, file: Path, tool: str = "") -> UserError:
    """``error`` in a ``file`` of options, that of the run in ``folder`` if there is one; it names the ``tool`` whose it
    is, if that is known.
    """
    if not (folder and _is_there(file)):
        return _config_of(tool, file) if tool else error
    if tool:
        return UserError(f"cannot resume {folder}: it is a run of {tool}; go on with `{tool} --resume {folder}`")
    return UserError(f"cannot resume {folder}: it is a run of another tool or version ({error})")


def _config_of(tool: str, file: Path) -> UserError:
    return UserError(f"{file} is a config of {tool}; start that with it, or give another config")


def _is_there(file: Path) -> bool:
    return os.path.exists(file) and not os.path.isdir(file)  # of a name that is too long as well

"""The methods and the spaces by name, and the options of a run of one in the other."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from isnas.base.late import late, load
from isnas.base.options import Chosen, Component, build, chosen, compose, parse
from isnas.methods.following import follow
from isnas.space.cells.cell_options import CellOptions, FullCellOptions
from isnas.space.space_options import SpaceOptions

if TYPE_CHECKING:
    from isnas.engine.method import Method, SearchMethod, TrainingMethod

Kind = TypeVar("Kind", bound=type[Any])


class MethodRow(NamedTuple):
    """What gives a method's class, and what its options, which --help and a wrong flag need alone."""

    method: Callable[[], type[Any]]
    options: Callable[[], type[Component]]


def row(module: str, method: str, options: str) -> MethodRow:
    """The row of a method in a module of this folder, whose options are in the module of the same name in options/."""
    return MethodRow(
        partial(load, f"isnas.methods.{module}:{method}"),
        partial(load, f"isnas.methods.options.{module}:{options}"),
    )


class Methods(Mapping[str, Kind]):
    """Classes by name, each imported when it is asked for; ``rows`` say from where."""

    def __init__(self, rows: MutableMapping[str, MethodRow]) -> None:
        self.rows = rows

    def __getitem__(self, name: str) -> Kind:
        return self.rows[name].method()  # type: ignore[return-value]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: object) -> bool:
        return name in self.rows


#: Searches, by ``isnas train_search``.
SEARCHES: Methods[type[SearchMethod[Any]]] = Methods(
    {
        "two_stage": row("two_stage", "TwoStage", "TwoStageOptions"),
        "darts": row("darts", "Darts", "DartsOptions"),
        "pc_darts": row("pc_darts", "PCDarts", "PCDartsOptions"),
        "random_ws": row("random_ws", "RandomWS", "RandomWSOptions"),
        "random": row("random_search", "RandomSearch", "RandomSearchOptions"),
        "conas": row("conas", "CoNAS", "ConasOptions"),
        "sampled_recovery": row("sampled_recovery", "SampledRecovery", "SampledRecoveryOptions"),
    }
)

#: Trainings to the end, by commands of their own.
TRAININGS: Methods[type[TrainingMethod[Any]]] = Methods(
    {
        "one_stage": row("one_stage", "OneStage", "OneStageOptions"),
        "evaluation": row("evaluation", "Evaluation", "EvaluationOptions"),
    }
)

METHODS: Methods[type[Method[Any]]] = Methods(ChainMap(TRAININGS.rows, SEARCHES.rows))


class SpaceRow(NamedTuple):
    """A space: the options of a super-net in it, and of a network that is trained to the end."""

    search: type[SpaceOptions]
    full: type[SpaceOptions]


METHOD_HELP = "how it is searched or trained; with --help beside it, its options are listed"

SPACES = {"cells": SpaceRow(CellOptions, FullCellOptions)}


def parse_run(
    argv: list[str], methods: Iterable[str], default: str, about: str, *more: type, others: Iterable[str] = ()
) -> tuple[str, Any]:
    """The name of the method that ``argv`` asks for, one of ``methods``, and the options of a run of it.

    The options are those of the classes ``more`` too; ``others`` are spaces that the tool knows beside. What
    is not given may follow from what is, as :mod:`isnas.methods.following` says. ``about`` is for ``--help``, see
    :func:`isnas.base.options.parse`.

    Raises:
        UserError: for anything the user got wrong.
    """
    elsewhere = late("isnas.methods.elsewhere:elsewhere", methods={name: METHODS.rows[name] for name in methods})
    method = chosen(argv, "method", methods, default, METHOD_HELP, elsewhere)
    space = chosen(
        argv, "space", (*SPACES, *others), "cells", "what is searched: cells of images, or of text", elsewhere
    )
    options = options_class(method, space, *more)
    names = {field.name for field in fields(options)}
    follows = partial(follow, names=names, searches=method.value in SEARCHES)
    return method.value, parse(options, argv, about, follow=follows, elsewhere=elsewhere)


def make_options(method: str, space: str = "cells", **values: Any) -> Any:
    """The options of a run of a method in a space, checked as those of a command line are."""
    names = Chosen(method, tuple(METHODS), ""), Chosen(space, tuple(SPACES), "")
    return build(options_class(*names), values)


def options_class(method: Chosen, space: Chosen, *more: type) -> type[Any]:
    """The class of all options of a run of a method in a space, and of the classes ``more``."""
    row = SPACES[space.value]
    sizes = row.search if method.value in SEARCHES else row.full
    return compose("Options", *more, METHODS.rows[method.value].options(), sizes, method=method, space=space)

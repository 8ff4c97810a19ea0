"""The methods and the spaces by name, and the options of a run of one in the other."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from isnas.base.errors import UserError
from isnas.base.late import late, load
from isnas.base.options import Chosen, Component, build, chosen, compose, parse, stored_or_given
from isnas.methods.following import follow, space_of_weights
from isnas.space.cells.cell_options import CellOptions, FullCellOptions
from isnas.space.chain.chain_options import ChainOptions
from isnas.space.space_options import SpaceOptions
from isnas.space.which import CELLS, CHAIN, space_of

if TYPE_CHECKING:
    from isnas.engine.method import Method, SearchMethod, TrainingMethod

Kind = TypeVar("Kind", bound=type[Any])


class MethodRow(NamedTuple):
    """What gives a method's class, and what its options, which --help and a wrong flag need alone.

    ``spaces`` are those that it searches, unless it searches any.
    """

    method: Callable[[], type[Any]]
    options: Callable[[], type[Component]]
    spaces: tuple[str, ...] = ()


def row(module: str, method: str, options: str, spaces: tuple[str, ...] = ()) -> MethodRow:
    """The row of a method in a module of this folder, whose options are in the module of the same name in options/."""
    return MethodRow(
        partial(load, f"isnas.methods.{module}:{method}"),
        partial(load, f"isnas.methods.options.{module}:{options}"),
        spaces,
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
        "conas": row("conas", "CoNAS", "ConasOptions", spaces=(CELLS,)),  # whose candidates its options have
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

SPACES = {CELLS: SpaceRow(CellOptions, FullCellOptions), CHAIN: SpaceRow(ChainOptions, ChainOptions)}

SPACE_HELP = "what is searched: cells of images, chains of blocks, or cells of text"


def space_of_arch(argv: list[str]) -> str | None:
    """The space of the architecture that ``argv`` or its config names, or else of the network that is trained further.

    None where it does not tell.
    """
    if arch := stored_or_given(argv, "arch"):
        return space_of(os.path.expanduser(str(arch)))
    return space_of_weights(str(weights)) if (weights := stored_or_given(argv, "weights")) else None


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
    found = space_of_arch(argv)
    space = chosen(argv, "space", (*SPACES, *others), found if found in SPACES else CELLS, SPACE_HELP, elsewhere)
    options = options_class(method, space, *more)
    names = {field.name for field in fields(options)}
    follows = partial(follow, names=names, searches=method.value in SEARCHES)
    return method.value, parse(options, argv, about, follow=follows, elsewhere=elsewhere)


def make_options(method: str, space: str = CELLS, **values: Any) -> Any:
    """The options of a run of a method in a space, checked as those of a command line are."""
    names = Chosen(method, tuple(METHODS), ""), Chosen(space, tuple(SPACES), "")
    return build(options_class(*names), values)


def options_class(method: Chosen, space: Chosen, *more: type) -> type[Any]:
    """The class of all options of a run of a method in a space, and of the classes ``more``.

    Raises:
        UserError: when the method does not search in the space.
    """
    row, space_row = METHODS.rows[method.value], SPACES[space.value]
    if row.spaces and space.value not in row.spaces:
        raise UserError(
            f"--method {method.value} searches in --space {' or '.join(row.spaces)} alone, not in {space.value}; "
            "choose another method"
        )
    sizes = space_row.search if method.value in SEARCHES else space_row.full
    return compose("Options", *more, row.options(), sizes, method=method, space=space)

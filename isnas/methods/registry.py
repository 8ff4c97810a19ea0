"""The methods and the spaces by name, and the options of a run of one in the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from isnas.base.options import Chosen, build, chosen, compose, parse
from isnas.engine.method import Method, SearchMethod, TrainingMethod
from isnas.methods.conas import CoNAS
from isnas.methods.darts import Darts
from isnas.methods.evaluation import Evaluation
from isnas.methods.one_stage import OneStage
from isnas.methods.pc_darts import PCDarts
from isnas.methods.random_search import RandomSearch
from isnas.methods.random_ws import RandomWS
from isnas.methods.sampled_recovery import SampledRecovery
from isnas.methods.two_stage import TwoStage
from isnas.space.cells.cell_options import CellOptions, FullCellOptions
from isnas.space.space import SpaceOptions

#: Searches, by ``tools/train_search.py``.
SEARCHES: dict[str, type[SearchMethod[Any]]] = {
    "two_stage": TwoStage,
    "darts": Darts,
    "pc_darts": PCDarts,
    "random_ws": RandomWS,
    "random": RandomSearch,
    "conas": CoNAS,
    "sampled_recovery": SampledRecovery,
}

#: Trainings to the end, by tools of their own.
TRAININGS: dict[str, type[TrainingMethod[Any]]] = {"one_stage": OneStage, "evaluation": Evaluation}

METHODS: dict[str, type[Method[Any]]] = {**SEARCHES, **TRAININGS}


class SpaceRow(NamedTuple):
    """A space: the options of a super-net in it, and of a network that is trained to the end."""

    search: type[SpaceOptions]
    full: type[SpaceOptions]


SPACES = {"cells": SpaceRow(CellOptions, FullCellOptions)}


def parse_run(
    argv: list[str], methods: Iterable[str], default: str, description: str, *more: type, others: Iterable[str] = ()
) -> tuple[str, Any]:
    """The name of the method that ``argv`` asks for, one of ``methods``, and the options of a run of it.

    The options are those of the classes ``more`` too; ``others`` are spaces that the tool knows beside.

    Raises:
        UserError: for anything the user got wrong.
    """
    method = chosen(argv, "method", methods, default, "how it is searched or trained")
    space = chosen(argv, "space", (*SPACES, *others), "cells", "what is searched: cells of images, or of text")
    return method.value, parse(options_class(method, space, *more), argv, description)


def make_options(method: str, space: str = "cells", **values: Any) -> Any:
    """The options of a run of a method in a space, checked as those of a command line are."""
    names = Chosen(method, tuple(METHODS), ""), Chosen(space, tuple(SPACES), "")
    return build(options_class(*names), values)


def options_class(method: Chosen, space: Chosen, *more: type) -> type[Any]:
    """The class of all options of a run of a method in a space, and of the classes ``more``."""
    row = SPACES[space.value]
    sizes = row.search if method.value in SEARCHES else row.full
    return compose("Options", *more, METHODS[method.value].Options, sizes, method=method, space=space)

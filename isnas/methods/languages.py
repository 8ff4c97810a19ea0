"""What is searched and trained on text, by name, and how a command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from isnas.base.errors import UserError
from isnas.base.options import chosen, compose, parse, stored_or_given
from isnas.engine.language.search import Method
from isnas.engine.language.training import Model
from isnas.methods.language_model import LanguageModel
from isnas.methods.language_search import RecurrentConas, RecurrentRandomWS
from isnas.methods.registry import SPACES
from isnas.space.recurrent.genotype import read_genotype

#: What ``--space`` calls the space of text.
RECURRENT = "recurrent"

#: Searches, by ``tools/train_search.py --space recurrent``.
LANGUAGE_SEARCHES: dict[str, type[Method]] = {"conas": RecurrentConas, "random_ws": RecurrentRandomWS}

#: The training, by ``tools/evaluate.py``.
LANGUAGE_TRAININGS: dict[str, type[Model]] = {"evaluation": LanguageModel}

Kind = TypeVar("Kind", type[Method], type[Model])


def is_of_text(argv: list[str]) -> bool:
    """Whether a command line is of the recurrent space: it says so, or its architecture is a recurrent cell.

    Raises:
        UserError: for a space that there is not.
    """
    arch = stored_or_given(argv, "arch")
    default = RECURRENT if arch is not None and is_recurrent(str(arch)) else "cells"
    return chosen(argv, "space", (*SPACES, RECURRENT), default, "").value == RECURRENT


def is_recurrent(arch: str) -> bool:
    """Whether what stands after ``--arch`` is a recurrent cell: as text, in a file, or in a run folder."""
    if "Genotype(" in arch:
        return "recurrent=" in arch.replace(" ", "")
    path = Path(arch)
    try:
        if path.is_dir():
            path = (path / "best" if (path / "best").is_dir() else path) / "genotype.json"
        read_genotype(path)
    except (OSError, ValueError, UserError):
        return False
    return True


def parse_language(argv: list[str], kinds: Mapping[str, Kind], default: str, description: str) -> tuple[Kind, Any]:
    """The search or the training that a command line asks for, one of ``kinds``, and the options of a run of it.

    Raises:
        UserError: for anything the user got wrong.
    """
    method = chosen(argv, "method", kinds, default, "how it is searched or trained")
    space = chosen(argv, "space", (*SPACES, RECURRENT), RECURRENT, "what is searched: cells of images, or of text")
    kind = kinds[method.value]
    return kind, parse(compose("Options", kind.Options, method=method, space=space), argv, description)

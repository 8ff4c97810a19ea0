"""What is searched and trained on text, by name, and how a command line asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from isnas.base.errors import UserError
from isnas.base.late import late
from isnas.base.options import chosen, compose, parse, stored_or_given
from isnas.data.catalogue import CATALOGUE
from isnas.data.text.texts import TEXTS, holds_text
from isnas.methods.registry import METHOD_HELP, SPACE_HELP, SPACES, Methods, row, space_of_arch
from isnas.space.which import CELLS, RECURRENT

if TYPE_CHECKING:
    from isnas.engine.language.search import Method
    from isnas.engine.language.training import Model

Kind = TypeVar("Kind", bound=type[Any])

#: Searches, by ``isnas train_search --space recurrent``.
LANGUAGE_SEARCHES: Methods[type[Method]] = Methods(
    {
        "conas": row("language_search", "RecurrentConas", "RecurrentConasOptions"),
        "random_ws": row("language_search", "RecurrentRandomWS", "RecurrentRandomOptions"),
    }
)

#: The training, by ``isnas evaluate``.
LANGUAGE_TRAININGS: Methods[type[Model]] = Methods(
    {"evaluation": row("language_model", "LanguageModel", "LanguageModelOptions")}
)


def is_of_text(argv: list[str]) -> bool:
    """Whether a command line is of the recurrent space: it says so, or its architecture or its dataset does, or the
    folder of its data where it names no dataset.

    Raises:
        UserError: for a space that there is not.
    """
    dataset, data = (stored_or_given(argv, name) for name in ("dataset", "data"))
    of_text = space_of_arch(argv) == RECURRENT or dataset in TEXTS
    of_text = of_text or (dataset is None and data is not None and holds_text(str(data)))
    default = RECURRENT if of_text else CELLS
    return chosen(argv, "space", (*SPACES, RECURRENT), default, "").value == RECURRENT


def parse_language(argv: list[str], kinds: Methods[Kind], default: str, about: str) -> tuple[Kind, Any]:
    """The search or the training that a command line asks for, one of ``kinds``, and the options of a run of it.

    Raises:
        UserError: for anything the user got wrong.
    """
    elsewhere = late("isnas.methods.elsewhere:elsewhere", methods=kinds.rows)
    method = chosen(argv, "method", kinds, default, METHOD_HELP, elsewhere)
    space = chosen(argv, "space", (*SPACES, RECURRENT), RECURRENT, SPACE_HELP)
    dataset = stored_or_given(argv, "dataset")
    if dataset in CATALOGUE:
        raise UserError(
            f"--dataset {dataset} is of images, and the run is of a recurrent cell: choose from {', '.join(TEXTS)}, or "
            "a cell of images"
        )
    kind = kinds.rows[method.value].options()
    options = parse(compose("Options", kind, method=method, space=space), argv, about, elsewhere=elsewhere)
    return kinds[method.value], options

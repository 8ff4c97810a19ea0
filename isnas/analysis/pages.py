"""Runs as a page: that of the one run, or all with their tables, each with the defaults of its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isnas.analysis.tables import Table
from isnas.base.errors import UserError
from isnas.base.files import write_text
from isnas.base.options import Chosen, compose
from isnas.base.yaml_text import read_config
from isnas.draw.markup import section, table
from isnas.engine.run_files import RunFiles
from isnas.engine.run_page import PAGE, run_page
from isnas.engine.runs_page import runs_page
from isnas.methods.languages import LANGUAGE_SEARCHES, LANGUAGE_TRAININGS
from isnas.methods.registry import METHODS, SPACES, options_class
from isnas.space.which import RECURRENT


def kind_of_options(folder: Path) -> type[Any] | None:
    """The class of a run's options, as its config.yaml names method and space; None where it names none there is."""
    try:
        config = read_config(folder / "config.yaml")
    except UserError:
        return None
    method, space = str(config.get("method")), str(config.get("space"))
    names = Chosen(method, (method,), ""), Chosen(space, (space,), "")
    on_text: dict[str, type[Any]] = {**LANGUAGE_SEARCHES, **LANGUAGE_TRAININGS}
    if space == RECURRENT and method in on_text:
        return compose("Options", on_text[method].Options, method=names[0], space=names[1])
    return options_class(*names) if space in SPACES and method in METHODS else None


def renewed_page(folder: Path) -> list[Path]:
    """Make the page of a run anew, with the files that are there now; its path, none where the run has no page."""
    path = folder / PAGE
    if not (path.is_file() and (folder / "config.yaml").is_file()):
        return []
    write_text(path, run_page(folder, kind_of_options(folder)))
    return [path]


def page_of(runs: Mapping[str, RunFiles], tables: Sequence[Table]) -> str:
    """The page of one run, as the run itself writes it, or of several with the tables over them."""
    if len(runs) == 1:
        ((files,),) = [runs.values()]
        return run_page(files.folder, files.kind)
    parts = [
        section(
            each.name.replace("_", "-"), each.title.partition(":")[0], table(each.header, each.rows, each.num_words)
        )
        for each in tables
    ]
    return runs_page(", ".join(runs) if len(runs) < 4 else f"{len(runs)} runs", runs, parts)

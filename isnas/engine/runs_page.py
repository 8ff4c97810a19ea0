"""Several runs as one page: their figures side by side, their curves over one another, and each of them below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from isnas.draw.markup import escaped, folded, paragraph, section, table
from isnas.draw.page import page
from isnas.engine.run import Run
from isnas.engine.run_files import RunFiles
from isnas.engine.run_page import keep_page, key_figures, outcome, run_sections, what_it_is


def write_group_page(group: Run, folders: Mapping[str, Path]) -> None:
    """Write the page of the runs that were made in one folder, by their names there, when there are any."""
    if folders:
        keep_page(group, lambda: runs_page(group.folder.resolve().name, files_of(group, folders)))


def files_of(group: Run, folders: Mapping[str, Path]) -> dict[str, RunFiles]:
    """The files of the runs of a group, which have its options."""
    return {name: RunFiles(folder, type(group.options)) for name, folder in folders.items()}


def runs_page(title: str, runs: Mapping[str, RunFiles], tables: Sequence[str] = ()) -> str:
    """The page of ``runs`` by their names; ``tables`` are sections that stand before what is made of the runs here."""
    from isnas.draw.page_chart import charts  # with matplotlib, which is slow to import
    from isnas.draw.training_curves import overlay

    figures = {name: key_figures(files) for name, files in runs.items()}
    columns = list(dict.fromkeys(name for each in figures.values() for name in each))
    lines = [[name, *(each.get(column, "") for column in columns)] for name, each in figures.items()]
    panels = overlay({name: files.metrics for name, files in runs.items()})
    sections = [
        *tables,
        section("runs", "The runs", table(["run", *columns], lines)),
        section("curves", "Curves", charts(panels)),
    ]
    for number, (name, files) in enumerate(runs.items(), 1):
        inner = "".join(run_sections(files, f"run-{number}-"))
        lead = [f'<p class="kind">{escaped(what_it_is(files))}</p>', paragraph(outcome(files))]
        sections.append(section(f"run-{number}", name, *lead, folded("Everything about it", inner)))
    kinds = ", ".join(dict.fromkeys(map(what_it_is, runs.values())))
    return page(title, kinds, f"{len(runs)} runs that have ended, side by side.", sections)

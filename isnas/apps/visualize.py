"""Draw an architecture as PNG and SVG: its cells, NAME_normal and NAME_reduce; a chain or a recurrent cell, NAME."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from isnas.apps.console import options_of
from isnas.base.errors import UserError
from isnas.base.late import load
from isnas.base.options import option
from isnas.base.preemption import imported
from isnas.base.text import printable, shown
from isnas.space.cells.published import PUBLISHED
from isnas.space.chain.resolve import is_of_space
from isnas.space.chain.widths import WIDTHS
from isnas.space.which import CHAIN, WhichSpace, resolve


@dataclass(frozen=True)
class VisualizeOptions(WhichSpace, title="Pictures"):
    """What is drawn, and where to."""

    arch: str = option(
        "",
        "published name, genotype.json, run folder, Genotype(...) text or random:SEED",
        positional=True,
        path=True,
    )
    output: str = option(
        ".", "folder for the pictures, the current one by default; files there are replaced", path=True
    )
    widths: str = option("", "of all:CANDIDATE and random chains: whose stages they have", choices=("", *WIDTHS))
    name: str = option("", "first part of the files' names instead of the architecture's own; cell for pasted text")

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not self.arch:
            raise UserError(
                f"--arch is missing: give a published name ({', '.join(PUBLISHED)}), a genotype.json, a run folder, "
                "Genotype(...) text, or random:SEED"
            )
        if self.widths and not (self.space_of(self.arch) == CHAIN and is_of_space(self.arch)):
            raise UserError("--widths is for all:CANDIDATE and, with --space chain, random:SEED alone; leave it out")
        if self.name and (self.name != Path(self.name).name or self.name != printable(self.name)):
            raise UserError(
                f"name {shown(self.name)} must be part of a file name, to be seen as it is; --output FOLDER says where "
                "files go"
            )


def main(argv: list[str]) -> None:
    """Draw what ``argv`` asks for, and print the files' paths."""
    options = options_of("visualize", VisualizeOptions, argv)
    space = options.space_of(options.arch)
    draw = partial(load(f"isnas.space.{space}.picture:draw_genotype"), resolve(options.arch, space, options.widths))
    imported()
    folder = Path(options.output)
    try:
        paths = draw(folder, options.name or name_of(options.arch))
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another --output or --name") from None
    print("\n".join(printable(str(path)) for path in paths))


def name_of(arch: str) -> str:
    """A name for the pictures: of a genotype.json or a run folder that of the folder, of other files their own."""
    if "Genotype(" in arch:
        return "cell"
    path = Path(arch)
    if path.is_file() and path.name != "genotype.json":
        return path.stem
    if path.exists():
        return (path.parent if path.is_file() else path).resolve().name or "cell"
    return arch.replace(":", "_")  # random:SEED

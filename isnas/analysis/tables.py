"""A table of an answer, and how it is written: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from isnas.base.files import markdown_table, write_text
from isnas.base.text import printable

#: What LaTeX does not take as it is, and how it takes it.
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "|": "\\textbar{}"}
_LATEX |= {"<": "\\textless{}", ">": "\\textgreater{}"}
_LATEX |= {"±": "$\\pm$", "\N{MULTIPLICATION SIGN}": "$\\times$", "τ": "$\\tau$", "²": "\\textsuperscript{2}"}


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first ``num_words`` columns are words, the others numbers.

    ``name`` is that of its files, ``title`` what stands above it.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_words: int = 1

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for row in self.rows)

    def markdown(self) -> str:
        """The title and the table below it."""
        return f"{self.title}\n\n{self.body()}"

    def body(self) -> str:
        """The table alone, as Markdown."""
        return markdown_table(self.header, self.rows, self.num_words)

    def csv(self) -> str:
        """The header and the rows as comma-separated values (RFC 4180, but for lines that end as text files' do)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([printable(cell) for cell in row] for row in [self.header, *self.rows])
        return text.getvalue()

    def latex(self) -> str:
        """A ``tabular``, which needs no package, with the title as a comment before it."""
        lines = [" & ".join(map(latex_text, row)) + r" \\" for row in [self.header, *self.rows]]
        columns = "l" * self.num_words + "r" * (len(self.header) - self.num_words)
        parts = [f"% {printable(self.title)}", rf"\begin{{tabular}}{{{columns}}}", r"\hline", lines[0], r"\hline"]
        return "\n".join([*parts, *lines[1:], r"\hline", r"\end{tabular}", ""])

    def write(self, folder: Path) -> list[Path]:
        """Write ``{name}.csv`` and ``{name}.tex``; returns both paths."""
        paths = [folder / f"{self.name}.{suffix}" for suffix in ("csv", "tex")]
        for path, text in zip(paths, (self.csv(), self.latex())):
            write_text(path, text)
        return paths


def latex_text(text: str) -> str:
    """``text`` as LaTeX prints it: nothing in it is a command."""
    escaped = re.sub(".", lambda found: _LATEX.get(found[0], found[0]), printable(text))
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped  # after \\ they would be its arguments


def with_spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and sample standard deviation, which one value does not have; nothing of no values."""
    if not values:
        return ""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def in_one_text(parts: Sequence[Table | str]) -> str:
    """Tables and paragraphs, one after the other."""
    return "\n\n".join(part if isinstance(part, str) else part.markdown() for part in parts) + "\n"

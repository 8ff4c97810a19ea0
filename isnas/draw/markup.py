"""Pieces of a page: what comes from a file is escaped here and nowhere else."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from isnas.base.text import printable

_TYPES = {b"\x89PNG": "image/png", b"<?xm": "image/svg+xml", b"<svg": "image/svg+xml"}


def escaped(text: object) -> str:
    """Anything as text of a page: nothing in it is markup, or steers the direction of what follows."""
    lines = str(text).split("\n")
    return html.escape("\n".join(map(printable, lines)))


def attribute(text: object) -> str:
    """Anything as the value of an attribute, in its quotes."""
    return f'"{escaped(text)}"'


def section(name: str, title: str, *parts: str) -> str:
    """A part of a page with its heading, which a link ``#name`` leads to; nothing when it has no parts."""
    body = "".join(parts)
    return f"<section id={attribute(name)}><h2>{escaped(title)}</h2>{body}</section>" if body else ""


def paragraph(text: str) -> str:
    """A sentence or more; nothing of nothing."""
    return f"<p>{escaped(text)}</p>" if text else ""


def folded(title: str, body: str) -> str:
    """What is only there when it is asked for."""
    return f"<details><summary>{escaped(title)}</summary>{body}</details>" if body else ""


def table(header: Sequence[str], rows: Iterable[Sequence[object]], num_words: int = 1) -> str:
    """A table, whose columns after the first ``num_words`` are numbers; it scrolls by itself where it is too wide."""
    numeric = [' class="number"' if place >= num_words else "" for place in range(len(header))]
    head = "".join(f'<th scope="col"{look}>{escaped(cell)}</th>' for look, cell in zip(numeric, header))
    lines = []
    for row in rows:
        cells = (f"<td{look}>{escaped(cell)}</td>" for look, cell in zip(numeric, row))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def facts(values: Mapping[str, object]) -> str:
    """What things are, by their names."""
    entries = (f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{"".join(entries)}</dl>' if values else ""


def copyable(text: str) -> str:
    """Text with a button that copies it, which a page without scripts does not show."""
    return f'<div class="copy"><button type="button" hidden>Copy</button><pre>{escaped(text)}</pre></div>'


def picture(content: bytes, words: str, kind: str) -> str:
    """A PNG or an SVG as a picture within the page, where no script in it runs; nothing when it is neither.

    ``words`` are for whom cannot see it; ``kind`` is what the style sheet calls it.
    """
    mime = _TYPES.get(content[:4])
    if mime is None:
        return ""
    data = base64.b64encode(content).decode("ascii")
    return f'<img class={attribute(kind)} alt={attribute(words)} src="data:{mime};base64,{data}">'

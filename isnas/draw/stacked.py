"""Several pictures as one SVG, each below a title."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

TITLE_HEIGHT = 16.0  # points


def stacked(pictures: Mapping[str, bytes]) -> str:
    """One SVG of those that :func:`isnas.draw.graph.render_graph` gives, below one another, each below its title.

    A title may be empty.
    """
    parts: list[str] = []
    width = height = 0.0
    for title, picture in pictures.items():
        found = re.search(r'<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', picture.decode("utf-8"))
        assert found is not None
        if title:
            baseline = height + 0.75 * TITLE_HEIGHT
            parts.append(f'<text x="6" y="{baseline:g}" font-family="sans-serif" font-size="10">{escape(title)}</text>')
            height += TITLE_HEIGHT
        beginning = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', found[0])  # here a unit is a point
        parts.append(beginning.replace("<svg ", f'<svg x="0" y="{height:g}" ', 1) + found.string[found.end() :])
        width, height = max(width, float(found[1])), height + float(found[2])
    size = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size}>',
            f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )

"""A page that is one file: nothing in it comes from elsewhere, and no script runs in it but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from isnas.draw.markup import escaped
from isnas.draw.page_style import SCRIPT, STYLE


def page(title: str, kind: str, lead: str, sections: Sequence[str]) -> str:
    """A page of HTML: its title with what it is a page of, the answer in a sentence, links, and the ``sections``.

    The sections are markup of :mod:`isnas.draw.markup`; the other words are escaped here. A browser is told to fetch
    nothing and to run nothing but the page's script, which is named by its SHA-256.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    there = [part for part in sections if part]
    headings = [found for part in there if (found := re.match(r'<section id="([\w-]+)"><h2>(.*?)</h2>', part))]
    links = "".join(f'<a href="#{found[1]}">{found[2]}</a>' for found in headings)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>\n"
        f'<body><header><p class="kind">{escaped(kind)}</p><h1>{escaped(title)}</h1>'
        f'<p class="lead">{escaped(lead)}</p><nav>{links}</nav></header>\n<main>\n'
        + "\n".join(there)
        + f"\n</main>\n<script>{SCRIPT}</script></body></html>\n"
    )

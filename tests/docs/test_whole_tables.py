"""Every table of the pages is one: a header, a rule, and rows of as many cells; an empty line would cut it in two."""

import re
from itertools import groupby

import pytest
from starting import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/*/README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_whole(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for is_table, lines in groupby(text.splitlines(), lambda line: line.startswith("|")):
        if not is_table:
            continue
        cells = [re.sub(r"\\\||`[^`]*`", "", line).strip()[1:-1].split("|") for line in lines]
        assert len(cells) > 2 and all(re.fullmatch(r" *:?-+:? *", cell) for cell in cells[1]), cells[0]
        assert {len(row) for row in cells} == {len(cells[0])}, cells[0]


def test_there_are_pages():
    assert len(PAGES) > 15

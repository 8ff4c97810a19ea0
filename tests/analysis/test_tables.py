"""A table as CSV and LaTeX, read back."""

import csv
import io
import re

import pytest

from isnas.analysis.tables import Table, latex_text, with_spread

HOSTILE = ["a|b", 'say "x", y', "line\nbreak", "50 % & #1 _x_ {y} ~ ^ \\input{secret} $1$", "[1]", "é ± τ"]


@pytest.fixture
def table():
    return Table("t", "A title\nof two lines", ["name", *"bcdef"], [HOSTILE, list("123456")])


def test_csv_is_what_it_was(table):
    header, hostile, last = csv.reader(io.StringIO(table.csv()))
    assert header == list(table.header) and last == list("123456")
    assert hostile == [cell.replace("\n", "\\n") for cell in HOSTILE]


def test_latex_has_no_command_of_a_cell(table):
    text = table.latex()
    begin, *rows, end = [line for line in text.splitlines() if line not in ("\\hline",) and line[0] != "%"]
    assert begin == r"\begin{tabular}{lrrrrr}" and end == r"\end{tabular}" and text.count("% A title") == 1
    assert all(row.endswith(r" \\") and len(re.split(r"(?<!\\)&", row)) == 6 for row in rows)
    commands = set(re.findall(r"\\[a-zA-Z]+", "\n".join(rows)))
    assert commands == {
        "\\" + name for name in ("textbar", "textbackslash", "textasciitilde", "textasciicircum", "pm", "tau")
    }
    bare = re.sub(r"\\[%&#_{}$]", "", rows[1])
    assert "%" not in bare and "#" not in bare and "_" not in bare


def test_what_begins_a_line_is_no_argument_of_the_line_before():
    assert latex_text("[1]") == "{}[1]" and latex_text("*") == "{}*" and latex_text("1*") == "1*"


def test_spreads():
    assert [with_spread(values) for values in ([], [1.0], [1.0, 3.0])] == ["", "1.00", "2.00 ± 1.41"]

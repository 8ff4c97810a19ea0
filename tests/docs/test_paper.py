"""docs/paper.md: its commands take what others made, every analysis is there; what is typed: test_typed_commands.py."""

import json
import re
import shlex

from starting import ROOT

from isnas.analysis.commands import ANALYSES
from isnas.analysis.table1 import Cost, Table1Options, table
from isnas.base.options import parse

PAGE = (ROOT / "docs" / "paper.md").read_text()
COMMANDS = re.findall(r"^python (tools/\S+) (.*)$", PAGE, re.M)
#: Analyses whose answer is no table or figure of a paper.
OTHERS = {"runs", "solvers", "measurement", "parity_matrix", "planted", "mini", "searches", "knowledge"}
RUNNING = tuple(f"tools/{name}.py" for name in ("train_search", "train_onestage", "evaluate", "evaluate_imagenet"))


def test_the_runs_that_are_analysed_are_those_that_were_made():
    made = {shlex.split(words)[-1] for script, words in COMMANDS if script in RUNNING}
    made |= {name.split("/")[0] for name in made}
    made |= {f"{name}_{kind}" for name in list(made) for kind in ("best", "trained")}  # as the page says of each search
    for script, words in COMMANDS:
        if script == "tools/analyse.py":
            folders = shlex.split(words.split("--")[0])[1:]
            assert set(folders) <= made, words


def test_every_analysis_of_runs_is_on_the_page():
    shown = {shlex.split(words)[0] for script, words in COMMANDS if script == "tools/analyse.py"}
    assert shown == set(ANALYSES) - OTHERS


def test_the_page_shows_the_table_of_the_stored_result():
    report = json.loads((ROOT / "docs/results/table1.json").read_text())
    lines, options = [Cost(**line) for line in report["lines"]], Table1Options(**report["options"])
    assert table(lines, options, report["facts"]).body() in PAGE
    flags = next(words for _, words in COMMANDS if words.startswith("table1 --batch_scale"))
    asked = parse(Table1Options, shlex.split(flags)[1:], "")
    assert {**vars(asked), "output": ""} == vars(options) | {"output": ""}

"""docs/api.md: its blocks of Python run one after another as they stand there, and it speaks of what there is."""

import ast
import inspect
import re

import pytest
from starting import ROOT

import isnas

PAGE = (ROOT / "docs/api.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.slow
def test_the_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in BLOCKS:
        exec(compile(block, "docs/api.md", "exec"), names)
    printed = capsys.readouterr().out
    for said in re.findall(r"print\(.*\)  # (unknown flag .*|torch\.Size.*)$", "\n".join(BLOCKS), re.M):
        assert f"{said}\n" in printed
    assert len(BLOCKS) == 7 and "unknown flag" in printed


def test_the_blocks_use_what_there_is():
    used = {
        node.attr
        for block in BLOCKS
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "isnas"
    }
    assert len(used) > 6 and used <= set(isnas.__all__)


def test_the_table_has_every_function():
    functions = {name for name in isnas.__all__ if name.islower()}
    assert set(re.findall(r"^\| `isnas\.(\w+)\(", PAGE, re.M)) == functions


def test_the_signature_of_a_network():
    shown = re.search(r"^`isnas\.network\((.*?)\)`", PAGE, re.M | re.S)[1].replace("\n", " ")
    found = inspect.signature(isnas.network)
    parts = []
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}".replace("'", '"')
        parts.append(f"{parameter.name}{default}")
    assert shown == ", ".join(parts)

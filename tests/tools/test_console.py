"""The command ``isnas``: its list of commands, each of which is the tool of its name."""

import os
import subprocess
import sys

import pytest
from starting import ROOT, run_script

from isnas.apps.console import COMMANDS

TOOLS = sorted(path.stem for path in ROOT.glob("tools/*.py"))


def isnas(*words, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "isnas", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_there_is_a_command_for_every_tool(tmp_path):
    listed = isnas("--help", folder=tmp_path)
    found = [line.split()[0] for line in listed.stdout.splitlines() if line.startswith("    ") and line[4] != " "]
    assert found == list(COMMANDS) and sorted(found) == TOOLS and listed.returncode == 0
    assert listed.stdout.startswith("usage: isnas COMMAND [options]\n") and "\nexamples:\n  isnas " in listed.stdout


@pytest.mark.parametrize("words", [["visualize", "--help"], ["count", "--arch", "DARTS_V3"], ["analyse", "runs"]])
def test_a_command_is_the_tool_of_its_name(words, tmp_path):
    command, tool = isnas(*words, folder=tmp_path), f"tools/{words[0]}.py"
    started = run_script(tool, *words[1:], folder=tmp_path)
    assert command.returncode == started.returncode
    for ours, theirs in ((command.stdout, started.stdout), (command.stderr, started.stderr)):
        theirs = theirs.replace(f"python {ROOT / tool}", f"isnas {words[0]}")
        assert ours.split() == theirs.replace(f"{words[0]}.py", f"isnas {words[0]}").split()


def test_a_word_that_is_no_command(tmp_path):
    for words, said in (
        (["trian_search"], "did you mean train_search?"),
        ([], "the command comes first: train_search"),
    ):
        done = isnas(*words, folder=tmp_path)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("isnas: error: ")
        assert said in done.stderr and len(done.stderr.splitlines()) == 1

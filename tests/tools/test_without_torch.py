"""Help and a user's mistake are answered without torch, which takes seconds to import: here it cannot be."""

import os
import re
import subprocess
import sys
from ast import Constant, parse, walk

import pytest
from starting import ROOT

from isnas.analysis.commands import ANALYSES
from isnas.base.late import load


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What a command says where importing torch is an error."""
    folder = tmp_path_factory.mktemp("no-torch")
    (folder / "torch.py").write_text("raise ImportError('torch is not to be imported')\n")
    paths = os.pathsep.join([str(folder), str(ROOT)])

    def run(*words):
        environment = os.environ | {"PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, *words], env=environment, cwd=folder, capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout, done.stderr

    assert "not to be imported" in run("-c", "import torch")[2]
    return run


def tool(name):
    return str(ROOT / "tools" / f"{name}.py")


@pytest.mark.parametrize(
    "words",
    [
        ["train_search"],
        ["train_search", "--space", "recurrent", "--method", "random_ws"],
        ["train_search", "--method", "conas"],
        ["train_search", "--method", "pc_darts"],
        ["train_search", "--space", "chain"],
        ["train_onestage"],
        ["evaluate"],
        ["evaluate", "--space", "recurrent"],
        *(["evaluate_imagenet"], ["memory"], ["count"], ["visualize"], ["test"], ["predict"], ["export"]),
        *(["make_shards"], ["summarize"], ["analyse", "searches"], ["analyse", "table1"]),
    ],
    ids=" ".join,
)
def test_help(words, said):
    code, output, error = said(tool(words[0]), *words[1:], "--help")
    assert (code, error) == (0, "")
    head, general, *groups, examples = re.split(r"^(?=\w.*:$)", output, flags=re.M)
    usage = rf"usage: {words[0]}\.py( \w+)? \[options\]( \[[A-Z]+( \.\.\.)?\])*"
    assert re.fullmatch(usage, head.splitlines()[0]) and head.splitlines()[1] == "" != head.splitlines()[2]
    flags = set(re.findall(r"^  (--?\w+)", general, re.M))  # all others stand below the title of a component
    assert {"-h", "--config"} <= flags <= {"-h", "--config", "--method", "--space"} and groups
    assert examples.startswith("examples:\n") and examples.count(f"\n  python {tool(words[0])}") == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["train_search", "--epochz", "3"], "unknown flag --epochz; did you mean --epochs?"),
        (["train_search", "--epochs", "0"], "epochs must be at least 1, not 0"),
        (["train_search", "--sparseness", "99"], "sparseness 99 is more than the 14 candidate connections"),
        (["train_search", "--method", "darst"], "unknown method 'darst'"),
        (["train_search", "--dataset", "imagefolder"], "--dataset imagefolder needs --data FOLDER"),
        (["train_onestage", "--epsilon", "x"], "epsilon must be a number"),
        (["evaluate"], "give --arch"),
        (["evaluate", "--arch", "DARST"], "unknown architecture 'DARST'"),
        (["evaluate", "--space", "recurrent", "--dropout", "2"], "dropout must be less than 1.0"),
        (["count", "--layers", "0"], "layers must be at least 1"),
        (["visualize"], "--arch is missing"),
        (["predict", "run"], "give one image file or more after run"),
        (["export", "run", "--output", "network.bin"], "must end in .pt2"),
        (["train_search", "--unrolled"], "unknown flag --unrolled; it is an option of --method darts or pc_darts"),
        (["count", "--config", "cifar10_darts"], "cifar10_darts.yaml is a config of train_search.py; start that"),
        (["summarize"], "give one run folder or more"),
        (["analyse", "table1", "--step", "3"], "unknown flag --step; did you mean --steps?"),
        (["analyse", "planted", "--degree", "4"], "degree must be at most 3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake(words, error, said):
    code, output, line = said(tool(words[0]), *words[1:])
    assert (code, output) == (2, "") and line.startswith(f"{words[0]}.py: error: ") and error in line


def test_the_help_of_every_question(said):
    program = """
from isnas.analysis.commands import ANALYSES, main
for name in ANALYSES:
    try:
        main([name, "--help"])
    except SystemExit:
        print("answered")
"""
    code, output, error = said("-c", program)
    assert (code, error, output.count("answered")) == (0, "", len(ANALYSES))


def test_one_of_several_processes_tells_of_a_mistake(said, monkeypatch):
    spoken = []
    for rank in range(2):
        for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": 9999}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("MASTER_ADDR", "localhost")
        code, _, line = said(tool("train_search"), "--epochs", "0")
        assert code == 2
        spoken.append(bool(line))
    assert spoken == [True, False]


def test_the_table_of_published_architectures(said):
    code, output, error = said(tool("count"), "--table")
    assert (code, error) == (0, "") and "| `ISTA_twostage` | CIFAR-10 | 3.316726 M |" in output


def test_the_list_of_commands(said):
    code, output, error = said("-m", "isnas", "--help")
    assert (code, error) == (0, "") and "train_search" in output


def test_every_name_that_is_imported_late_is_there():
    trees = [parse(path.read_text(encoding="utf-8")) for path in (ROOT / "isnas").rglob("*.py")]
    texts = {node.value for tree in trees for node in walk(tree) if isinstance(node, Constant)}
    names = [text for text in texts if isinstance(text, str) and text.startswith("isnas.") and text.count(":") == 1]
    assert len(names) > 8 and all(callable(load(name)) for name in names)

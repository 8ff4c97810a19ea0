"""A mistake with a text, a recurrent cell or their runs ends with exit code 2 and one line, and no file is made."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from refusals import Case, beside, check, run_tool, started
from small_texts import write_text

CELL = "Genotype(recurrent=[('relu', 0), ('tanh', 1)], concat=range(1, 3))"
SMALL = ["--data", "text", "--nhid", "4", "--batch_size", "8", "--bptt", "10", "--valid_batch_size", "4"]
SMALL += ["--epochs", "1", "--no_tensorboard", "--device", "cpu"]
SEARCH = ["--space", "recurrent", "--samples", "2", "--method", "random_ws", *SMALL]
TRAINING = ["--arch", CELL, *SMALL]


def changed(part: str, text: str | None) -> Callable[[Path], object]:
    """A folder of text one of whose files is another, or missing."""

    def prepare(folder: Path) -> None:
        path = write_text(folder / "text") / f"{part}.txt"
        path.unlink()
        if text is not None:
            path.write_text(text)

    return prepare


def text(folder: Path) -> object:
    return write_text(folder / "text")


def search(name: str, argv: Sequence[str], *words: str, prepare: Callable[[Path], object] = text) -> Case:
    return Case(name, [*SEARCH, *argv], list(words), prepare)


def training(name: str, argv: Sequence[str], *words: str, prepare: Callable[[Path], object] = text) -> Case:
    return Case(name, [*TRAINING, *argv], list(words), prepare, "evaluate.py")


CASES = [
    search("no text", [], "the data folder text does not exist", "train.txt", prepare=lambda folder: None),
    search("empty file", [], "text/valid.txt is empty; put at least a line", prepare=changed("valid", "")),
    search("blank file", [], "text/test.txt is empty", prepare=changed("test", " \n\n")),
    search("missing file", [], "text holds train.txt", "not valid.txt", prepare=changed("valid", None)),
    training("empty file of a training", [], "text/train.txt is empty", prepare=changed("train", "")),
    search("sequence longer than the text", ["--bptt", "1000"], "the training text has 1,350 words", "--bptt"),
    training("sequence too long to train", ["--bptt", "170"], "8 columns with a sequence of 170", "take 1,368"),
    search("more columns than words", ["--valid_batch_size", "300"], "360 words", "a smaller --valid_batch_size"),
    training("more columns than a test has", ["--test_batch_size", "200"], "270 words", "a smaller --test_batch_size"),
    training("another text as the penn treebank", ["--dataset", "ptb"], "different words", "10,000", "textfolder"),
    search("method of images", ["--method", "darts"], "unknown method 'darts'; choose from conas, random_ws"),
    search("flag of images", ["--sparseness", "2"], "unknown flag --sparseness"),
    search("another flag of images", ["--layers", "8"], "unknown flag --layers"),
    search("lower precision", ["--amp", "bf16"], "unknown flag --amp"),
    search("flag of a training", ["--nonmono", "5"], "unknown flag --nonmono"),
    training("method of a search", ["--method", "conas"], "unknown method 'conas'; choose from evaluation"),
    training("drop path", ["--drop_path_prob", "0.2"], "unknown flag --drop_path_prob"),
    training("everything dropped", ["--dropout", "1"], "dropout must be less than 1.0"),
    training("more parts than columns", ["--grad_accum", "9"], "--grad_accum 9 is more than the 8 columns"),
    Case(
        "recurrent cell for images",
        ["--arch", CELL, "--space", "cells", "--dataset", "digits", "--epochs", "1"],
        ["it is a recurrent cell"],
        tool="evaluate.py",
    ),
    training("cell of images", ["--space", "recurrent", "--arch", "ISTA_twostage"], "unknown architecture", "DARTS_V1"),
    training(
        "genotype of images",
        ["--space", "recurrent", "--arch", "g.json"],
        "g.json",
        "it is a cell for networks of images",
        prepare=lambda folder: (folder / "g.json").write_text('{"normal": [], "reduce": []}'),
    ),
    training("no architecture", ["--space", "recurrent", "--arch", ""], "give --arch: a published recurrent cell"),
    training("no such space", ["--space", "chains"], "unknown space 'chains'; choose from cells, chain, recurrent"),
    Case("flag of text", ["--dataset", "digits", "--nhid", "8"], ["unknown flag --nhid"]),
    Case("text as images", ["--space", "cells", "--dataset", "kjv"], ["unknown dataset 'kjv'"]),
    Case("images as text", [*SEARCH, "--dataset", "digits"], ["digits is of images", "kjv, ptb, textfolder"]),
    Case("images for a cell", ["--arch", "ENAS", "--dataset", "digits"], ["digits is of images"], tool="evaluate.py"),
    Case("own text and a method of images", ["--data", "text", "--method", "darts"], ["unknown method 'darts'"], text),
]


RESUME_CASES = [
    Case("folder is taken", [*SEARCH, "--run_dir", "run"], ["run already holds a run", "--resume run"], text),
    Case(
        "other text",
        ["--resume", "run", "--data", "other"],
        ["the words are not those of the run: words 9 instead of 10; fix --data"],
        lambda folder: write_text(folder / "other", words=8),
    ),
    Case(
        "other words in the same place",
        ["--resume", "run"],
        ["the words are not those of the run: text_digest"],
        lambda folder: write_text(folder / "text", name="other"),
    ),
    Case("text is gone", ["--resume", "run"], ["the data folder text does not exist"]),
    Case("other space", ["--resume", "run", "--space", "cells"], ["--space cells differs from the run's recurrent"]),
    Case("other method", ["--resume", "run", "--method", "conas"], ["--method conas differs from the run's random_ws"]),
    Case("other size", ["--resume", "run", "--nhid", "5"], ["--nhid 5 differs from the run's 4"], text),
    Case("run of a search", ["--resume", "run"], ["cannot resume run"], text, "evaluate.py"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with started(CASES, tmp_path_factory.mktemp("bad")) as futures:
        yield futures


@pytest.fixture(scope="module")
def resume_outcomes(tmp_path_factory):
    """As ``outcomes``, each with a finished run in the folder ``run``."""
    root = tmp_path_factory.mktemp("resume")
    text(root / "template")
    result = run_tool("train_search.py", [*SEARCH, "--run_dir", "run"], root / "template")
    assert result.returncode == 0, result.stderr

    with started([beside(case, root / "template" / "run") for case in RESUME_CASES], root) as futures:
        yield futures


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_with_a_text_is_one_line(case, outcomes):
    check(case, outcomes[case.name])


@pytest.mark.parametrize("case", RESUME_CASES, ids=lambda case: case.name)
def test_a_mistake_with_a_run_on_text_is_one_line(case, resume_outcomes):
    check(case, resume_outcomes[case.name])

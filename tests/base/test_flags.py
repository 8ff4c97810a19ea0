"""What people type who come from other tools, what it is taken for, and the help."""

import re
import shlex
from dataclasses import dataclass
from importlib import import_module

import pytest

from isnas.analysis.commands import ANALYSES
from isnas.analysis.commands import main as analyse
from isnas.apps.console import COMMANDS
from isnas.base import options as options_module
from isnas.base.configs import CONFIGS
from isnas.base.errors import UserError
from isnas.base.habits import HABITS, own_name
from isnas.base.options import Component, build, chosen, load_yaml, option, parse, stored_or_given
from isnas.methods.elsewhere import elsewhere
from isnas.methods.registry import SEARCHES, parse_run


@dataclass(frozen=True)
class RateOptions(Component, title="Rates"):
    learning_rate: float = option(0.1, "rate, 100 % of it", above=0.0)
    weight_decay: float = option(0.0, "decay", minimum=0.0)


@dataclass(frozen=True)
class ToolOptions(RateOptions, title="Tool"):
    learning_rate: float = option(0.2, "rate of the tool", above=0.0)
    seeds: tuple[int, ...] = option((), "seeds", minimum=0)
    kinds: tuple[str, ...] = option(("a",), "kinds", choices=("a", "b"))
    words: tuple[str, ...] = option((), "words")
    sizes: tuple[float, ...] = option((), "sizes")
    amp: str = option("off", "precision", choices=("off", "bf16"))
    device: str = option("cpu", "device")
    arch: str = option("", "architecture", path=True)
    resume: str = option("", "run", path=True, free=True)


def given(*argv):
    return parse(ToolOptions, list(argv), "A tool.\n--arch x\n--lr 1")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--lr 0.5 --wd=1e-3", {"learning_rate": 0.5, "weight_decay": 1e-3}),
        ("--lr 0.5 --learning-rate 0.25", {"learning_rate": 0.25}),
        ("--genotype x", {"arch": "x"}),
        ("--seeds 0,1,2", {"seeds": (0, 1, 2)}),
        ("--seeds 0, 1 2,3,", {"seeds": (0, 1, 2, 3)}),
        ("--kinds=b,a", {"kinds": ("b", "a")}),
        ("--words a,b", {"words": ("a,b",)}),  # a word may have one
    ],
)
def test_what_is_understood(words, values):
    assert given(*words.split()) == ToolOptions(**values)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--gpu 0", "unknown flag --gpu; give --device cuda:0"),
        ("--gpu=1 --lr 3", "unknown flag --gpu; give --device cuda:1"),
        ("--gpu --lr 3", "unknown flag --gpu; give --device cuda:..."),
        ("-lr 0.5", "unknown flag -lr; did you mean --learning_rate?"),
        ("--workers 4", "unknown flag --workers; images in memory need no workers: leave it out"),
        ("--output_dir out", "unknown flag --output_dir; --help lists the flags"),  # there is no --run_dir
        ("x", "unexpected argument 'x'; did you mean --arch x?"),
        ("x --arch y", "unexpected argument 'x'; --help lists the flags"),
        ("--LEARNING_RATES 3", "unknown flag --LEARNING_RATES; did you mean --learning_rate?"),
        ("--seeds 0,,1", "seeds must be integers, not ['0', '', '1']"),
        ("--sizes 0,5", "sizes must be numbers, not ['0,5']"),  # half, where a comma is a point
        ("--kinds a,c", "unknown kinds 'c'; choose from a, b"),
        ("--amp", "argument --amp: expected one argument: --amp {off,bf16}; --help lists the flags"),
        ("--learning 3", "unknown flag --learning; did you mean --learning_rate?"),
    ],
)
def test_what_is_not_but_has_an_answer(words, error):
    with pytest.raises(UserError) as raised:
        given(*words.split())
    assert str(raised.value) == error


def test_a_config_has_the_names_of_the_options_alone(tmp_path):
    (tmp_path / "c.yaml").write_text("lr: 3\n")
    with pytest.raises(UserError, match=r"unknown option 'lr' in .*c\.yaml; did you mean learning_rate\?"):
        load_yaml(ToolOptions, tmp_path / "c.yaml")
    with pytest.raises(UserError, match=r"unknown option 'wd'; did you mean weight_decay\?"):
        build(ToolOptions, {"wd": 0.0})


def test_what_is_needed_early_is_understood_early(tmp_path):
    assert stored_or_given(["--genotype=x", "--lr", "3"], "arch") == "x" == stored_or_given(["--arch", "x"], "arch")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("arch: x\nkinds: [b]\n")
    for checkpoint in ("run/checkpoint.pt", "run/"):
        words = ["--resume", str(tmp_path / checkpoint)]
        assert stored_or_given(words, "arch") == chosen(words, "arch", "x", "", "").value == "x"
        assert given(*words).kinds == ("b",)
    assert given("--resume", str(tmp_path / "run/checkpoint.pt")).resume == str(tmp_path / "run")
    (tmp_path / "run/weights.pt").touch()
    with pytest.raises(UserError, match=r"weights\.pt: it is a file; give the folder of the run: --resume .*run$"):
        given("--resume", str(tmp_path / "run/weights.pt"))


def test_the_habits_have_reasons_and_none_hides_an_option():
    assert all(row.why and row.words and (row.option or row.instead) for row in HABITS)
    assert own_name("weights", {"weights", "run"}) == "weights" and own_name("weights", {"run"}) == "run"
    taken = [(word, row.option) for row in HABITS if not row.instead for word in row.words]
    assert len(set(taken)) == len(taken)


def test_the_page_has_every_habit():
    page = (CONFIGS.parent / "docs/use.md").read_text(encoding="utf-8")
    rows = page.partition("## What other tools call it")[2].partition("\n## ")[0].splitlines()
    shown = {word for row in rows if row.startswith("| `--") for word in re.findall(r"`--(\w+)`", row.split(" | ")[0])}
    assert shown == {word for row in HABITS for word in row.words if word} | {"epoch"}


def test_the_help_is_in_groups_and_ends_with_examples(capsys):
    with pytest.raises(SystemExit):
        given("--help")
    usage, what, general, rates, tool, examples = capsys.readouterr().out.split("\n\n")
    assert usage.endswith(" [options]") and what == "A tool." and general.startswith("options:\n  -h, --help")
    assert rates.startswith("Rates:\n  --learning_rate NUMBER\n") and "rate of the tool (default: 0.2)" in rates
    assert (
        "--weight_decay" in rates and "--seeds INTEGER [INTEGER ...]" in tool and "kinds, of a, b (default: a)" in tool
    )
    assert examples.startswith("examples:\n") and [line.split()[-1] for line in examples.split("\n")[1:3]] == ["x", "1"]


class UnderstoodError(Exception):
    """A command line is."""


@pytest.mark.parametrize("name", [*COMMANDS, *(f"analyse {name}" for name in ANALYSES)])
def test_the_examples_are_understood(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def stop(cls, values):
        build(cls, values)
        raise UnderstoodError

    monkeypatch.setattr(options_module, "build", stop)
    command, _, question = name.partition(" ")
    about = ANALYSES[question] if question else COMMANDS[command]
    for words in about.examples:
        with pytest.raises(UnderstoodError):
            main = analyse if question else import_module(f"isnas.apps.{COMMANDS[command].module}").main
            main([*question.split(), *shlex.split(words)])
    assert len(about.examples) == 2 or command in ("analyse", "summarize")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--unrolled", "unknown flag --unrolled; it is an option of --method darts or pc_darts"),
        ("--no_unrolled", "unknown flag --no_unrolled; it is an option of --method darts or pc_darts"),
        ("--method darts --proj_dims 7", "unknown flag --proj_dims; it is an option of --method two_stage or sampled_"),
        ("--label_smooth 0.1", "--label_smooth; it is an option of train_onestage.py and evaluate.py on images"),
        ("--nhid 3", "unknown flag --nhid; it is an option of train_search.py and evaluate.py on text"),
        ("--arch x", "unknown flag --arch; it is an option of evaluate.py"),
        ("--widths digits", "unknown flag --widths; it is an option of --space chain"),
        ("--space chain --layers 3", "unknown flag --layers; it is an option of --space cells"),
        ("--config cifar10_evaluate", "cifar10_evaluate.yaml is a config of evaluate.py; start that with it, or give"),
        ("--config imagenet_onestage", "imagenet_onestage.yaml is a config of train_onestage.py; start that with it"),
        ("--config ptb_evaluate", "ptb_evaluate.yaml is a config of evaluate.py"),
    ],
)
def test_what_is_of_another_method_or_tool(words, error):
    with pytest.raises(UserError) as raised:
        parse_run(words.split(), SEARCHES, "two_stage", "")
    assert error in str(raised.value)


def test_a_method_that_the_tool_has_in_another_space_is_not_another_tools():
    assert elsewhere("method", "darts") == "train_search.py" and elsewhere("method", ["darts"]) == ""
    assert elsewhere("method", "darts", methods=SEARCHES.rows) == elsewhere("method", "nothing") == ""
    assert elsewhere("space", "recurrent", methods={"evaluation": None}) == "evaluate.py"
    assert elsewhere("space", "recurrent") == elsewhere("nothing") == ""

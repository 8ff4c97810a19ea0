"""Every command line that pages, configs and scripts have one type: its words are understood, and short ones run."""

import argparse
import contextlib
import dataclasses
import importlib.util
import inspect
import re
import runpy
import shlex
import string
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from starting import ROOT, run_script
from test_adding import tool
from torch.distributed.run import get_args_parser

from isnas.analysis.commands import ANALYSES
from isnas.analysis.options.memory import MemoryOptions
from isnas.apps import console, count, export, make_shards, predict, tester, visualize
from isnas.base.habits import HABITS
from isnas.base.options import Chosen, parse, to_yaml
from isnas.methods.languages import LANGUAGE_SEARCHES, LANGUAGE_TRAININGS, RECURRENT, is_of_text, parse_language
from isnas.methods.registry import METHODS, SEARCHES, SPACES, make_options, options_class, parse_run
from isnas.space.which import CELLS, resolve, space_of

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/*/README.md")]
#: Not the past, and not what is understood after a row has been added, which test_adding.py does.
NOW = [path for path in PAGES if path.stem not in ("CHANGELOG", "adding_a_method", "adding_a_space")]
CONFIGS = list(ROOT.glob("configs/**/*.yaml"))
SCRIPTS = [*ROOT.glob("scripts/**/*.*"), *ROOT.glob("benchmarks/**/*.py")]

#: How a command line begins on a page, and how in a comment; what stands in it for whatever one likes.
BEGINNING = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:python3?|isnas|make|sbatch|torchrun|pip|scripts/\S+|tools/\S+|\.venv/\S+) "
)
IN_COMMENT = re.compile(r"^(?:#  +|    |)((?:python|isnas|sbatch|scripts/\S+) .*)", re.M)
ANYTHING = re.compile(r"tools/X\.py|scripts/slurm/\.\.\.|\[FLAGS .*?\]|\.\.\.")
LETTERS = {"S": "0", "A": "bf16", "GPUS": "8"}
#: Runs that commands name, without those of the page that make them.
RUNS = re.compile(r"RUN$|(search|eval)-EXP-\d{8}-\d{6}$")


def typed(path):
    """The command lines in a file: in blocks of a page and between backticks, or in comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return IN_COMMENT.findall(text)
    found = []
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.M)):
        if number % 2:
            variables = {}
            for line in part.replace("\\\n", " ").splitlines():
                line = string.Template(line).safe_substitute(variables)
                variables |= dict(re.findall(r'^(\w+)="(.*)"$', line))
                found += line.split(" && ")
        else:
            found += [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", part)]
    return [line for line in found if BEGINNING.match(line)]


def words_of(line):
    """The words of a command line, without its comment, its environment and what stands for anything."""
    words = shlex.split(ANYTHING.sub(" ", line), comments=True)
    words = [word.strip("[]") if word.count("[") != word.count("]") else word for word in words]
    while "=" in words[0]:
        del words[0]
    return [LETTERS.get(word, word) for word in words]


def all_typed():
    """The page and the words of each command line that says more than a name."""
    lines = [(path, line) for path in (*NOW, *CONFIGS, *SCRIPTS) for line in typed(path)]
    found = {f"{path.relative_to(ROOT)}: {line}": (path, words_of(line)) for path, line in lines}
    return {line: (path, words) for line, (path, words) in found.items() if len(words) > 1}


TYPED = all_typed()


def of_isnas(words):
    """The name of a command of isnas and its words, if these are of one."""
    program, *rest = words
    if program.startswith("python") and rest[0].startswith("tools/"):
        program, *rest = rest
    if program == "isnas":
        return rest[0], rest[1:]
    return (Path(program).stem, rest) if program.startswith("tools/") else None


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of the runs that pages resume."""
    folder = tmp_path_factory.mktemp("runs")
    resumed = {"search-EXP-20261122-101500": make_options("two_stage")}
    resumed["eval-EXP-20261122-111500"] = make_options("evaluation", arch="DARTS_V2")
    for name, options in resumed.items():
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(to_yaml(options))
    return folder


@pytest.mark.parametrize("line", TYPED, ids=lambda line: line[:80])
def test_it_is_understood(line, runs, monkeypatch):
    monkeypatch.chdir(runs)
    path, words = TYPED[line]
    for word in words:
        if re.match(r"(benchmarks|configs|docs|scripts|tests|tools)/", word):
            assert (ROOT / word).exists(), word
    arch = getattr(understood(words, monkeypatch), "arch", "")
    made = {each[-1] for page, each in TYPED.values() if page == path and "--run_dir" in each}
    if arch and not (RUNS.match(arch) or arch == "NAME" or arch.split("/")[0] in made):
        assert resolve(arch, space_of(arch) or CELLS)


def understood(words, monkeypatch):
    """What a command's own parser makes of its words, if it is one of isnas."""
    if named := of_isnas(words):
        return options_of(*named)
    program, script, *rest = words
    if program == "torchrun":
        given = get_args_parser().parse_args(words[1:])
        return options_of(Path(given.training_script).stem, given.training_script_args)
    if program == "sbatch":
        if script == "--test-only":
            script, *rest = rest
        name = re.search(r"^train (\w+)\.py", (ROOT / script).read_text(), re.M)
        return options_of(name[1], rest) if name else None
    if program == "make":
        assert re.search(rf"^{script}:", (ROOT / "Makefile").read_text(), re.M)
    elif program.endswith("pip"):
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert script == "install" and set(re.findall(r"\[(\w+)\]", rest[-1])) <= set(extras)
        assert rest[0] != "-r" or (ROOT / rest[1]).exists()
    elif script == "-c":
        compile(rest[0], "a page", "exec")
    elif program.startswith("python") and script == "-m":
        assert importlib.util.find_spec(rest[0])
    elif script == "tests/golden/record.py":  # which takes words as they are
        assert all(f'"{word}"' in (ROOT / "tests/golden/golden.json").read_text() for word in rest)
    elif program == "python":
        check_arguments(script, rest, monkeypatch)
    else:
        assert program == ".venv/bin/pytest" or (ROOT / program).stat().st_mode & 0o100, program
    return None


#: Searches and trainings by command, which is the default, and the same for texts.
RUNNING = {"train_search": (SEARCHES, "two_stage", LANGUAGE_SEARCHES, "conas")}
RUNNING |= {"evaluate": (("evaluation",), "evaluation", LANGUAGE_TRAININGS, "evaluation")}
RUNNING |= {"evaluate_imagenet": RUNNING["evaluate"], "train_onestage": (("one_stage",), "one_stage", None, "")}
ASKING = {"test": tester.TestOptions, "predict": predict.PredictOptions, "export": export.ExportOptions}
ASKING |= {
    "count": count.CountOptions,
    "visualize": visualize.VisualizeOptions,
    "make_shards": make_shards.ShardOptions,
}


def options_of(name, argv):
    """The options of a command of isnas; of its name alone none, where it wants to be told more."""
    assert name in console.COMMANDS
    if name in RUNNING:
        kinds, default, of_text, default_of_text = RUNNING[name]
        if is_of_text(argv):
            return parse_language(argv, of_text, default_of_text, "")[1]
        return parse_run(argv, kinds, default, "", others=[RECURRENT])[1]
    if not argv:
        return None
    if name == "memory":
        return parse_run(argv, METHODS, "two_stage", "", MemoryOptions)[1]
    if name in ASKING:
        return parse(ASKING[name], argv, "")
    question, *argv = ("runs", *argv) if name == "summarize" else argv
    return parse(ANALYSES[question].options, argv, "")


class HasParsed(BaseException):
    """The arguments of a script are parsed, and nothing else is to be done."""


def check_arguments(script, argv, monkeypatch):
    """Let a script parse its arguments, if it is given any, and stop it there."""
    if not argv:
        return
    for name in ("parse_args", "parse_known_intermixed_args"):
        own = getattr(argparse.ArgumentParser, name)

        def parse_and_stop(self, *given, own=own):
            own(self, *given)
            raise HasParsed

        monkeypatch.setattr(argparse.ArgumentParser, name, parse_and_stop)
    monkeypatch.setattr("sys.argv", [script, *argv])
    monkeypatch.syspath_prepend((ROOT / script).parent)
    main = runpy.run_path(str(ROOT / script))["main"]
    with pytest.raises(HasParsed):
        main(*([argv] if inspect.signature(main).parameters else []))


def flags():
    """The names of all flags there are."""
    kinds = [MemoryOptions, *ASKING.values(), *(each.options for each in ANALYSES.values())]
    kinds += [each.options() for rows in (LANGUAGE_SEARCHES, LANGUAGE_TRAININGS) for each in rows.rows.values()]
    pairs = [
        (method, space) for method, row in METHODS.rows.items() for space in SPACES if space in (row.spaces or SPACES)
    ]
    kinds += [options_class(*(Chosen(name, (), "") for name in pair)) for pair in pairs]
    known = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    known |= {word for habit in HABITS for word in habit.words}
    known |= {f"no_{name}" for name in known} | {"config"}
    known |= {flag for path in SCRIPTS if path.suffix == ".py" for flag in re.findall(r'"--(\w+)"', path.read_text())}
    return known | {flag.strip("-") for action in get_args_parser()._actions for flag in action.option_strings}


def test_every_flag_that_is_spoken_of_is_one():
    known = flags() | {"epoch", "epochz", "signal"}  # two mistakes that pages show, and SLURM's
    found = {
        (path.name, flag)
        for path in (*NOW, *CONFIGS)
        for flag in re.findall(r"(?<![\w-])--([a-z]\w*)\b(?!-)", path.read_text(encoding="utf-8"))
    }
    assert len(found) > 300 and [(page, flag) for page, flag in found if flag not in known] == []


def prose(path):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)


def headings(path):
    """The anchors of a page, as GitHub makes them of its headings."""
    titles = re.findall(r"^#+ (.*)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_to_a_file_and_to_a_heading_of_it():
    targets = [
        (path, *target.partition("#")[::2])
        for path in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(path)))
        if not target.startswith("https://")
    ]
    places = [(path, path.parent / name if name else path, heading) for path, name, heading in targets]
    assert len(places) > 150
    assert [(path.name, place) for path, place, _ in places if not place.exists()] == []
    assert [(path.name, heading) for path, place, heading in places if heading and heading not in headings(place)] == []


#: The commands that take seconds, and what pages call what they are asked about.
SHORT = ("test", "predict", "export", "summarize", "visualize", "count")
OF_IMAGES = {"NAME": "ISTA_twostage", "RUN": "digits", "IMAGES": "three.png", "FOLDER": "folder"}
OF_TEXT = {"NAME": "DARTS_V2", "RUN": "text"}


def short_ones():
    """Each of them once, its capitals replaced; benchmarks/own_images.py runs those of its page."""
    found = set()
    for path, words in TYPED.values():
        name, argv = of_isnas(words) or ("", [])
        if name in SHORT and argv and path.stem != "own_images":
            of_text = path.stem == "recurrent" or not {"--prompt", "recurrent"}.isdisjoint(argv)
            meant = OF_TEXT if of_text else OF_IMAGES
            found.add((name, *("/".join(meant.get(part, part) for part in word.split("/")) for word in argv)))
    return sorted(found)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of what docs/use.md makes, trained for seconds, and of a text and a model of it."""
    folder = tmp_path_factory.mktemp("trained")
    few = ["--no_tensorboard", "--epochs", "1", "--batch_size", "20"]
    with contextlib.chdir(folder):
        for path, words in TYPED.values():
            if path.stem == "use" and words[-2:] == ["--run_dir", "digits"]:
                tool("evaluate")([*words[2:], *few, "--max_train_images", "40", "--layers", "3"])
            elif path.stem == "use" and words[:2] == ["python", "-c"]:
                exec(words[2], {})
        Image.open("three.png").save("photo.jpg")
        Path("penn").mkdir()
        for name in ("penn/train.txt", "penn/valid.txt", "penn/test.txt", "some.txt"):
            Path(name).write_text("in the beginning was the word\n" * 30)
        small = ["--data", "penn", "--nhid", "4", "--bptt", "5"]
        tool("evaluate")(["--arch", "DARTS_V2", *small, *few, "--run_dir", "text"])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("words", short_ones(), ids=" ".join)
def test_a_short_one_runs(words, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    name, *argv = words
    tool("tester" if name == "test" else name)(argv)
    assert capsys.readouterr().out
    if "--output" in argv:
        assert Path(argv[argv.index("--output") + 1]).exists()


@pytest.mark.slow
def test_the_tables_of_the_evidence_are_what_its_commands_print(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    page = ROOT / "docs/evidence.md"
    for path, words in TYPED.values():
        if path == page and "--no_search" in words:
            tool("analyse")(words[2:])
        elif path == page and "--read" in words:
            print(run_script(*words[1:], folder=ROOT).stdout)
    printed = capsys.readouterr().out.splitlines()
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 80 and [row for row in rows if row not in printed] == []

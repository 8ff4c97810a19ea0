import ast
import os
from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
import yaml

from isnas.base.configs import config_file
from isnas.base.errors import UserError
from isnas.base.options import (
    Component,
    build,
    chosen,
    fixed_values,
    load_yaml,
    option,
    parse,
    parse_command,
    to_dict,
    to_yaml,
)
from isnas.engine.harness_options import SearchOptions
from isnas.methods.languages import LANGUAGE_SEARCHES, LANGUAGE_TRAININGS, is_of_text, parse_language
from isnas.methods.registry import METHODS, Methods, make_options, parse_run

LANGUAGE = Methods(ChainMap(LANGUAGE_TRAININGS.rows, LANGUAGE_SEARCHES.rows))
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
#: those of methods that have presets
PAPERS = [path for path in (ROOT / "configs").glob("*.yaml") if "stage" in path.stem or "evaluate" in path.stem]
PAPERS = [path for path in PAPERS if not path.stem.startswith("ptb")]


@dataclass(frozen=True)
class SizeOptions(Component):
    batch_size: int = option(8, "images", minimum=1, maximum=100)
    image_size: int | None = option(None, "side", minimum=2)

    def validate(self) -> None:
        if self.image_size is not None and self.image_size > self.batch_size:
            raise UserError("the image is larger than the batch")


@dataclass(frozen=True)
class ToolOptions(SizeOptions):
    rate: float = option(0.1, "rate", above=0.0, below=1.0)
    solver: str = option("fast", "solver", choices=("fast", "exact"))
    name: str = option("run", "name", free=True)
    bar: bool = option(True, "progress bar", free=True)
    resume: str = option("", "run folder", free=True)


@dataclass(frozen=True)
class PlacedOptions(ToolOptions):
    run: str = option("", "a run, 100 % of it", positional=True)
    images: tuple[str, ...] = option((), "images", positional=True)
    seeds: tuple[int, ...] = option((), "seeds")
    words: tuple[str, ...] = option((), "words")
    rates: tuple[float, ...] = option((0.5, 0.25), "rates", above=0.0)


@dataclass(frozen=True)
class PresetOptions(ToolOptions):
    batch_size: int = option(9, "images", minimum=1, maximum=100)
    preset: str = option(
        "ours", "whose", presets={"ours": {}, "theirs": {"batch_size": 64, "rate": 0.25, "bar": False}}
    )


def given(*argv: str) -> ToolOptions:
    return parse(ToolOptions, list(argv), "A tool.")


def placed(*argv: str) -> PlacedOptions:
    return parse(PlacedOptions, list(argv), "A tool.")


@pytest.fixture
def config(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "settings.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return f"--config={path}"

    return write


def test_a_flag_wins_over_yaml_and_yaml_over_the_default(config):
    flag = config("batch_size: 20\nrate: 0.2\n")
    assert given(flag, "--batch_size", "30") == ToolOptions(batch_size=30, rate=0.2)
    assert given("--batch_size=30", flag) == ToolOptions(batch_size=30, rate=0.2)
    assert given() == ToolOptions()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": 1.5}, "batch_size must be an integer"),
        ({"rate": float("nan")}, "rate must be a finite number"),
        ({"solver": "exect"}, "unknown solver 'exect'"),
        ({"image_size": 9}, "the image is larger than the batch"),
    ],
)
def test_options_are_checked_however_they_are_made(values, words):
    for make in (lambda: ToolOptions(**values), lambda: replace(ToolOptions(), **values)):
        with pytest.raises(UserError, match=words):
            make()
    assert ToolOptions(batch_size="9", rate="1e-2") == ToolOptions(batch_size=9, rate=0.01)


def test_a_component_alone_is_checked_as_far_as_it_goes():
    for cls in (SearchOptions, *(method.Options for method in METHODS.values())):
        with pytest.raises(UserError, match="epochs must be at least 1, not -1"):
            cls(epochs=-1)
        assert to_yaml(cls()) == to_yaml(cls(**to_dict(cls())))
    with pytest.raises(UserError, match="sparseness 99 is more than"):
        replace(make_options("two_stage"), sparseness=99)


def test_what_is_given_wins_over_a_preset_and_that_over_the_default(config):
    def preset(*argv):
        return parse(PresetOptions, list(argv), "A tool.")

    theirs = PresetOptions(batch_size=64, rate=0.25, bar=False, preset="theirs")
    assert preset() == preset("--preset", "ours") == PresetOptions()
    assert preset("--preset", "theirs") == preset(config("preset: theirs")) == theirs
    assert build(PresetOptions, {"preset": "theirs"}) == theirs
    assert preset("--preset=theirs", "--rate", "0.1", "--bar") == replace(theirs, rate=0.1, bar=True)  # the defaults
    flag = config("preset: theirs\nrate: 0.5\nbatch_size: 9\n")
    assert preset(flag) == replace(theirs, rate=0.5, batch_size=9)
    assert preset(flag, "--rate", "0.75") == replace(theirs, rate=0.75, batch_size=9)
    assert preset(flag, "--preset", "ours") == PresetOptions(rate=0.5)


def test_a_preset_that_is_not_there_and_one_of_another_run(tmp_path):
    with pytest.raises(UserError, match="unknown preset 'their'; choose from ours, theirs"):
        parse(PresetOptions, ["--preset", "their"], "A tool.")
    stored = PresetOptions(batch_size=64, rate=0.5, preset="theirs")
    (tmp_path / "config.yaml").write_text(to_yaml(stored))
    resumed = parse(PresetOptions, ["--resume", str(tmp_path), "--preset", "theirs"], "A tool.")
    assert resumed == replace(stored, resume=str(tmp_path))
    with pytest.raises(UserError, match="--preset ours differs from the run's theirs"):
        parse(PresetOptions, ["--resume", str(tmp_path), "--preset", "ours"], "A tool.")


def test_hyphens_in_flags_but_never_in_values():
    assert given("--batch-size=30", "--no-bar").batch_size == 30
    assert given("--name", "a-b").name == "a-b"
    assert given("--no-bar").bar is given("--no_bar").bar is False


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("rate: 6e-4", "rate", 6e-4),  # a string to PyYAML
        ("rate: '0.5'", "rate", 0.5),
        ("batch_size: 50.0", "batch_size", 50),
        ("image_size: 4", "image_size", 4),
        ("image_size: none", "image_size", None),
        ("image_size:", "image_size", None),
        ("name: 2024-01-31", "name", "2024-01-31"),
        ("name: 1", "name", "1"),
        ("name: 2024-13-45", "name", "2024-13-45"),
        ("name: 0300", "name", "0300"),
        ("name: true", "name", "true"),
        ("name: 1:30", "name", "1:30"),
        ("name: ~/runs", "name", "~/runs"),
        ("batch_size: 010", "batch_size", 10),  # 8 in YAML 1.1
        ("batch_size: 1.0e+1", "batch_size", 10),
        ("bar: No", "bar", False),
        ("bar: off", "bar", False),
    ],
)
def test_values_in_yaml_get_their_types(config, text, key, value):
    got = getattr(given(config(text)), key)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--rate", "nan"], "rate must be a finite number, not nan"),
        (["--rate", "inf"], "rate must be a finite number, not inf"),
        (["--rate", "0"], "rate must be greater than 0.0"),
        (["--rate", "1"], "rate must be less than 1.0"),
        (["--rate=-1e-5"], "rate must be greater than 0.0, not -1e-05"),
        (["--rate", "-1e-5"], "rate must be greater than 0.0, not -1e-05"),
        (["--rate", "fast"], "rate must be a number, not 'fast'"),
        (["--batch_size", "0"], "batch_size must be at least 1"),
        (["--batch_size", "101"], "batch_size must be at most 100"),
        (["--batch_size", "1.5"], "batch_size must be an integer"),
        (["--batch_size", "9" * 400], "batch_size"),
        (["--batch_size"], "batch_size"),
        (["--image_size", "1"], "image_size must be at least 2"),
        (["--image_size", "20"], "the image is larger than the batch"),
        (["--solver", "exect"], "unknown solver 'exect'; choose from fast, exact"),
        (["--batchsize", "3"], "unknown flag --batchsize; did you mean --batch_size?"),
        (["--batch"], "unknown flag --batch"),  # no abbreviations: they break when an option is added
        (["--bar=true"], "bar"),
        (["stray"], "unexpected argument 'stray'"),
        (["--config", "no-such.yaml"], "cannot read the config no-such.yaml"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_refused_flags(argv, words):
    with pytest.raises(UserError) as caught:
        given(*argv)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batchsize: 3", "unknown option 'batchsize' in {path}; did you mean batch_size?"),
        ("3: 4", "unknown option '3' in {path}"),
        ("rate: .nan", "rate must be a finite number"),
        ("batch_size: .nan", "batch_size must be an integer"),
        ("batch_size: .inf", "batch_size must be an integer"),
        ("batch_size: 1.5", "batch_size must be an integer, not '1.5'"),
        ("batch_size: true", "batch_size must be an integer, not 'true'"),
        ("batch_size:", "batch_size must be an integer"),
        ("rate: [0.1]", "rate must be a number"),
        ("bar: 1", "bar must be true or false"),
        ("name:", "name must be text"),
        ("solver: slow", "unknown solver 'slow'"),
        ("resume: folder", "resume"),  # only the flag makes a resumed run compare its settings
        ("- a", "{path} must hold lines of the form 'option: value'"),
        ("", "{path} must hold lines"),
        ("rate: {", "holds a mapping"),
        ("rate: [0.1", "{path} is not YAML: expected"),
        ("name: " + "[" * 2000, "{path}, line 1: 'name' holds a list within a list"),
        (b"name: \xff", "{path} is not YAML: it is not UTF-8 text"),
        ("rate: 0.1\nname: !!python/object/apply:os.getcwd []", "{path}, line 2: tags (!) mean nothing here"),
        ("batch_size: !!int 3", "tags (!) mean nothing here"),
        ("rate: 0.1\nname: a\nrate: 0.2", "{path}, line 3: 'rate' is given twice; leave one of them out"),
        ("name: &a b", "anchors and aliases"),
        ("name: *a", "anchors and aliases"),
        ("<<: {rate: 0.1}", "'<<' holds a mapping"),
        ("name: {a: b}", "'name' holds a mapping, which no option takes"),
        ("[rate]: 0.1", "a list or mapping stands where the name of an option belongs"),
        ("rate: 0.1\n---\nrate: 0.2", "{path}, line 2: a second document begins"),
        ("name: " + "x" * 10**6, "{path} is not YAML: it has more than 1,000,000 bytes"),
        ("batch_size: 1:30", "batch_size must be an integer, not '1:30'"),  # 90 in YAML 1.1
        ("rate: 0:0:0.5", "rate must be a number, not '0:0:0.5'"),
        ("batch_size: 0x10", "batch_size must be an integer, not '0x10'"),
        ("batch_size: 1_0", "batch_size must be an integer, not '1_0'"),
        ("batch_size: ٣", "batch_size must be an integer, not '٣'"),
        ("batch_size: 1e30", "batch_size must be an integer, not '1e30'"),
        ("name: 'a\\0b'".replace("'", '"'), "name must be text, not 'a\\x00b'"),
        ('name: "\\ud800"', "name must be text, not '\\ud800'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused_yaml(config, text, words):
    flag = config(text)
    with pytest.raises(UserError) as caught:
        given(flag)
    assert words.format(path=flag.removeprefix("--config=")) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["010", "0300", "1:04", "12:30:00", "٣", "1_0", "0x9", "0o7", " 9", "+9", "9.0", "9e0", "1e30", "9" * 5000]
)
@pytest.mark.parametrize("name", ["batch_size", "rate", "name"])
def test_a_config_means_what_the_flag_means(config, text, name):
    def outcome(*argv: str) -> tuple[object, str]:
        try:
            return given(*argv), ""
        except UserError as error:
            return None, str(error)

    value, message = outcome(f"--{name}", text)
    assert outcome(config(f"{name}: '{text}'")) == (value, message) and len(message) < 200
    assert text[0] == " " or outcome(config(f"{name}: {text}")) == (value, message)
    number = text.strip("+ ")
    assert name == "name" or (value is not None) == (number in ("010", "9", "9.0", "9e0") and name == "batch_size")


def test_a_billion_laughs_are_refused_in_a_line(config):
    lines = ["a0: &a0 [" + "laugh, " * 9 + "laugh]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    flag = config("\n".join([*lines, "batch_size: *a9"]))
    with pytest.raises(UserError, match="line 1: anchors and aliases") as caught:
        given(flag)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "argv",
    [
        ["--" + "x" * 10**5],
        ["x" * 10**5],
        ["--solver", "x" * 10**5],
        ["--batch_size", "9" * 4000],
        ["--batch_size", "9" * 5000],
        ["--rate", "9" * 5000],
        ["--rate", "9" * 10**5 + "x"],  # read in one pass, not in one per digit
        ["--batch_size", "9" * 10**5 + "x"],
        ["--no_bar=" + "x" * 10**5],
        ["--config", "x" * 10**5],
        ["--resume", "x" * 10**5],
    ],
    ids=lambda argv: argv[0][:12],
)
def test_a_message_is_short_whatever_it_repeats(argv, run):
    with pytest.raises(UserError) as caught:
        given(*argv)
    assert len(str(caught.value)) < 400
    with pytest.raises(UserError) as caught:
        given("--resume", run, *argv)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("encode", [lambda t: b"\xef\xbb\xbf" + t.encode(), lambda t: t.encode("utf-16")])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_config_in_the_way_of_another_editor(config, encode, ending):
    options = given(config(encode(ending.join(["batch_size: 20", "name: größe", ""]))))
    assert options == ToolOptions(batch_size=20, name="größe")


@dataclass(frozen=True)
class PathOptions(Component):
    folder: str = option("", "a folder", path=True)
    files: tuple[str, ...] = option((), "files", path=True, positional=True)
    resume: str = option("", "run folder", path=True, free=True)
    name: str = option("", "no path")


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path, monkeypatch, config):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "settings.yaml"
    config("folder: ~/a\nfiles: [~/b, c/~]\nname: ~/d\n")
    wanted = PathOptions(f"{tmp_path}/a", (f"{tmp_path}/b", "c/~"), name="~/d")
    assert parse(PathOptions, ["--config", str(path)], "") == wanted
    assert parse(PathOptions, ["--config=~/settings.yaml"], "") == wanted
    assert parse(PathOptions, ["~/b", "c/~", "--folder=~/a", "--name=~/d"], "") == wanted
    assert chosen(["--config=~/settings.yaml"], "name", ("~/d", "e"), "e", "").value == "~/d"
    (tmp_path / "config.yaml").write_text(to_yaml(wanted))
    assert parse(PathOptions, ["--resume=~/"], "") == replace(wanted, resume=f"{tmp_path}/")
    assert parse(PathOptions, ["--resume=~/", "--folder=~/a"], "") == replace(wanted, resume=f"{tmp_path}/")
    assert chosen(["--resume=~/"], "name", ("~/d", "e"), "e", "").value == "~/d"


def test_every_option_that_is_a_path_is_marked():
    paths = {"run_dir", "resume", "data", "output", "arch", "run", "runs", "images", "folder", "file", "rows"}
    paths |= {"text_file", "weights"}
    found = set()
    for name, path, _ in declared_options():
        if (name, path) == ("weights", False):  # how many, of another tool
            continue
        assert path == (name in paths), name
        found.add(name)
    assert paths <= found


def declared_options() -> Iterator[tuple[str, bool, set[str]]]:
    """Name, whether it is a path and the arguments of every option of an int, float or str that the sources declare."""
    for folder in ("isnas", "tools", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if not (isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call)):
                    continue
                if ast.unparse(node.value.func) == "option":
                    keywords = {str(each.arg) for each in node.value.keywords}
                    numeric = any(word in ast.unparse(node.annotation) for word in ("int", "float"))
                    yield ast.unparse(node.target), "path" in keywords, keywords if numeric else {"above", "below"}


def test_every_number_has_bounds():
    for name, _, keywords in declared_options():
        assert keywords & {"above", "minimum"} and keywords & {"below", "maximum"}, name


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 20, "٣", "1e3", "1_0", "0", ""])
@pytest.mark.parametrize("method, name", [("two_stage", "recover_every"), ("one_stage", "termination_interval")])
def test_intervals_are_few_digits(method, name, text):
    with pytest.raises(UserError, match="steps from 1 to 1000000000, not '") as caught:
        make_options(method, **{name: text})
    assert len(str(caught.value)) < 200


def test_a_config_must_be_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # of two readings the second would find nothing
    for read in (given, lambda *argv: chosen(list(argv), "solver", ("fast", "exact"), "fast", "")):
        with pytest.raises(UserError, match="it is a pipe or a device"):
            read(f"--config={tmp_path}/pipe")


@pytest.mark.parametrize(
    ("argv", "run", "images"),
    [
        ([], "", ()),
        (["r"], "r", ()),
        (["r", "a", "b"], "r", ("a", "b")),
        (["--rate", "0.5", "r", "a", "--no_bar", "b"], "r", ("a", "b")),
        (["r", "--rate", "0.5", "a-b", "c_d"], "r", ("a-b", "c_d")),
        (["r", "--rate", "0.5", "--", "-a"], "r", ("-a",)),
        (["r", "a", "--seeds", "0", "1", "--words", "b", "c"], "r", ("a",)),
        (["a", "b", "--run", "r"], "r", ("a", "b")),
        (["--images", "a", "b", "--run=r"], "r", ("a", "b")),
        (["--images=a", "r"], "r", ("a",)),
    ],
)
def test_positional_options_may_stand_between_the_flags(argv, run, images):
    options = placed(*argv)
    assert (options.run, options.images) == (run, images)
    assert options.rate == (0.5 if "--rate" in argv else 0.1) and options.bar == ("--no_bar" not in argv)
    assert (options.seeds, options.words) == (((0, 1), ("b", "c")) if "--seeds" in argv else ((), ()))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["r", "a", "--raet", "0.5"], "unknown flag --raet; did you mean --rate?"),
        (["r", "a", "-x"], "unknown flag -x; --help lists the flags"),
        (["--images", "a", "--run", "r", "b"], "unexpected argument 'b'"),
        (["r", "a", "--rate"], "argument --rate: expected one argument"),
        (["r", "--rates", "1", "x"], "rates must be numbers, not ['1', 'x']"),
        (["r", "--rates", "1", "0"], "rates must be greater than 0.0, not 0.0"),
        (["r", "--rates", "1", "nan"], "rates must be a finite number, not nan"),
    ],
)
def test_refused_flags_beside_positional_options(argv, words):
    with pytest.raises(UserError) as caught:
        placed(*argv)
    assert words in str(caught.value)


def test_positional_options_in_yaml_and_in_the_help(config, capsys):
    flag = config("run: r\nimages: [a, b]\nwords: [1, c]\n")
    assert placed(flag, "s").run == "s" and placed(flag).images == ("a", "b") and placed(flag).words == ("1", "c")
    with pytest.raises(UserError, match="images must be texts, not 'a'"):
        placed(config("images: a"))
    with pytest.raises(SystemExit):
        placed("--help")
    assert "[RUN] [IMAGES ...]" in (out := " ".join(capsys.readouterr().out.split())) and "a run, 100 % of it" in out
    assert "rates (default: 0.5 0.25)" in out and placed("--rates", "1e-3", "2").rates == (1e-3, 2.0)


def test_commands(capsys):
    commands = {"count": "counts 100 % of it", "draw": "draws"}
    assert parse_command(commands, ["draw", "--help", "a"], "A tool.") == ("draw", ["--help", "a"])
    for argv, words in [
        ([], "the command comes first: count, draw"),
        (["--rate", "draw"], "the command comes first"),
        (["drow"], "unknown command 'drow'; did you mean draw?"),
    ]:
        with pytest.raises(UserError) as caught:
            parse_command(commands, argv, "A tool.")
        assert words in str(caught.value)
    with pytest.raises(SystemExit) as ended:
        parse_command(commands, ["--help"], "A tool.")
    assert ended.value.code == 0 and "counts 100 % of it" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        parse(ToolOptions, ["--help"], "A tool.", "draw")
    assert " draw [options]\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "none", "null", "1e-3", "true", "3", "a: b # c", "- x", "two\nlines", "größe"])
def test_written_options_read_back_the_same(tmp_path, name):
    options = ToolOptions(batch_size=9, image_size=5, rate=1e-5 / 3, name=name, bar=False)
    for written in (options, replace(options, image_size=None)):
        path = tmp_path / "config.yaml"
        path.write_text(to_yaml(written), encoding="utf-8")
        assert build(ToolOptions, load_yaml(ToolOptions, path)) == written
        assert list(yaml.safe_load(path.read_text(encoding="utf-8")))[:3] == ["batch_size", "image_size", "rate"]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(ToolOptions(batch_size=20, rate=0.2, name="first")))
    return str(folder)


def test_a_resumed_run_keeps_its_settings(run):
    stored = ToolOptions(batch_size=20, rate=0.2, name="first", resume=run)
    assert given("--resume", run) == stored
    assert given("--resume", run, "--rate", "0.20", "--batch-size", "20") == stored
    assert given("--resume", run, "--name", "second", "--no_bar") == replace(stored, name="second", bar=False)
    assert fixed_values(stored) == {"batch_size": 20, "image_size": None, "rate": 0.2, "solver": "fast"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--rate", "0.3"], "--rate 0.3 differs from the run's 0.2"),
        (["--batch_size", "8"], "--batch_size 8 differs from the run's 20"),  # 8 is the default, but not the run's
        (["--config", "other.yaml"], "leave --config out"),
    ],
)
def test_a_resumed_run_refuses_other_settings(run, argv, words):
    with pytest.raises(UserError, match=words):
        given("--resume", run, *argv)


def test_only_a_run_folder_is_resumed(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=f"cannot resume {folder}"):
            given("--resume", str(folder))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_is_one_of_its_method(path):
    written = yaml.safe_load(path.read_text())
    data = ["--data", "."] if written.get("dataset") in ("imagenet", "imagefolder", "ptb") else []
    argv = ["--config", str(path), *data]
    if written.get("space") == "recurrent":
        assert is_of_text(argv)
        _, options = parse_language(argv, LANGUAGE, "", "A tool.")
        method = options.method
    else:
        method, options = parse_run(argv, METHODS, "two_stage", "A tool.")
    assert method == options.method == written.get("method", "two_stage")  # the suite's leave it to the flag
    assert (method == "evaluation") == path.stem.endswith("evaluate")
    # whoever resolves scalars as YAML says reads the same
    assert build(type(options), {"method": method} | written | {"data": options.data}) == options
    for key, text in yaml.load(path.read_text(), yaml.BaseLoader).items():  # BaseLoader: as it is written
        value = getattr(options, key)
        assert str(value).lower() == text or (list(value) == text if isinstance(text, list) else float(text) == value)


def test_what_says_that_a_run_is_of_text():
    for words in ("--space recurrent", "--dataset kjv", "--arch Genotype(recurrent=[('tanh',0)],concat=range(1,2))"):
        assert is_of_text(words.split())
    assert not is_of_text(["--arch", "DARTS_V2", "--dataset", "digits"]) and not is_of_text([])
    assert not is_of_text(["--space", "cells", "--dataset", "kjv"]) and is_of_text(["--arch", "ENAS"])


@pytest.mark.parametrize("names", [("train", "valid"), ("ptb.train", "ptb.valid", "ptb.test"), ("train", "ptb.valid")])
def test_a_folder_of_text_says_that_a_run_is_of_text(names, tmp_path):
    for name in names:
        (tmp_path / f"{name}.txt").write_text("a word\n")
    assert is_of_text(["--data", str(tmp_path)]) == (names != ("train", "ptb.valid"))
    assert not is_of_text(["--data", str(tmp_path), "--dataset", "digits"])
    assert not is_of_text(["--data", str(tmp_path), "--space", "cells"])
    assert not is_of_text(["--data", "~nobody-of-this-name/text"]) and not is_of_text(["--data", "a\0b"])


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_the_released_preset_holds_beside_a_config(path):
    """A value in a config wins over the preset, so configs leave out what the preset sets."""
    data = ["--data", "."] if "dataset: imagenet\n" in path.read_text() else []
    words = ["--config", str(path), *data, "--preset", "released"]
    method, options = parse_run(words, METHODS, "two_stage", "A tool.")
    released = next(field for field in fields(options) if field.name == "preset").metadata["presets"]["released"]
    assert released and {name: getattr(options, name) for name in released} == released, method


def test_there_are_configs():
    assert CONFIGS


def test_a_config_is_a_file_or_one_of_the_package_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = ROOT / "configs/smoke/digits_twostage.yaml"
    for name in ("smoke/digits_twostage", "smoke/digits_twostage.yaml", "configs/smoke/digits_twostage.yaml"):
        assert config_file(name) == own
    _, by_name = parse_run(["--config", "cifar10_darts"], METHODS, "two_stage", "A tool.")
    _, by_path = parse_run(["--config", str(ROOT / "configs/cifar10_darts.yaml")], METHODS, "two_stage", "A tool.")
    assert by_name == by_path and by_name.method == "darts"
    (tmp_path / "smoke/digits_twostage").mkdir(parents=True)  # a run folder, for one
    assert config_file("smoke/digits_twostage") == own
    Path("cifar10_darts").write_text("epochs: 3\n")
    assert parse_run(["--config=cifar10_darts"], METHODS, "two_stage", "A tool.")[1].epochs == 3
    for name, meant in [
        ("cifar10_dart", "; did you mean cifar10_darts?"),
        ("configs/cifr10_twostage.yaml", "; did you mean cifar10_twostage?"),
        ("digits_twostage", "; did you mean smoke/digits_twostage?"),
        ("cifar10", ""),  # there are many that begin so
        ("mine.yaml", ""),
    ]:
        with pytest.raises(UserError) as caught:
            parse_run(["--config", name], METHODS, "two_stage", "A tool.")
        assert str(caught.value) == f"cannot read the config {name}: No such file or directory{meant}"

"""Options whose class follows from a choice, on a command line, in a file or in a run; and options by old names."""

import copy
import multiprocessing
import pickle
from dataclasses import dataclass, fields, replace

import pytest

from isnas.base.errors import UserError
from isnas.base.options import (
    Chosen,
    Component,
    build,
    chosen,
    compose,
    fixed_values,
    load_yaml,
    option,
    parse,
    to_dict,
    to_yaml,
)


@dataclass(frozen=True)
class CommonOptions(Component):
    seed: int = option(0, "seed", minimum=0)
    resume: str = option("", "run folder", free=True)


@dataclass(frozen=True)
class SlowOptions(CommonOptions):
    patience: int = option(3, "patience", minimum=1, formerly="wait")

    def validate(self) -> None:
        if self.patience > 10 + self.seed:
            raise UserError("too patient")


@dataclass(frozen=True)
class FastOptions(CommonOptions):
    rate: float = option(0.5, "rate", above=0.0)


@dataclass(frozen=True)
class SizeOptions(Component):
    num_nodes: int = option(4, "nodes", minimum=1, formerly="steps")


METHODS = {"slow": SlowOptions, "fast": FastOptions}


def choose(*argv: str) -> Chosen:
    return chosen(list(argv), "method", METHODS, "slow", "how")


def options_class(method: Chosen) -> type:
    return compose("Options", METHODS[method.value], SizeOptions, method=method)


def given(*argv: str):
    return parse(options_class(choose(*argv)), list(argv), "A tool.")


def make_run(folder, text: str) -> str:
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return str(folder)


def test_a_composed_class_has_what_its_components_have_and_the_choice():
    options = given("--method", "fast", "--rate", "0.25", "--num_nodes", "2")
    assert isinstance(options, FastOptions) and isinstance(options, SizeOptions)
    assert to_dict(options) == {"num_nodes": 2, "seed": 0, "resume": "", "rate": 0.25, "method": "fast"}
    (field,) = (field for field in fields(options) if field.name == "method")
    assert field.metadata["choices"] == ("slow", "fast") and field.metadata["help"] == "how"
    with pytest.raises(UserError, match="unknown flag --patience"):
        given("--method", "fast", "--patience", "2")
    with pytest.raises(UserError, match="too patient"):
        given("--patience", "11")
    assert given("--patience", "11", "--seed", "1").patience == 11


def test_the_same_parts_are_the_same_class():
    slow, fast = choose(), choose("--method=fast")
    assert options_class(slow) is options_class(choose("--method", "slow")) is not options_class(fast)
    assert type(replace(given(), seed=3)) is options_class(slow)


def in_another_process(options):
    """What another process makes of the options, and the options themselves."""
    assert multiprocessing.parent_process() is not None
    return to_dict(options), type(options).__name__, isinstance(options, SlowOptions), replace(options, seed=9)


def test_instances_go_to_other_processes_and_back():
    options = build(options_class(choose()), {"seed": 5, "num_nodes": 3, "patience": 2})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        values, name, slow, back = pool.apply(in_another_process, (options,))
    assert values == to_dict(options) and name == "Options" and slow
    assert type(back) is type(options) and back == replace(options, seed=9) != options
    for copied in (pickle.loads(pickle.dumps(options)), copy.deepcopy(options)):
        assert type(copied) is type(options) and copied == options and hash(copied) == hash(options)


def test_where_the_choice_comes_from(tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("method: fast\n")
    other = tmp_path / "other.yaml"
    other.write_text("seed: 1\n")
    run = make_run(tmp_path / "run", to_yaml(given("--method", "fast", "--rate", "0.1")))
    for argv, value in [
        ([], "slow"),
        (["--method", "fast"], "fast"),
        (["--method=fast", "--seed", "2"], "fast"),
        (["--method", "fast", "--method", "slow"], "slow"),  # as of every flag, the last one
        (["--config", str(config)], "fast"),
        ([f"--config={config}", "--method", "slow"], "slow"),
        (["--config", str(other)], "slow"),
        (["--config", str(other), "--method", "fast"], "fast"),
        (["--config", str(tmp_path / "missing.yaml")], "slow"),  # which parse refuses
        (["--resume", run], "fast"),
        (["--resume", run, "--method", "fast"], "fast"),
        (["--resume", run, "--method", "slow"], "fast"),  # which parse refuses
        (["--resume", str(tmp_path / "missing"), "--method", "fast"], "fast"),
        (["--unknown", "--method", "fast", "stray"], "fast"),
        (["--methods", "fast"], "slow"),  # no abbreviations, and nothing like them
    ]:
        assert choose(*argv) == Chosen(value, ("slow", "fast"), "how"), argv
    assert given("--config", str(config), "--rate", "2") == replace(given("--method", "fast"), rate=2.0)
    assert given("--resume", run) == replace(given("--method", "fast", "--rate", "0.1"), resume=run)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--method", "exact"], "unknown method 'exact'; choose from slow, fast"),
        (["--method="], "unknown method ''; choose from slow, fast"),
        (["--method"], "argument --method: expected one argument"),
        (["--config", "exact.yaml"], "unknown method 'exact' in exact.yaml; choose from slow, fast"),
        (["--config", "list.yaml"], "in list.yaml; choose from slow, fast"),
        (["--config", "broken.yaml"], "the config broken.yaml, line 1"),
        (["--config", "missing.yaml"], "cannot read the config missing.yaml"),
        (["--resume", "missing"], "cannot resume missing: there is no such folder"),
        (["--resume", "exact"], "cannot resume exact: it is a run of another tool or version (unknown method 'exact'"),
        (["--resume", "broken"], "cannot resume broken: it is a run of another tool or version (the config broken/con"),
        (["--resume", "fast", "--method", "slow"], "--method slow differs from the run's fast; a resumed run keeps"),
        (["--resume", "fast", "--method", "exact"], "unknown method 'exact'; choose from slow, fast"),
    ],
)
def test_refused_choices(argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {"exact": "method: exact\n", "broken": "method: {\n", "list": "method: [slow]\n", "fast": "method: fast\n"}
    for name, text in texts.items():
        make_run(tmp_path / name, text)
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        given(*argv)
    assert words in str(caught.value)


@pytest.mark.parametrize("flag", ["--steps=3", "--steps 3"])
def test_a_flag_by_its_old_name(flag, capsys):
    options = given(*flag.split())
    assert options.num_nodes == 3 and capsys.readouterr() == ("", "--steps is now called num_nodes\n")
    assert given("--num_nodes", "3") == options and capsys.readouterr() == ("", "")
    assert given("--steps", "2", "--num-nodes", "5", "--wait", "1").num_nodes == 5
    assert capsys.readouterr().err == "--steps is now called num_nodes\n--wait is now called patience\n"
    with pytest.raises(UserError, match="num_nodes must be at least 1, not 0"):
        given("--steps", "0")
    with pytest.raises(UserError, match="unknown flag --step"):
        given("--step", "3")


def test_a_config_by_old_names(tmp_path, capsys):
    path = tmp_path / "settings.yaml"
    path.write_text("steps: 3\nwait: 2\n")
    options = given("--config", str(path))
    assert (options.num_nodes, options.patience) == (3, 2)
    assert set(capsys.readouterr().err.splitlines()) == {
        f"steps in {path} is now called num_nodes",
        f"wait in {path} is now called patience",
    }
    assert given("--config", str(path), "--num_nodes", "6").num_nodes == 6
    assert load_yaml(type(options), path) == {"num_nodes": "3", "patience": "2"}
    assert "steps" not in to_yaml(options) and "num_nodes: 3\n" in to_yaml(options)


def test_a_run_by_old_names_goes_on(tmp_path, capsys):
    run = make_run(tmp_path / "run", "seed: 1\nsteps: 3\nwait: 2\n")  # from before there was a choice
    options = given("--resume", run)
    assert fixed_values(options) == {"num_nodes": 3, "seed": 1, "patience": 2, "method": "slow"}
    assert f"steps in {run}/config.yaml is now called num_nodes" in capsys.readouterr().err
    assert given("--resume", run, "--steps", "3") == given("--resume", run, "--num_nodes", "3") == options
    with pytest.raises(UserError, match="--num_nodes 4 differs from the run's 3"):
        given("--resume", run, "--steps", "4")


def test_both_names_at_once_is_a_contradiction_in_a_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("steps: 3\nnum_nodes: 5\n")
    with pytest.raises(UserError, match="gives num_nodes twice, once by its old name"):
        given("--config", str(path))

"""The analyses of real runs from the command line, and what is refused."""

import dataclasses
import json
import re

import pytest
from killing import log_lines, run_tool

from isnas.analysis.one_stage_runs import FREE
from isnas.apps import analyse, summarize, train_onestage, train_search
from isnas.base.errors import UserError
from isnas.methods.registry import make_options

pytestmark = pytest.mark.slow

SMALL = ["--dataset", "digits", "--max_train_images", 100, "--init_channels", 4, "--layers", 3, "--batch_size", 25]
SMALL += ["--max_search_epochs", 4, "--epochs", 1, "--termination_interval", 2, "--arch_learning_rate", 1e-3]
SMALL += ["--learning_rate", 0.1, "--no_tensorboard"]
EPSILON = 1.5e-3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, epsilon in [("some", EPSILON), ("none", 1e-12)]:
        arguments = [*SMALL, "--epsilon", epsilon, "--run_dir", folder / name]
        train_onestage.main([str(part) for part in arguments])
    return folder


def test_epsilon(runs):
    done = run_tool("analyse.py", "epsilon", "some", "none", "--output", "out", "--epsilons", EPSILON, folder=runs)
    assert done.returncode == 0, done.stderr
    names = {"table.md", "epsilon.json", "epsilon.png", "epsilon.svg"}
    assert {path.name for path in (runs / "out").iterdir()} == names
    assert (runs / "out/table.md").read_text() in done.stdout
    values = json.loads((runs / "out/epsilon.json").read_text())
    some, none = values["runs"]
    told = [line for line in log_lines(runs / "some") if " terminates at step " in line]
    steps = sorted(int(re.search(r"step (\d+)", line).group(1)) for line in told)
    assert len(set(steps)) > 1 and sorted(at["step"] for at in some["terminations"] if at) == steps
    assert none["terminations"] == [None] * 8 and none["hit_bound"]
    for course, name in ((some, "some"), (none, "none")):
        result = json.loads((runs / name / "result.json").read_text())
        assert (course["hash"], course["end_acc"]) == (result["hash"], result["test_acc"])
    # Until a node terminates both runs are one, so the replay of one begins as the other did.
    (replayed,) = values["replays"]
    begins = [
        [node for node, at in enumerate(course["terminations"]) if at and at["step"] <= steps[0]]
        for course in (some, replayed)
    ]
    assert begins[0] == begins[1] != []


def test_runs(runs):
    plain = run_tool("summarize.py", "some", "none", folder=runs)
    done = run_tool("analyse.py", "runs", "some", "none", "--output", "tables", folder=runs)
    assert plain.returncode == done.returncode == 0, plain.stderr + done.stderr
    assert done.stdout == f"{plain.stdout}written to tables: table.md runs.json trainings.csv trainings.tex\n"
    assert {path.name for path in (runs / "tables").iterdir()} == {
        "table.md",
        "runs.json",
        "trainings.csv",
        "trainings.tex",
    }
    assert f"{(runs / 'tables/table.md').read_text()}\n" == plain.stdout
    assert plain.stdout.startswith("Trainings: ") and plain.stdout.count("| one-stage |") == 2
    values = json.loads((runs / "tables/runs.json").read_text())
    results = [json.loads((runs / name / "result.json").read_text()) for name in ("some", "none")]
    assert values["searches"] == {}
    assert [row["test_error"] for row in values["trainings"]] == [result["test_error"] for result in results]


def test_runs_on_a_page_and_over_one_another(runs, capsys):
    page = summarize.main
    page([str(runs / "some"), "--output", str(runs / "one.html")])
    assert (runs / "one.html").read_text() == (runs / "some/report.html").read_text()
    page([str(runs / "some"), str(runs / "none"), "--output", str(runs / "new/both.html")])
    text = (runs / "new/both.html").read_text()
    assert [text.count(word) for word in ("<h2>Trainings</h2>", "<figcaption>test error</figcaption>")] == [1, 1]
    page([str(runs / "some"), str(runs / "none"), "--output", str(runs / "over"), "--curves"])
    names = {"table.md", "runs.json", "trainings.csv", "trainings.tex", "curves.png", "curves.svg"}
    assert {path.name for path in (runs / "over").iterdir()} == names
    assert all(str(runs / name) in (runs / "over/curves.svg").read_text() for name in ("some", "none"))
    for flags, message in [
        (["--curves"], "--curves are drawn into a folder; give --output FOLDER"),
        (["--curves", "--output", "x.html"], "a page has the curves anyway"),
    ]:
        with pytest.raises(UserError, match=message):
            page([str(runs / "some"), *flags])


def test_conas(tmp_path, capsys):
    tiny = ["--method", "conas", "--dataset", "digits", "--image_size", 8, "--init_channels", 2, "--layers", 3]
    tiny += ["--num_nodes", 1, "--epochs", 1, "--measurements", 40, "--stages", 2, "--monomials", 3, "--seeds", 0]
    tiny += ["--measure_batches", 1, "--no_tensorboard", "--run_dir", tmp_path / "run"]
    train_search.main([str(part) for part in tiny])
    for command, *flags in (["conas"], ["conas_table4", "--lambdas", "1"]):
        analyse.main([command, str(tmp_path / "run"), *flags, "--output", str(tmp_path / command)])
    assert "WARNING" not in capsys.readouterr().out  # the stages are recovered as the search did
    last = json.loads((tmp_path / "run/seed-0/metrics.jsonl").read_text().splitlines()[-1])
    (search,) = json.loads((tmp_path / "conas/conas.json").read_text())["searches"]
    for number, stage in enumerate(search["stages"], start=1):
        told = {name: last[f"stage_{number}/{name}"] for name in ("measured", "missing", "loss_mean", "loss_best")}
        assert [stage[name] for name in ("measured", "missing", "mean", "least")] == pytest.approx(list(told.values()))
        assert set(stage["terms"]) == {"shares"}
    fixed = last["stage_1/fixed_on"], last["stage_1/fixed_on"] + last["stage_1/fixed_off"]
    second = search["stages"][1]
    assert (second["fixed_on"], second["fixed"], second["found"]) == (*fixed, last["choice/loss"])
    (stability,) = json.loads((tmp_path / "conas_table4/conas_table4.json").read_text())["searches"]
    (reference,) = stability["outcomes"]
    kept = json.loads((tmp_path / "run/seed-0/stage_1.json").read_text())["genotype"]
    assert (reference["on"], reference["genotype"]) == (fixed[0], kept)


def test_help_of_the_tool_and_of_a_command(capsys):
    for argv, words in [(["--help"], "epsilon "), (["epsilon", "--help"], "--epsilons NUMBER [NUMBER ...]")]:
        with pytest.raises(SystemExit):
            analyse.main(argv)
        assert words in capsys.readouterr().out


def test_mistakes(tmp_path):
    commands = "runs, solvers, measurement, parity_matrix, planted, epsilon, kendall, coverage, agreement, table1, "
    commands += (
        "figure2, table3, table4, conas, conas_table1, conas_table2, conas_table4, conas_table5, mini, searches, "
    )
    commands += "knowledge"
    with pytest.raises(UserError, match=f"the command comes first: {commands};"):
        analyse.main([])
    for command in ("epsilon", "runs"):
        with pytest.raises(UserError, match="give one run folder or more"):
            analyse.main([command])
    for command in ("epsilon", "runs"):
        done = run_tool("analyse.py", command, "nothing", "--output", "out", folder=tmp_path)
        assert done.returncode == 2 and "nothing is not a run folder" in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_free_options_alone_have_no_column():
    fields = dataclasses.fields(make_options("one_stage"))
    assert {field.name for field in fields if field.metadata["free"]} == FREE

"""Run folders with files that are damaged, edited or strange: named in one line, and the others are in the table."""

import json
import math

import pytest
import yaml
from run_folders import genotype, write_rows, write_run

from isnas.analysis.commands import answer
from isnas.analysis.one_stage_runs import read_runs
from isnas.base.errors import UserError

SETTINGS = {"dataset": "digits", "epochs": 3, "operations": ["skip_connect"]}
RESULT = {"arch": "mine", "hash": "0123456789ab", "seed": 0, "epochs": 3, "test_acc": 90.0, "test_error": 10.0}
RESULT |= {"valid_acc": None, "params_millions": 1.0, "multiply_adds_millions": 2.0, "seconds": 3.0}
RESULT |= {"settings": SETTINGS}


def write_training(folder, **changes):
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "result.json").write_text(json.dumps(RESULT | changes))
    return folder


def write_search(folder, config="seed: 0\n", **changes):
    folder.mkdir()
    (folder / "config.yaml").write_text(config)
    final = {"derived/params_millions": 1.0, "derived/multiply_adds_millions": 2.0, "time/seconds": 3.0}
    rows = [{"epoch": epoch, "hash": "0123456789ab", "valid_acc": 50.0} for epoch in range(3)]
    files = {"metrics": [final | changes.get("metrics", {})], "genotypes": rows[: changes.get("rows", 3)]}
    for name, lines in files.items():
        write_rows(folder / f"{name}.jsonl", lines)
    result = {"valid_acc": 60.0, "text": "Genotype()"} | changes.get("result", {})
    (folder / "genotype.json").write_text(json.dumps(result))
    return folder


def bomb(lines=30):
    """YAML of a few hundred bytes that stands for 2 ** lines numbers."""
    text = "a0: &a0 [1, 2]\n"
    return text + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(lines))


def replaced(name, content):
    def change(folder):
        data = content if isinstance(content, bytes) else content.encode()
        write_training(folder)
        (folder / name).write_bytes(data)

    return change


DAMAGED = {
    "text for a number": (
        lambda f: write_training(f, test_error="ten"),
        "test_error is 'ten', not a number of 0 to 100",
    ),
    "nan": (lambda f: write_training(f, test_acc=math.nan), "test_acc is nan, not a number"),
    "infinite": (lambda f: write_training(f, seconds=math.inf), "seconds is inf, not a number"),
    "bool": (lambda f: write_training(f, epochs=True), "epochs is True, not a number"),
    "fraction": (lambda f: write_training(f, seed=0.5), "seed is 0.5, not a whole number"),
    "huge": (lambda f: write_training(f, params_millions=10**400), "params_millions is 1000.*, not a number"),
    "number for text": (lambda f: write_training(f, arch=7), "arch is 7, not text"),
    "settings": (lambda f: write_training(f, settings=[1]), r"settings: it is \[1\], not an object"),
    "deep settings": (lambda f: write_training(f, settings={"a": [[[]]]}), "settings: 'a' is .*, not a setting"),
    "no dataset": (lambda f: write_training(f, settings={}), "dataset is missing"),
    "missing": (replaced("result.json", "{}"), "settings is missing"),
    "deep": (replaced("result.json", "[" * 100_000), "result.json: it is nested too deeply"),
    "list": (replaced("result.json", "[1]"), r"result.json: it is \[1\], not an object"),
    "cut": (replaced("result.json", json.dumps(RESULT)[:40]), "result.json: .*line 1"),
    "empty": (replaced("result.json", ""), "result.json: "),
    "binary": (replaced("result.json", b"\xff\x00\x81"), "result.json: it is not UTF-8 text"),
    "digits": (replaced("result.json", "9" * 5000), "result.json: Exceeds the limit"),
    "no seed": (lambda f: write_search(f, "method: two_stage\n"), "seed is missing"),
    "seed of text": (lambda f: write_search(f, "seed: none\n"), "seed is 'none', not a number"),
    "seed of a day": (
        lambda f: write_search(f, "seed: 2020-01-01\n"),
        "seed is '2020-01-01', not a number",
    ),
    "config of a list": (lambda f: write_search(f, "- 1\n"), "the config .*config.yaml must hold lines"),
    "config that is none": (lambda f: write_search(f, "seed: [\n"), "the config .*config.yaml is not YAML"),
    "deep config": (lambda f: write_search(f, "[" * 700), "the config .*config.yaml must hold lines"),
    "config of anchors": (lambda f: write_search(f, bomb()), "the config .*config.yaml, line 1: anchors and aliases"),
    "large config": (
        lambda f: write_search(f, "#" * 1_000_001),
        "the config .*config.yaml is not YAML: it has more than",
    ),
    "no metrics": (lambda f: write_rows(write_search(f) / "metrics.jsonl", []), "metrics.jsonl or .* misses rows"),
    "one genotype": (lambda f: write_search(f, rows=1), "metrics.jsonl or genotypes.jsonl misses rows"),
    "other metrics": (lambda f: write_search(f, metrics={"time/seconds": None}), "time/seconds is None, not a number"),
    "rows of numbers": (
        lambda f: write_rows(write_search(f) / "genotypes.jsonl", [1, 2]),
        "genotypes.jsonl, line 1: it is 1, not an object",
    ),
    "no json": (
        lambda f: (write_search(f) / "genotypes.jsonl").write_text("{}\n{\n"),
        "genotypes.jsonl, line 2: Expecting",
    ),
    "held out": (lambda f: write_search(f, result={"held_out_acc": "x"}), "held_out_acc is 'x', not a number"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_run_is_left_out_and_named(tmp_path, capsys, name):
    change, words = DAMAGED[name]
    change(tmp_path / "damaged")
    write_training(tmp_path / "whole", test_error=12.5)
    folders = [str(tmp_path / "damaged"), str(tmp_path / "whole")]
    with pytest.raises(UserError, match=rf"^left out: .*damaged cannot be read \({words}.*leave them out$") as error:
        answer("runs", [*folders, "--output", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    table = capsys.readouterr().out
    assert "| 12.50 |" in table and "Left out of the tables:\n\n- " in table
    assert (tmp_path / "out/table.md").read_text() in table
    values = json.loads((tmp_path / "out/runs.json").read_text())
    assert len(values["trainings"]) == len(values["left_out"]) == 1 and values["searches"] == {}
    with pytest.raises(UserError, match=r"^left out: .*damaged cannot be read"):
        answer("runs", folders[:1])
    assert capsys.readouterr().out == ""


def test_one_damaged_seed_leaves_the_others(tmp_path, capsys):
    group = tmp_path / "group"
    group.mkdir()
    (group / "config.yaml").write_text("seeds: [0, 1, 2]\n")
    for seed in (0, 1):
        write_search(group / f"seed-{seed}", f"seed: {seed}\n", result={"valid_acc": 60.0 + seed})
    write_search(group / "seed-2", "seed: 2\n", result={"valid_acc": "?"})
    with pytest.raises(UserError, match=r"seed-2 cannot be read \(valid_acc is '\?'"):
        answer("runs", [str(group)])
    assert "| 2 |" in (out := capsys.readouterr().out) and "60.50 ± 0.71" in out


def test_a_cell_of_a_table_stays_one(tmp_path, capsys):
    answer("runs", [str(write_training(tmp_path / "run", arch="a|b\nc\x1b[2J"))])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| a")]
    assert rows[-1].startswith(r"| a\|b\nc\x1b[2J | 0123456789ab |")


def changed(name, change):
    """A change of every row of a file of a one-stage run."""

    def apply(folder):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for row in rows:
            change(row)
        write_rows(folder / name, rows)

    return apply


def with_setting(**changes):
    def apply(folder):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump(config | changes))

    return apply


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (with_setting(epsilon="small"), "epsilon is 'small', not a number"),
        (with_setting(epsilon=[1e-3]), "epsilon is .*, not a number"),
        (with_setting(patience=None), "patience is None, not a number"),
        (with_setting(num_nodes=3), "distances is .*, not 6 numbers"),
        (with_setting(dataset=3), "dataset is 3, not text"),
        (lambda f: (f / "config.yaml").write_text("1"), "config.yaml must hold lines"),
        (lambda f: (f / "config.yaml").write_text(bomb()), "config.yaml, line 1: anchors and aliases"),
        (changed("metrics.jsonl", lambda row: row.update({"test/acc": "high"})), "test/acc is 'high', not a number"),
        (changed("metrics.jsonl", lambda row: row.update(step=-1)), "step is -1, not a number"),
        (changed("distances.jsonl", lambda row: row.update(terminated="all")), "terminated is 'all', not a list of"),
        (changed("distances.jsonl", lambda row: row.update(distances=["far"] * 4)), "distances is 'far', not a number"),
        (changed("distances.jsonl", lambda row: row.update(distances=7)), "distances is 7, not 4 numbers"),
        (changed("distances.jsonl", lambda row: row.pop("hash")), "hash is missing"),
        (
            changed("genotypes.jsonl", lambda row: row.update(genotype=genotype("conv_9x9"))),
            "unknown operation 'conv_9x9'",
        ),
        (changed("genotypes.jsonl", lambda row: row.pop("genotype")), "genotypes.jsonl: genotype: expected"),
        (lambda f: (f / "genotype.json").write_text("[" * 10_000), "genotype.json: it is nested too deeply"),
    ],
)
def test_a_damaged_one_stage_run_is_one_line(tmp_path, damage, words):
    write_run(tmp_path / "run", [None, [0.1] * 4, [0.2] * 4, [0.3] * 4])
    read_runs((str(tmp_path / "run"),))
    damage(tmp_path / "run")
    with pytest.raises(UserError, match=rf"run cannot be read \(.*{words}") as error:
        read_runs((str(tmp_path / "run"),))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500

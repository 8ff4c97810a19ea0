"""Damaged run folders end every analysis of searches in one line that names the folder, before anything is written."""

import json

import pytest
from run_folders import cells, write_rows, write_search, write_training

from isnas.analysis.commands import answer, main
from isnas.base.errors import UserError

CELL = cells(["skip_connect:0", "max_pool_3x3:1"])
COMMANDS = ["kendall", "coverage", "agreement", "figure2", "table3", "table4"]
COMMANDS += ["conas_table1", "conas_table2", "conas_table5"]


def rows_of(path, change):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change(row)
    write_rows(path, rows)


def genotypes(change):
    return lambda folder: rows_of(folder / "genotypes.jsonl", change)


def config_of(**values):
    lines = [f"{name}: {value}\n" for name, value in ({"method": "darts", "dataset": "digits"} | values).items()]
    return lambda folder: (folder / "config.yaml").write_text("".join(lines))


DAMAGES = {
    "no method": (lambda f: (f / "config.yaml").write_text("seed: 0\n"), "method is missing"),
    "method of a number": (lambda f: (f / "config.yaml").write_text("method: 3\n"), "method is 3, not text"),
    "config that is none": (lambda f: (f / "config.yaml").write_text("[["), "the config .*config.yaml must hold lines"),
    "no seed": (lambda f: (f / "config.yaml").write_text("method: darts\n"), "seed is missing"),
    "huge seed": (config_of(seed="9" * 400), "seed is 9999.*, not a number"),
    "no metrics": (lambda f: (f / "metrics.jsonl").unlink(), "metrics.jsonl or genotypes.jsonl has no rows"),
    "cut metrics": (lambda f: (f / "metrics.jsonl").write_text("{\n"), "metrics.jsonl, line 1: Expecting"),
    "no time": (lambda f: rows_of(f / "metrics.jsonl", lambda row: row.pop("time/seconds")), "time/seconds is missing"),
    "binary": (lambda f: (f / "genotypes.jsonl").write_bytes(b"\xff\n"), "it is not UTF-8 text"),
    "no cells": (genotypes(lambda row: row.pop("genotype")), "genotype: expected a JSON object"),
    "strange": (genotypes(lambda row: row["genotype"].update(normal=[[["a\nb", 0]]])), r"unknown operation 'a\\nb'"),
    "accuracy": (genotypes(lambda row: row.update(valid_acc=101)), "valid_acc is 101, not a number of 0 to 100"),
    "final alone": (genotypes(lambda row: row.update(final=True)), "genotypes.jsonl has no epochs"),
    "final metrics": (lambda f: rows_of(f / "metrics.jsonl", lambda row: row.update(final=True)), "has no epochs"),
    "processes": (lambda f: (f / "env.json").write_text('{"processes": "all"}'), "processes is 'all', not a number"),
    "result": (lambda f: (f / "result.json").write_text("{}"), "settings is missing"),
    "deep": (lambda f: (f / "env.json").write_text("[" * 100_000), "env.json: it is nested too deeply"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_search(tmp_path, command, name):
    damage, words = DAMAGES[name]
    damage(write_search(tmp_path / "damaged", [CELL], CELL))
    whole = [write_search(tmp_path / "whole", [CELL], CELL, seed=1), write_training(tmp_path / "t", CELL, 90.0)]
    folders = [str(tmp_path / "damaged"), *map(str, whole)]
    with pytest.raises(UserError, match=rf"damaged cannot be read \(.*{words}") as error:
        answer(command, [*folders, "--output", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and len(str(error.value)) < 600 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_run_folder(tmp_path, command):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is not a run folder of a search or an evaluation"):
        main([command, str(tmp_path / "empty")])
    open_training = write_training(tmp_path / "open", CELL, 90.0)
    (open_training / "result.json").unlink()
    with pytest.raises(UserError, match=r"open is not finished; go on with --resume .*open$"):
        main([command, str(open_training)])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_keeps_its_tables_in_three_forms(tmp_path, command, capsys):
    folders = [write_search(tmp_path / f"{seed}", [CELL] * 3, CELL, seed=seed) for seed in range(3)]
    folders.append(write_training(tmp_path / "t", CELL, 90.0))
    main([command, *map(str, folders), "--output", str(tmp_path / "out")])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    kept = {name[:-4] for name in names if name.endswith(".csv")}
    assert kept and {f"{name}.tex" for name in kept} | {"table.md", f"{command}.json"} < names
    assert json.loads((tmp_path / "out" / f"{command}.json").read_text())
    assert (tmp_path / "out/table.md").read_text() in capsys.readouterr().out

"""Runs on text with several seeds: the best search, the trainings of its cell, and their table."""

import json
import statistics

import pytest
from killing import next_commands, run_tool
from small_texts import write_text
from starting import ROOT

SIZES = ["--data", "text", "--nhid", 8, "--batch_size", 8, "--bptt", 10, "--epochs", 1, "--no_tensorboard"]
SIZES += ["--dropout", 0.2, "--dropoutx", 0.2, "--learning_rate", 10]


@pytest.mark.slow
def test_several_searches_and_trainings_of_the_best_ones_cell(tmp_path):
    """The search whose cell has the least perplexity is the best one; a run folder names its cell, and the space."""
    write_text(tmp_path / "text")
    search = ["--space", "recurrent", "--method", "random_ws", "--samples", 3, "--valid_batch_size", 7, *SIZES]
    done = run_tool("train_search.py", *search, "--seeds", 0, 1, "--run_dir", "found", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = {k: json.loads((tmp_path / f"found/seed-{k}/genotype.json").read_text()) for k in range(2)}
    best = min(cells, key=lambda k: cells[k]["valid_ppl"])
    assert json.loads((tmp_path / "found/best/genotype.json").read_text()) == cells[best]
    assert len({cell["text"] for cell in cells.values()}) > 1
    (train,) = next_commands(tmp_path / "found")
    assert train == ["python", f"{ROOT}/tools/evaluate.py", "--arch", "found", "--data", "text"]
    assert next_commands(tmp_path / "found/seed-0") == []

    done = run_tool("evaluate.py", *train[2:], *SIZES[2:], "--seeds", 5, 6, "--run_dir", "trained", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    test, ask = next_commands(tmp_path / "trained")
    assert test[2:] == ["trained/seed-5"] and ask[1:3] == [f"{ROOT}/tools/predict.py", "trained/seed-5"]
    for name, words in (("test.py", test), ("predict.py", ask)):
        done = run_tool(name, *words[2:], folder=tmp_path)
        assert done.returncode == 0 and "unknown" not in done.stdout, done.stderr
    results = [json.loads((tmp_path / f"trained/seed-{seed}/result.json").read_text()) for seed in (5, 6)]
    assert {result["arch"] for result in results} == {cells[best]["text"]} and results[0]["hash"] == results[1]["hash"]
    last = (tmp_path / "trained/table.md").read_text().splitlines()[-1]
    for name in ("valid_ppl", "test_ppl"):
        values = [result[name] for result in results]
        assert f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" in last

    path = tmp_path / "trained/seed-6/result.json"  # as of a loss of more than 709
    path.write_text(json.dumps(results[1] | {"test_ppl": None}))
    again = run_tool("evaluate.py", "--resume", "trained", folder=tmp_path)
    assert again.returncode == 2 and "result.json has figures that are not finite" in again.stderr

"""How many architectures a search has seen, counted as the rebuttal counts them."""

import pytest
import yaml
from run_folders import cells, write_rows, write_training

from isnas.analysis.summary import settings_table, summarize_evaluation, summarize_search

FIGURES = {"derived/params_millions": 1.0, "derived/multiply_adds_millions": 2.0, "time/seconds": 3.0}


@pytest.mark.parametrize(
    ("recover_every", "architectures", "seen"),
    [
        ("epoch", range(51), 50),  # the final recovery is what the last epoch led to, and the first what b started from
        ("epoch", [0, *[1] * 50], 1),
        ("epoch", [1] * 51, 1),
        ("step", range(51), 50),
        ("step", [*range(50), 49], 50),
        (None, [*range(50), 49], 50),  # methods that derive it at the end of each epoch
        (None, [0, 1, 0, 1, 1], 2),
    ],
)
def test_seen_are_the_architectures_of_the_epochs(tmp_path, recover_every, architectures, seen):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"seed": 0, "recover_every": recover_every}))
    rows = [{"epoch": e, "hash": f"{number:012x}", "valid_acc": 50.0} for e, number in enumerate(architectures)]
    write_rows(tmp_path / "genotypes.jsonl", rows)
    write_rows(tmp_path / "metrics.jsonl", [FIGURES])
    write_rows(tmp_path / "genotype.json", [{"valid_acc": 60.0, "text": "Genotype()"}])
    assert summarize_search(0, tmp_path).num_architectures == seen


def test_settings_keep_their_numbers_where_one_is_missing(tmp_path):
    rates = {"setting-1": 0.025, "setting-5": 0.1}
    for name, rate in rates.items():
        write_training(tmp_path / name, cells(["skip_connect:0"]), 90.0, learning_rate=rate, weight_decay=3e-4)
    table = settings_table({name: summarize_evaluation(tmp_path / name) for name in rates})
    assert "| 1 | 0.025 | 0.0003 | 10.00 |" in table and "| 5 | 0.1 | 0.0003 | 10.00 |" in table
    assert "over 2 settings: 10.00 ± 0.00 %, best 10.00 %" in table

"""Architectures of a search counted by hand, and what does not count."""

import pytest
from run_folders import cells, write_rows, write_search

from isnas.analysis.coverage import CoverageOptions, analyse
from isnas.base.errors import UserError

A, B, C = (cells(["skip_connect:0", f"{name}:1"]) for name in ("skip_connect", "max_pool_3x3", "sep_conv_3x3"))
D = cells(["max_pool_3x3:0", "max_pool_3x3:1"])


def counted(*folders, **options):
    return analyse(CoverageOptions(runs=tuple(map(str, folders)), **options))


def test_the_order_of_a_nodes_connections_means_nothing(tmp_path):
    turned = cells(["skip_connect:1", "skip_connect:0"])
    assert turned != A
    search = write_search(tmp_path / "s", [A, turned, B, A], A)
    assert counted(search).values["searches"][0]["distinct"] == ((1, 1, 2, 2),)


def test_fifty_epochs_of_one_architecture_are_one(tmp_path):
    report = counted(write_search(tmp_path / "s", [A] * 50, A))
    assert report.values["searches"][0]["distinct"][0][-1] == 1
    assert "| Two-stage ISTA-NAS | digits | 1 | 1.0 | 1 | 34.3 |" in report.text


def test_the_architecture_before_any_update_does_not_count(tmp_path):
    rows = [A, B, C, B]  # D is what the last epoch's updates led to
    each_epoch = write_search(tmp_path / "epoch", rows, D, recover_every="epoch")
    each_step = write_search(tmp_path / "step", rows, D, recover_every="step")
    darts = write_search(tmp_path / "darts", rows, B, method="darts", unrolled=False)
    found = {each["search"]: each["distinct"][0] for each in counted(each_epoch, each_step, darts).values["searches"]}
    assert found == {
        "Two-stage ISTA-NAS, recover_every epoch": (1, 2, 2, 3),  # B C B D
        "Two-stage ISTA-NAS, recover_every step": (1, 2, 3, 3),  # A B C B
        "DARTS (1st order)": (1, 2, 3, 3),
    }


def test_mean_and_deviation_over_seeds(tmp_path):
    searches = [
        write_search(tmp_path / f"{seed}", rows, A, seed=seed) for seed, rows in enumerate([[A, B, C], [A, A, B]])
    ]
    report = counted(*searches)
    assert "| Two-stage ISTA-NAS | digits | 2 | 2.5 ± 0.7 | 3 2 | 34.3 |" in report.text
    assert "| 1.5 ± 0.7 | 2 1 |" in counted(*searches, epochs=2).text
    assert {path.name for path in report.draw(tmp_path)} == {"coverage.png", "coverage.svg"}


def test_a_folder_of_seeds_and_a_search_that_is_not_finished(tmp_path):
    group = write_search(tmp_path / "group", [A], A)
    for seed in (0, 1, 10):
        write_search(group / f"seed-{seed}", [A, B], seed=seed)
    found = counted(group, group / "seed-1").values["searches"][0]
    assert found["seeds"] == (0, 1, 10) and found["distinct"] == ((1, 2),) * 3


def test_mistakes(tmp_path):
    search, other = write_search(tmp_path / "s", [A, B], A), write_search(tmp_path / "o", [A, B, C], A)
    with pytest.raises(UserError, match="s has 2 epochs to count; give --epochs 2 or fewer, or leave it out"):
        counted(search, other, epochs=3)
    with pytest.raises(UserError, match="are the same search, seed 0; leave one out"):
        counted(search, other)
    write_rows(search / "genotypes.jsonl", [])
    with pytest.raises(UserError, match=r"s cannot be read \(metrics.jsonl or genotypes.jsonl has no rows"):
        counted(search)

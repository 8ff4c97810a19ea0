"""What cells have in common, counted by hand, and by chance, against all pairs of cells there are."""

from itertools import combinations, product

import pytest
from run_folders import cells, write_search

from isnas.analysis.agreement import AgreementOptions, analyse, chance_deviation
from isnas.base.errors import UserError
from isnas.space.cells.space import CellSpace

FOUND = [
    cells(["skip_connect:0", "max_pool_3x3:1"], ["skip_connect:0", "skip_connect:1"]),
    cells(["max_pool_3x3:1", "skip_connect:0"], ["skip_connect:1", "sep_conv_3x3:1"]),
    cells(["skip_connect:1", "max_pool_3x3:1"], ["sep_conv_3x3:0", "max_pool_3x3:0"]),
]


def compared(*folders, **options):
    return analyse(AgreementOptions(runs=tuple(map(str, folders)), draws=200, **options))


def test_shares_by_hand(tmp_path):
    searches = [write_search(tmp_path / f"{seed}", [cell], cell, seed=seed) for seed, cell in enumerate(FOUND)]
    report = compared(*searches)
    (found,) = report.values["searches"]
    # normal: 2 of 2, 1 of 2, 1 of 2; reduction: 1, 0, 0 of 2
    assert found["nodes"] == {"normal node 2": pytest.approx(4 / 6), "reduction node 2": pytest.approx(1 / 6)}
    assert found["share"] == pytest.approx(5 / 12) and found["seeds"] == (0, 1, 2)
    assert found["operations"] == {"max_pool_3x3": 4 / 3, "skip_connect": 2.0, "sep_conv_3x3": 2 / 3}
    assert "| Two-stage ISTA-NAS | digits | 3 | 3 | 66.7 % | 16.7 % | 41.7 % | 33.3 % ± " in report.text
    assert {path.name for path in report.draw(tmp_path)} == {"agreement.png", "agreement.svg"}


def test_chance_is_the_mean_over_all_pairs_of_cells():
    supports = list(combinations(range(6), 2))  # one node with two predecessors and three operations
    shares = [len(set(a) & set(b)) / 2 for a, b in product(supports, supports)]
    distinct = [(i, 3 + j) for i in range(3) for j in range(3)]  # connections from distinct predecessors
    others = [len(set(a) & set(b)) / 2 for a, b in product(distinct, distinct)]
    assert sum(shares) / len(shares) == pytest.approx(1 / 3) and sum(others) / len(others) == pytest.approx(1 / 3)
    # of a pair of cells the share of all is the mean of two such nodes
    exact = (sum((share - 1 / 3) ** 2 for share in shares) / len(shares) / 2) ** 0.5
    space = CellSpace(("max_pool_3x3", "skip_connect", "sep_conv_3x3"), 1)
    two = [((("skip_connect", 0), ("skip_connect", 1)),) * 2] * 2
    assert chance_deviation(space, two, AgreementOptions(runs=("x",), draws=3000)) == pytest.approx(exact, rel=0.05)


def test_nodes_with_fewer_connections(tmp_path):
    left = [cells(["skip_connect:0"]), cells(["skip_connect:0", "max_pool_3x3:1"])]
    searches = [write_search(tmp_path / f"{i}", [c], c, seed=i, method="random_ws") for i, c in enumerate(left)]
    (found,) = compared(*searches).values["searches"]
    assert found["share"] == pytest.approx(3 / 3.5) and found["chance"] == pytest.approx((1 * 2 / 6 + 4 / 6) / 3.5)
    assert found["operations"]["none"] == 0.5


def test_a_network_of_one_cell_has_the_normal_one_alone(tmp_path):
    found = [cells(words, words) for words in (["skip_connect:0", "max_pool_3x3:1"], ["skip_connect:0"])]
    searches = [write_search(tmp_path / f"{i}", [c], c, seed=i, layers=1) for i, c in enumerate(found)]
    both = [write_search(tmp_path / f"both-{i}", [c], c, seed=i) for i, c in enumerate(found)]
    report = compared(*searches, *both)
    one, two = report.values["searches"]
    assert one["nodes"] == one["chance_nodes"] | {"normal node 2": pytest.approx(2 / 3)} and len(two["nodes"]) == 2
    assert one["share"] == two["share"] == pytest.approx(2 / 3) and one["deviation"] > 1.2 * two["deviation"]
    assert two["operations"] == {name: 2 * number for name, number in one["operations"].items()}
    assert len(report.draw(tmp_path)) == 2


def test_mistakes(tmp_path):
    one = write_search(tmp_path / "one", [FOUND[0]], FOUND[0])
    with pytest.raises(UserError, match="no two of these runs are seeds of one search"):
        compared(one, write_search(tmp_path / "other", [FOUND[0]], FOUND[0], seed=1, batch_size=32))
    strange = write_search(tmp_path / "strange", [FOUND[0]], cells(["dil_conv_3x3:0", "skip_connect:1"]), seed=1)
    with pytest.raises(UserError, match=r"strange cannot be read \(the architecture is not of the space"):
        compared(one, strange)
    with pytest.raises(UserError, match="none of these folders is a finished search"):
        compared(write_search(tmp_path / "open", [FOUND[0]]))

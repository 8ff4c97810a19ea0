"""A network of one cell, the normal one, which alone is searched; and the subspaces of the suite that has such ones."""

import json
from dataclasses import replace

import pytest
import torch
from settings import make_method, noise
from starting import ROOT

from isnas.apps import train_search
from isnas.base.errors import UserError
from isnas.methods.registry import SEARCHES, make_options, parse_run
from isnas.nets.count import num_params
from isnas.space.cells.genotype import DARTS_OPERATIONS, genotype_from_json
from isnas.space.cells.published import published
from isnas.space.cells.space import CellSpace

CONFIGS = sorted((ROOT / "configs/confopt").glob("*.yaml"))
SUBSPACES = {"wide": (18, 4, 4), "deep": (7, 18, 4), "single_cell": (26, 1, 8)}


def test_the_single_cell_is_the_normal_one():
    genotype = published("ISTA_twostage").genotype
    sizes = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 1}
    network = CellSpace().target_network(genotype, **sizes)
    x = torch.randn(2, 3, 16, 16)
    (cell,) = network.cells
    expected = network.classifier(cell(*network.stem(x)).mean((2, 3)))
    torch.testing.assert_close(network(x).logits, expected)
    assert not cell.reduction and cell.predecessors == tuple(tuple(p for _, p in node) for node in genotype.normal)
    other = replace(genotype, reduce=genotype.normal)
    assert num_params(CellSpace().target_network(other, **sizes)) == num_params(network)


@pytest.mark.parametrize("method", sorted(SEARCHES))
def test_every_search_takes_a_step_in_one_cell(method):
    made = make_method(method, layers=1, num_nodes=2, operations=DARTS_OPERATIONS)
    space = made.options.make_space()
    assert space.sizes == (14, 21) and space.node_names == ("normal node 2", "normal node 3")
    made.begin_epoch(0)
    made.before_step(0)
    made.step(*(noise(number) for number in range(len(made.splits))))
    found = made.genotype()
    assert found.normal == found.reduce and len(space.support(found)) == 2
    both = CellSpace(num_nodes=2).operation_counts(found)
    assert {name: 2 * number for name, number in space.operation_counts(found).items()} == both


def test_a_search_from_start_to_end(tmp_path):
    images = ["--dataset", "digits", "--max_train_images", "64", "--batch_size", "16", "--epochs", "2"]
    sizes = ["--layers", "1", "--num_nodes", "2", "--init_channels", "4", "--no_tensorboard", "--threads", "1"]
    train_search.main([*images, *sizes, "--run_dir", str(tmp_path / "run")])
    found = genotype_from_json(json.loads((tmp_path / "run/genotype.json").read_text())["genotype"])
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert found.normal == found.reduce and len(rows) == 3
    assert all(sum(v for k, v in row.items() if k.startswith("operations/")) == 4 for row in rows)


def test_two_cells_are_refused():
    with pytest.raises(UserError, match="--layers 2 would be two reduction cells"):
        make_options("two_stage", layers=2)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_of_the_suite(path):
    space = path.stem.removesuffix("_evaluate").removesuffix("_no_skip")
    if path.stem.endswith("_evaluate"):
        _, options = parse_run(["--config", str(path), "--settings_suite"], ("evaluation",), "evaluation", "")
        assert (options.init_channels, options.layers) == SUBSPACES[space][:2] and len(options.parts()) == 9
        assert (options.batch_size, options.epochs, options.momentum) == (512, 300, 0.9)
        return
    for method in SEARCHES.keys() - {"conas"}:  # which has operations of its own, a skip among them
        parts = ["--partial_channels", "7" if space == "deep" else "2"] if method == "pc_darts" else []
        _, options = parse_run(["--config", str(path), "--method", method, *parts], SEARCHES, "two_stage", "")
        assert (options.init_channels, options.layers, options.num_nodes) == SUBSPACES[space]
        assert ("skip_connect" in options.operations) != ("no_skip" in path.stem)
        assert len(options.operations) == 6 + ("no_skip" not in path.stem)


def test_all_files_of_the_suite_are_there():
    assert len(CONFIGS) == 9

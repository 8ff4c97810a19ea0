"""Cells with none to many connections per node that are trained, drawn, tested and counted."""

import json
from collections import Counter
from xml.etree import ElementTree

import pytest

from isnas.apps import count, evaluate, tester
from isnas.engine.trained import load_trained
from isnas.space.cells.operations import OPERATIONS
from isnas.space.cells.space import CellSpace

pytestmark = pytest.mark.slow

SPACE = CellSpace(tuple(OPERATIONS)[:5], num_nodes=2)
SMALL = ["--dataset", "digits", "--init_channels", "4", "--layers", "3", "--batch_size", "60", "--threads", "1"]
SMALL += ["--auxiliary", "--drop_path_prob", "0.3", "--learning_rate", "0.05"]
#: all five of one edge, and nothing that reads them; nothing, and what reads its zeros
SUPPORT = (tuple(range(5)), (), (), (2, 3, 4, 7, 10, 11, 12, 13, 14))


def test_from_training_to_test(tmp_path, capsys):
    genotype = SPACE.genotype(SUPPORT, pool_bn=True)
    run = tmp_path / "run"
    rest = ["--no_tensorboard", "--epochs", "3", "--run_dir", str(run)]
    evaluate.main([*SMALL, *rest, "--arch", str(genotype)])
    result = json.loads((run / "result.json").read_text())
    trained = load_trained(run)
    assert trained.genotype == genotype and result["test_acc"] > 30.0  # of ten classes
    for kind, nodes in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        texts = Counter(element.text for element in ElementTree.parse(run / f"cell_{kind}.svg").iter())
        operations = Counter(operation for node in nodes for operation, _ in node)
        assert {text: number for text, number in texts.items() if text in OPERATIONS} == operations
    capsys.readouterr()

    tester.main([str(run), "--device", "cpu"])
    assert f"test_acc {result['test_acc']:.6f}" in capsys.readouterr().out
    count.main(["--arch", str(run), "--init_channels", "4", "--layers", "3", "--image_size", "16", "--channels", "1"])
    assert f" {sum(p.numel() for p in trained.network.parameters()) / 1e6:.6f} M parameters" in capsys.readouterr().out

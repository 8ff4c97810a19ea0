"""A search without a run folder finds what the run with one finds, to the last bit."""

import json

import pytest
import torch

from isnas.base.errors import UserError
from isnas.data.small.datasets import load_dataset
from isnas.engine.in_memory import search_in_memory, train_in_memory
from isnas.engine.search import search
from isnas.engine.training import train
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import SEARCHES, make_options

SMALL = {"dataset": "digits", "max_train_images": 96, "image_size": 8, "batch_size": 16, "init_channels": 4}
SMALL |= {"layers": 3, "num_nodes": 1, "device": "cpu", "threads": 1, "tensorboard": False, "epochs": 2, "seed": 3}
SMALL |= {"operations": ("max_pool_3x3", "skip_connect", "sep_conv_3x3"), "shared_cell": True}
OWN = {
    "two_stage": {"recover_every": "step", "arch_init_scale": 0.1, "arch_learning_rate": 0.05},
    "random": {"samples": 3},
    "random_ws": {"samples": 4, "sample_batches": 1, "finalists": 2},
    "conas": {"measurements": 12, "measure_batches": 1, "monomials": 2},
    "pc_darts": {"partial_channels": 2, "arch_start_epoch": 0},
}
BUDGETS = {"random": 500.0, "random_ws": 250.0, "conas": 250.0}  # others: 200 image passes, 6 steps of 2 batches


def same(one, other):
    """Whether two states are equal, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("budget", [False, True], ids=["epochs", "budget"])
@pytest.mark.parametrize("method", sorted(SEARCHES))
def test_a_search_is_that_of_the_run(method, budget, tmp_path):
    values = SMALL | OWN.get(method, {}) | ({"budget": BUDGETS.get(method, 200.0)} if budget else {})
    search(SEARCHES[method], make_options(method, **values, run_dir=str(tmp_path / "run")))
    options = make_options(method, **values)
    found = search_in_memory(SEARCHES[method], options, load_dataset(options)).method
    result = json.loads((tmp_path / "run/genotype.json").read_text())
    assert found.genotype().to_json() == result["genotype"]
    assert found.stepping.cost.image_passes == result["image_passes"]
    assert not budget or 0.5 * options.budget < result["image_passes"] <= options.budget
    kept = torch.load(tmp_path / "run/weights.pt", weights_only=True)
    assert same(kept, {name: dict(part.state_dict()) for name, part in found.weights().items()})
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_one_stage_run_is_that_of_the_run(tmp_path):
    values = SMALL | {"max_search_epochs": 2, "arch_init_scale": 0.1, "arch_learning_rate": 0.03, "epochs": 1}
    values |= {"termination_interval": "2", "epsilon": 0.15, "drop_path_prob": 0.4, "batch_size": 32}
    train(OneStage, make_options("one_stage", **values, run_dir=str(tmp_path / "run")))
    options = make_options("one_stage", **values)
    dataset = load_dataset(options)
    found = train_in_memory(OneStage, options, dataset)
    kept = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["state"]
    stored, own = kept["method"], found.state_dict()
    timed = "tally"  # it counts seconds
    assert same({k: v for k, v in stored.items() if k != timed}, {k: v for k, v in own.items() if k != timed})
    assert found.genotype().to_json() == json.loads((tmp_path / "run/genotype.json").read_text())["genotype"]
    assert found.stepping.cost.state_dict() == kept["cost"]
    fixed = train_in_memory(OneStage, options, dataset, until_settled=True)
    assert fixed.settled and fixed.genotype() == found.genotype()
    assert found.stepping.cost.image_passes > fixed.stepping.cost.image_passes > 0


def test_a_loss_that_is_not_finite_ends_it():
    options = make_options("random_ws", **SMALL | OWN["random_ws"] | {"learning_rate": 1e6, "epochs": 9})
    with pytest.raises(UserError, match="training diverged: the loss is not finite in epoch"):
        search_in_memory(SEARCHES["random_ws"], options, load_dataset(options))

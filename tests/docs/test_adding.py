"""The examples of docs/adding_a_*.md are complete: each runs as it stands there, with its row added."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--dataset", "digits", "--max_train_images", "200", "--batch_size", "50", "--threads", "1", "--no_tensorboard"]


def example(page, name, folder):
    """The module in the first block of Python of a page, its name being importable from then on."""
    (folder / f"{name}.py").write_text(re.search(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)[1])
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def tool(name):
    return importlib.import_module(f"isnas.apps.{name}").main


def result(run):
    return json.loads((run / "genotype.json").read_text())["genotype"]


def test_a_method(tmp_path, monkeypatch, capsys):
    from isnas.methods import registry

    module = example("adding_a_method.md", "one_random", tmp_path)
    row = registry.MethodRow(lambda: module.OneRandom, lambda: module.OneRandom.Options)
    monkeypatch.setitem(registry.SEARCHES.rows, "one_random", row)
    words = ["--method", "one_random", *TINY, "--init_channels", "4", "--layers", "3"]
    search = tool("train_search")
    search([*words, "--epochs", "1", "--run_dir", str(tmp_path / "run")])
    support = module.OneRandom.Options  # the class that the flags came from
    assert not support.distinct_inputs and "distinct_inputs: false" in (tmp_path / "run/config.yaml").read_text()
    (tmp_path / "run/genotype.json").unlink()
    search(["--resume", str(tmp_path / "run")])
    genotype = result(tmp_path / "run")
    assert [len(node) for node in genotype["normal"] + genotype["reduce"]] == [2] * 8
    tool("memory")([*words, "--topologies", "0"])
    assert "A step of one_random" in capsys.readouterr().out


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    from isnas.methods import registry

    module = example("adding_a_space.md", "kernels", tmp_path)
    monkeypatch.setitem(registry.SPACES, "kernels", registry.SpaceRow(module.ChainOptions, module.ChainOptions))
    return module


@pytest.mark.parametrize("method", ["two_stage", "random_ws"])
def test_a_space_is_searched(kernels, method, tmp_path):
    few = ["--samples", "3", "--sample_batches", "1"] if method == "random_ws" else []
    words = ["--space", "kernels", "--method", method, "--epochs", "2", *TINY, *few]
    tool("train_search")([*words, "--run_dir", str(tmp_path / "run")])
    layers = result(tmp_path / "run")["layers"]
    assert len(layers) == 4 and all(set(layer) <= set(kernels.KERNELS) and len(layer) <= 1 for layer in layers)
    assert (tmp_path / "run/chain.svg").exists()


def test_a_space_is_searched_in_one_stage_and_absorbed(kernels, tmp_path):
    words = ["--space", "kernels", "--epochs", "1", *TINY]
    words += ["--epsilon", "0.01", "--termination_interval", "2", "--max_search_epochs", "2"]
    tool("train_onestage")([*words, "--run_dir", str(tmp_path / "run")])
    assert "scores of random images 0 apart" in (tmp_path / "run/log.txt").read_text()
    assert json.loads((tmp_path / "run/result.json").read_text())["arch"] == "one-stage"


def test_a_dataset(tmp_path, monkeypatch):
    import struct

    import numpy as np
    import torch

    from isnas.data.catalogue import CATALOGUE
    from isnas.data.data_options import DataOptions
    from isnas.data.small.datasets import load_dataset

    row = example("adding_a_dataset.md", "kmnist", tmp_path).ROW
    monkeypatch.setitem(CATALOGUE, "kmnist", row)
    folder = tmp_path / row.source.folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    made = {}
    for name, count in zip(row.source.files, (20, 20, 10, 10)):
        shape = (count, 28, 28) if "idx3" in name else (count,)
        made[name] = rng.integers(0, 256 if "idx3" in name else 10, shape, dtype=np.uint8)
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (folder / name).write_bytes(header + made[name].tobytes())
    dataset = load_dataset(DataOptions(dataset="kmnist", data=str(tmp_path)))
    images, labels = (torch.from_numpy(made[name]) for name in row.source.files[:2])
    assert torch.equal(dataset.train.images[..., 0], images) and torch.equal(dataset.train.labels, labels.long())
    assert len(dataset.test) == 10 and not dataset.info.flip and dataset.info.classes[1] == "ki"

"""The commands with which a run's log ends, as far as no run is needed to see them."""

import json

import pytest

from isnas.base.launched import called_as, command
from isnas.engine.next_commands import after_search
from isnas.methods.registry import make_options


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["isnas train_search", "--seed", "1"], "isnas evaluate"),
        (["tools/train_search.py"], "python tools/evaluate.py"),
        (["../a clone/tools/train_search.py"], "python '../a clone/tools/evaluate.py'"),
        (["own.py"], "isnas evaluate"),
        (["-c"], "isnas evaluate"),
    ],
)
def test_another_command_starts_as_this_one_did(words, start, tmp_path, monkeypatch):
    for folder in ("here/tools", "a clone/tools"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "evaluate.py").touch()
    monkeypatch.chdir(tmp_path / "here")
    with called_as(words):
        assert command("evaluate", "--arch", "a run") == f"{start} --arch 'a run'"


@pytest.mark.parametrize(
    ("given", "config"),
    [
        (["--config", "configs/smoke/digits_twostage.yaml"], "configs/smoke/digits_evaluate.yaml"),
        (["--seed", "1", "--config=smoke/digits_random_ws"], "smoke/digits_evaluate"),
        (["--config", "cifar10_conas_t1"], "conas_t1_evaluate"),
        (["--config", "configs/cifar10_twostage.yaml"], "configs/cifar10_evaluate.yaml"),
        (["--config", "configs/smoke/digits_chain.yaml"], "configs/smoke/digits_chain_evaluate.yaml"),
        (["--config", "cifar10_chain"], "cifar10_chain_evaluate"),
        (["--config", "configs/own_images.yaml"], ""),
        (["--config", "nowhere.yaml"], ""),
        (["--config"], ""),
        ([], ""),
    ],
)
def test_a_config_is_followed_by_that_for_trainings(given, config, tmp_path):
    (tmp_path / "env.json").write_text(json.dumps({"command": ["isnas train_search", *given]}))
    dataset = "cifar10" if "cifar10" in str(given) else "digits"
    options = make_options("two_stage", "chain" if "chain" in str(given) else "cells", dataset=dataset)
    with called_as(["isnas train_search"]):
        words = f"--config {config} " if config else ""
        assert after_search(tmp_path, options) == [f"isnas evaluate {words}--arch {tmp_path}"]


def test_the_folder_of_the_images_stands_beside_a_config(tmp_path):
    options = make_options("two_stage", dataset="cifar10", data="my images")
    for given, words in ((["--config", "cifar10_twostage"], " --data 'my images'"), ([], "")):
        (tmp_path / "env.json").write_text(json.dumps({"command": ["isnas train_search", *given]}))
        assert after_search(tmp_path, options)[0].endswith(f"--arch {tmp_path}{words}")

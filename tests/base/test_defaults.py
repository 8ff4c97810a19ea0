"""A composed class has the defaults that its classes say, the first one first, and the papers' where there are any."""

import dataclasses
from collections import ChainMap

import pytest

from isnas.analysis.options.memory import MemoryOptions
from isnas.base.options import Chosen, build, compose, to_dict, to_yaml
from isnas.methods.languages import LANGUAGE_SEARCHES, LANGUAGE_TRAININGS
from isnas.methods.registry import METHODS, Methods, make_options, options_class, parse_run

LANGUAGE = Methods(ChainMap(LANGUAGE_TRAININGS.rows, LANGUAGE_SEARCHES.rows))
#: of every run on text, DARTS's and Li and Talwalkar's
COMMON = {"nhid": 850, "batch_size": 64, "bptt": 35, "learning_rate": 20.0, "weight_decay": 8e-7, "alpha": 0.0}
COMMON |= {"beta": 1e-3, "dropout": 0.75, "dropouth": 0.25, "dropoutx": 0.75, "dropouti": 0.2, "dropoute": 0.1}
SEARCH = {"epochs": 50, "grad_clip": 0.1, "valid_batch_size": 1024, "measure_rows": 0, "num_nodes": 8}


def language_class(method):
    """The options of a method on text, as its tool composes them."""
    space = Chosen("recurrent", ("recurrent",), "")
    return compose("Options", LANGUAGE[method].Options, method=Chosen(method, tuple(LANGUAGE), ""), space=space)


@pytest.mark.parametrize("more", [(), (MemoryOptions,)], ids=["alone", "memory"])
@pytest.mark.parametrize("method", METHODS)
def test_a_default_is_what_the_attribute_is(method, more):
    check_defaults(options_class(Chosen(method, tuple(METHODS), ""), Chosen("cells", ("cells",), ""), *more))


@pytest.mark.parametrize("method", LANGUAGE)
def test_a_default_on_text_is_what_the_attribute_is(method):
    check_defaults(language_class(method))


def check_defaults(cls):
    for field in dataclasses.fields(cls):
        declared = [part for part in cls.__mro__[1:] if field.name in vars(part).get("__annotations__", {})]
        assert (field.name in ("method", "space")) == (not declared)
        if declared:
            assert field.default == getattr(declared[0], field.name), field.name


@pytest.mark.parametrize(
    "method, wanted",
    [
        ("two_stage", {"batch_size": 256, "epochs": 50, "learning_rate": 0.1, "init_channels": 16, "layers": 8}),
        (
            "darts",
            {"batch_size": 64, "epochs": 50, "learning_rate": 0.025, "learning_rate_min": 0.001, "unrolled": False},
        ),
        ("darts", {"arch_learning_rate": 3e-4, "arch_beta1": 0.5, "arch_weight_decay": 1e-3, "grad_clip": 5.0}),
        ("pc_darts", {"batch_size": 256, "epochs": 50, "learning_rate": 0.1, "learning_rate_min": 0.0}),
        ("pc_darts", {"arch_learning_rate": 6e-4, "arch_start_epoch": 15, "partial_channels": 4, "unrolled": False}),
        ("random_ws", {"batch_size": 64, "epochs": 50, "learning_rate": 0.025, "grad_clip": 1.0, "init_channels": 16}),
        ("conas", {"batch_size": 64, "epochs": 100, "learning_rate": 0.025, "grad_clip": 1.0, "layers": 8}),
        ("sampled_recovery", {"batch_size": 256, "epochs": 50, "learning_rate": 0.1, "proj_dims": 7, "sparseness": 2}),
        ("one_stage", {"batch_size": 96, "epochs": 600, "learning_rate": 0.025, "init_channels": 36, "layers": 20}),
        ("evaluation", {"batch_size": 96, "epochs": 600, "learning_rate": 0.025, "init_channels": 36, "layers": 20}),
    ],
)
def test_the_papers_settings(method, wanted):
    options = make_options(method)
    assert {name: getattr(options, name) for name in wanted} == wanted
    assert method != "one_stage" or options.arch_learning_rate == 3e-4


@pytest.mark.parametrize(
    "method, wanted",
    [
        ("conas", {**SEARCH, "bernoulli_p": 0.5, "stages": 2, "monomials": 10, "later_monomials": 5, "degree": 2}),
        ("conas", {"measurements": 1000, "lasso_lambda": 1.0, "lasso_form": "paper", "measured": "log_perplexity"}),
        ("random_ws", {**SEARCH, "samples": 1000}),
        ("evaluation", {"epochs": 1600, "grad_clip": 0.25, "nonmono": 5, "valid_batch_size": 10, "test_batch_size": 1}),
    ],
)
def test_the_papers_settings_on_text(method, wanted):
    wanted = COMMON | wanted
    options = build(language_class(method), {"data": "text"})
    assert {name: getattr(options, name) for name in wanted} == wanted
    assert method == "evaluation" or options.operations == ("tanh", "relu", "sigmoid", "identity")


@pytest.mark.parametrize("method", ["two_stage", "one_stage", "evaluation"])
def test_the_released_preset_differs_from_the_papers_in_what_it_says(method):
    paper, released = (to_dict(make_options(method, preset=name)) for name in ("paper", "released"))
    assert paper == to_dict(make_options(method))
    presets = next(f for f in dataclasses.fields(make_options(method)) if f.name == "preset").metadata["presets"]
    changed = {name: value for name, value in released.items() if value != paper[name]}
    assert changed == {"preset": "released", **presets["released"]} and len(changed) > 3


def test_config_yaml_says_what_came_of_a_preset():
    argv = ["--preset", "released", "--learning_rate_min", "0.002", "--no_cosine_ahead"]
    written = to_yaml(parse_run(argv, ("two_stage",), "two_stage", "")[1]).splitlines()
    expected = {"preset: released", "learning_rate_min: 0.002", "cosine_ahead: false", "first_update: b"}
    assert expected | {"grad_clip_of: w_and_b", "arch_early_epsilon: true", "split: in_order"} <= set(written)

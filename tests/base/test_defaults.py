"""A composed class has the defaults that its classes say, the first one first, and the papers' where there are any."""

import dataclasses

import pytest

from isnas.analysis.step_memory import MemoryOptions
from isnas.base.options import Chosen
from isnas.methods.registry import METHODS, make_options, options_class


@pytest.mark.parametrize("more", [(), (MemoryOptions,)], ids=["alone", "memory"])
@pytest.mark.parametrize("method", METHODS)
def test_a_default_is_what_the_attribute_is(method, more):
    cls = options_class(Chosen(method, tuple(METHODS), ""), Chosen("cells", ("cells",), ""), *more)
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
        ("one_stage", {"batch_size": 96, "epochs": 600, "learning_rate": 0.025, "init_channels": 36, "layers": 20}),
        ("evaluation", {"batch_size": 96, "epochs": 600, "learning_rate": 0.025, "init_channels": 36, "layers": 20}),
    ],
)
def test_the_papers_settings(method, wanted):
    options = make_options(method)
    assert {name: getattr(options, name) for name in wanted} == wanted
    assert method != "one_stage" or options.arch_learning_rate == 3e-4

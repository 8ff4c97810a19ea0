"""The searches that are held against one another on a tabulated benchmark, with the settings that are not the papers'.

All have the same budget in image passes and batches of 64 with a learning rate of 0.025, a quarter of the papers' 0.1
at 256. What else is set is what a method counts in epochs or architectures, as a share of the budget that is the
papers' share where they have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Settings of all searches.
COMMON: dict[str, Any] = {"batch_size": 64, "learning_rate": 0.025}
#: Budgets in trainings of an architecture; the last one is for searches by sparse coding and random search.
BUDGETS = (4, 8, 16)


@dataclass(frozen=True)
class Means:
    """What a search has: ``trainings`` of an architecture, ``passes`` over the images that train W in a search."""

    trainings: float
    passes: float


def no_settings(means: Means) -> dict[str, Any]:
    """Where everything is the paper's."""
    return {}


@dataclass(frozen=True)
class Search:
    """A method with settings; ``of_means`` gives those that depend on the budget.

    ``largest``: whether it is given the largest budget too. ``ranks_all``: whether its super-net's ranking is held
    against that of the whole table, not of a part. ``variants``: other choices from the same measurements of
    a sampled recovery, by name the options that differ.
    """

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    of_means: Callable[[Means], dict[str, Any]] = no_settings
    largest: bool = False
    ranks_all: bool = False
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def takes(self, budget: int) -> bool:
        """Whether it is given a budget of so many trainings."""
        return self.largest or budget < BUDGETS[-1]


def _warm_up(means: Means) -> dict[str, Any]:
    """A third of the passes; an epoch after it costs two."""
    return {"uniform_epochs": round(means.passes / 3)}


def _pc_darts(means: Means) -> dict[str, Any]:
    """The architecture starts after 30 % of the epochs, as in the paper: E epochs cost 0.3 E + 2 * 0.7 E passes."""
    return {"arch_start_epoch": round(0.3 * means.passes / 1.7)}


def _one_stage(means: Means) -> dict[str, Any]:
    """Half of the epochs for the search at most, and half for the training; its passes are over all images."""
    epochs = round(means.passes / 4)
    return {"max_search_epochs": epochs, "epochs": epochs}


def _one_stage_warm_up(means: Means) -> dict[str, Any]:
    """The same, but a third of the search is the warm-up, as it is elsewhere."""
    settings = _one_stage(means)
    return settings | {"uniform_epochs": round(settings["max_search_epochs"] / 3)}


def _random_ws(means: Means) -> dict[str, Any]:
    return {"samples": round(15 * means.trainings), "finalists": 5}


def _conas(stages: int) -> Callable[[Means], dict[str, Any]]:
    return lambda means: {"stages": stages, "measurements": round(25 * means.trainings / stages), "measure_batches": 6}


def _variants(name: str) -> dict[str, dict[str, Any]]:
    """What else is recovered, or chosen, of what a sampled recovery has measured."""
    of_four = {"proj_dims": 4}
    return {
        f"{name}, shift": {"shift": True},
        f"{name}, m = 4": of_four,
        f"{name}, m = 4, shift": of_four | {"shift": True},
        f"{name}, no compression": {"choose_by": "scores"},
    }


_EVERY_STEP = {"recover_every": "step"}
SUITE = (
    Search("two-stage, z every epoch", "two_stage", largest=True, ranks_all=True),
    Search("two-stage, z every step", "two_stage", _EVERY_STEP, largest=True),
    Search("two-stage, z every step, gaussian A", "two_stage", _EVERY_STEP | {"measurement": "gaussian"}),
    Search("two-stage, z every step, unit gaussian A", "two_stage", _EVERY_STEP | {"measurement": "unit_gaussian"}),
    Search("two-stage, z every step, distinct inputs", "two_stage", _EVERY_STEP | {"distinct_inputs": True}),
    Search("two-stage, z every epoch, W warmed up", "two_stage", of_means=_warm_up, largest=True),
    Search("two-stage, z every step, W warmed up", "two_stage", _EVERY_STEP, _warm_up, largest=True),
    Search("sampled recovery", "sampled_recovery", largest=True, variants=_variants("sampled recovery")),
    Search(
        "sampled gradients",
        "sampled_recovery",
        {"measure": "gradient"},
        variants=_variants("sampled gradients"),
    ),
    Search("one-stage", "one_stage", {"drop_path_prob": 0.0}, _one_stage),
    Search("one-stage, W warmed up", "one_stage", {"drop_path_prob": 0.0}, _one_stage_warm_up),
    Search("DARTS, first order", "darts", ranks_all=True),
    Search("PC-DARTS", "pc_darts", {"partial_channels": 2}, _pc_darts, ranks_all=True),
    Search("random search, shared weights", "random_ws", {"none_operation": False}, _random_ws),
    Search("random search", "random", {"epochs": 3}, largest=True),
    Search("CoNAS, t = 1", "conas", of_means=_conas(1)),
    Search("CoNAS, t = 2", "conas", of_means=_conas(2)),
)

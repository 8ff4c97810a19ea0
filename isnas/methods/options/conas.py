"""The options of CoNAS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.text import brief
from isnas.engine.harness_options import SearchOptions, check_stand_in
from isnas.methods.options.stages import StagesOptions
from isnas.space.cells.genotype import CONAS_OPERATIONS, DARTS_OPERATIONS, NAMES

#: What the released code, that of a later version of the paper, does otherwise.
RELEASE: dict[str, Any] = {
    "operations": DARTS_OPERATIONS,
    "grad_clip": 0.25,
    "measurements": 3000,
    "monomials": 12,
    "lasso_form": "half",
    "lasso_lambda": 10.0,
    "max_loss": 1.5,
    "same_batches": False,
    "pool_bn": True,
}


@dataclass(frozen=True)
class ConasOptions(StagesOptions, SearchOptions, title="CoNAS"):
    """The paper's settings for CIFAR-10, those of the training taken from random search with weight sharing."""

    preset: str = option(
        "paper",
        "settings of the paper, or of the released code where that differs, beside which its settings cannot be others",
        presets={"paper": {}, "release": RELEASE},
    )
    operations: tuple[str, ...] = option(CONAS_OPERATIONS, "candidate operations", choices=NAMES)
    epochs: int = option(100, "epochs of the one-shot training", minimum=1, maximum=10**6)
    batch_size: int = option(64, "images per step, and per batch of a measurement", minimum=1, maximum=10**6)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    learning_rate_min: float = option(0.001, "SGD's learning rate after the last epoch", minimum=0.0, maximum=1e6)
    grad_clip: float = option(1.0, "largest norm of the weights' gradient", above=0.0, maximum=1e30)
    measure_batches: int = option(10, "batches of a measurement; 0: all images that choose", minimum=0, maximum=10**6)
    same_batches: bool = option(
        True, "measure all architectures on the same batches, --no_same_batches each on the next ones"
    )
    measure_bn: str = option(
        "running",
        "statistics of batch normalisation in a measurement: the running ones, or those of the batch (of its part in "
        "each process, unless --sync_bn)",
        choices=("running", "batch"),
    )
    pool_bn: bool = option(False, "batch normalisation after pools in the network of the cells that are found")

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        for name, value in RELEASE.items() if self.preset == "release" else ():
            if (given := vars(self)[name]) != value and name != "max_loss":  # which is of the images
                raise UserError(
                    f"--{name} {brief(given)} contradicts --preset release, which has {brief(value)}; leave one of "
                    "them out"
                )
        if self.sparseness != SearchOptions.sparseness:
            raise UserError("--sparseness has no effect on a node that has any number of connections; leave it out")
        if self.has_space:
            check_stand_in(self.make_space())

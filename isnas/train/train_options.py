"""The options of steps, optimisers and losses."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import Component, option

SCHEDULES = ("cosine", "linear")
ARCH_SCHEDULES = ("constant", "cosine")

#: Bytes of a value that is kept for the backward pass, by precision.
VALUE_BYTES = {"off": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class SgdOptions(Component, title="Optimiser"):
    """Training of the weights; the defaults are the paper's for the CIFAR-10 search at batch 256."""

    epochs: int = option(50, "passes over the training images", minimum=1, maximum=10**6)
    batch_size: int = option(256, "images per step", minimum=1, maximum=10**6)
    learning_rate: float = option(0.1, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    learning_rate_min: float = option(0.0, "SGD's learning rate after the last epoch", minimum=0.0, maximum=1e6)
    lr_schedule: str = option("cosine", "how SGD's learning rate falls from epoch to epoch", choices=SCHEDULES)
    warmup_epochs: int = option(
        0, "epochs in which SGD's learning rate rises to its full value", minimum=0, maximum=10**6
    )
    cosine_ahead: bool = option(
        False,
        "the cosine is an epoch ahead: the first epoch has the second one's, and none the full rate (released code)",
    )
    linear_tail_epochs: int = option(
        0,
        "last epochs of a linear schedule, in which it falls less steeply: the rest of it reaches 0 where they begin, "
        "they go from its last rate to 0 (released code: 5)",
        minimum=0,
        maximum=10**6,
    )
    warmup_first: bool = option(
        False, "the epochs of the warm-up have its rate even where the schedule's is lower (released code)"
    )
    momentum: float = option(0.9, "SGD's momentum", minimum=0.0, below=1.0)
    nesterov: bool = option(False, "Nesterov's momentum")
    weight_decay: float = option(3e-4, "l2 penalty on the weights", minimum=0.0, maximum=1e6)
    grad_clip: float = option(5.0, "largest norm of the weights' gradient", above=0.0, maximum=1e30)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if self.nesterov and self.momentum == 0.0:
            raise UserError("--nesterov has no effect with momentum 0; leave it out")
        if self.learning_rate_min > self.learning_rate:
            raise UserError(
                f"learning_rate_min {self.learning_rate_min} is above learning_rate {self.learning_rate}; lower it"
            )
        if self.lr_schedule == "linear" and self.linear_tail_epochs >= self.epochs:
            raise UserError(
                f"linear_tail_epochs {self.linear_tail_epochs} leaves nothing of {self.epochs} epochs; lower it"
            )


@dataclass(frozen=True)
class ArchAdamOptions(Component, title="Optimiser of the architecture"):
    """Training of the architecture's variables; the defaults are the paper's for two-stage search on CIFAR-10."""

    arch_learning_rate: float = option(6e-4, "Adam's learning rate for the architecture (b)", above=0.0, maximum=1e6)
    arch_weight_decay: float = option(1e-3, "its l2 penalty (Adam, not AdamW)", minimum=0.0, maximum=1e6)
    arch_beta1: float = option(0.5, "Adam's first beta for the architecture", minimum=0.0, below=1.0)
    arch_beta2: float = option(0.999, "Adam's second beta for the architecture", minimum=0.0, below=1.0)
    arch_lr_schedule: str = option(
        "constant", "Adam's learning rate: constant (the papers'), or cosine to 0", choices=ARCH_SCHEDULES
    )
    arch_early_epsilon: bool = option(
        False, "Adam adds its epsilon before it corrects the second moment's bias, as in old torch (released code)"
    )


@dataclass(frozen=True)
class PartsOptions(Component, title="Speed and memory"):
    """Speed and memory of a step, whatever the network; the defaults leave its gradient as exact as it is without."""

    grad_accum: int = option(
        1, "parts in which a batch is taken; a part has its own batch statistics", minimum=1, maximum=10**6
    )
    tf32: bool = option(False, "TF32 arithmetic in convolutions and matrix products, on the GPUs that have it")


@dataclass(frozen=True)
class StepOptions(PartsOptions, title="Speed and memory"):
    """The same of a network of images."""

    amp: str = option("off", "lower precision in the network; weights, b and recovery keep theirs", choices=VALUE_BYTES)
    channels_last: bool = option(True, "layout of images in memory")
    sync_bn: bool = option(False, "batch normalisation over the images of all processes, not of each by itself")
    compile: bool = option(False, "compile the operations with torch.compile, which takes minutes at first")
    recompute: bool = option(
        False,
        "compute what is inside of cells or blocks again in the backward pass: a quarter more time, a third of the "
        "activations or less, and on the CPU the same numbers",
        free=True,
    )

    def validate(self) -> None:
        """Check what contradicts ``recompute``."""
        if self.recompute and self.compile:
            raise UserError(
                "--recompute and --compile exclude each other: what is compiled decides itself what it keeps; leave "
                "one of them out"
            )

    @property
    def value_bytes(self) -> int:
        """Bytes of a value that is kept for the backward pass."""
        return VALUE_BYTES[self.amp]


@dataclass(frozen=True)
class TrainingOptions(Component, title="Training"):
    """What the loss of a target network is made of; the defaults are the released code's for CIFAR-10."""

    auxiliary: bool = option(False, "train with an auxiliary head after the second reduction cell")
    auxiliary_weight: float = option(0.4, "weight of the auxiliary head's loss", above=0.0, maximum=1e6)
    drop_path_prob: float = option(
        0.2,
        "probability that drop-path leaves a connection out, in the last epoch; it rises from 0",
        minimum=0.0,
        below=1.0,
    )
    dropout: float = option(
        0.0,
        "probability that an input of the classifier is left out, once the architecture is fixed",
        minimum=0.0,
        below=1.0,
    )
    label_smooth: float = option(0.0, "share of a label that is spread over all classes", minimum=0.0, below=1.0)
    ema_decay: float = option(
        0.0,
        "test and save a moving average of the weights that keeps this share at each step; 0 is off",
        minimum=0.0,
        below=1.0,
    )

    save_best: bool = option(
        False, "keep the network of the best test accuracy too, as weights_best.pt; the result is the last epoch's"
    )

    def validate(self) -> None:
        """Check what contradicts ``auxiliary``."""
        if not self.auxiliary and self.auxiliary_weight != TrainingOptions.auxiliary_weight:
            raise UserError("--auxiliary_weight has no effect without --auxiliary")


@dataclass(frozen=True)
class DescentOptions(Component, title="Optimiser"):
    """How the weights of a language model descend; the defaults are DARTS's for the Penn Treebank."""

    epochs: int = option(1600, "passes over the training text", minimum=1, maximum=10**6)
    batch_size: int = option(64, "columns into which the training text is divided", minimum=1, maximum=10**6)
    bptt: int = option(35, "rows of a window through which the gradient goes back", minimum=1, maximum=10**5)
    learning_rate: float = option(20.0, "learning rate of a window of bptt rows", above=0.0, maximum=1e6)
    weight_decay: float = option(8e-7, "l2 penalty on the weights", minimum=0.0, maximum=1e6)
    grad_clip: float = option(0.25, "largest norm of the weights' gradient", above=0.0, maximum=1e30)
    alpha: float = option(0.0, "weight of the square of the outputs after dropout (AR)", minimum=0.0, maximum=1e6)
    beta: float = option(
        1e-3, "weight of the square of the change from an output to the next (TAR)", minimum=0.0, maximum=1e6
    )


@dataclass(frozen=True)
class MixingOptions(Component, title="Mixing of images"):
    """How images and their classes are mixed and weighted in training."""

    mixup: float = option(
        0.0,
        "MixUp: training images become means of two, weighted by a draw from Beta(ALPHA, ALPHA), and so do their "
        "labels; 0 is off",
        minimum=0.0,
        maximum=1e3,
    )
    cutmix: float = option(
        0.0,
        "CutMix: a box of each training image is taken from another, of a share from Beta(ALPHA, ALPHA); with --mixup "
        "one of the two, drawn for each batch; 0 is off",
        minimum=0.0,
        maximum=1e3,
    )
    class_weights: str = option(
        "equal",
        "weights of the images in the loss: balanced ones give every class the same sum over the training images",
        choices=("equal", "balanced"),
    )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed."""
        return bool(self.mixup or self.cutmix)

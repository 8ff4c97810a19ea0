"""The options of every run, and all rules about two of its components.

As all modules of options it does without torch, which takes seconds to import: --help and a wrong flag need not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from isnas.base.errors import UserError
from isnas.base.options import Component, option
from isnas.base.text import shown
from isnas.data.data_options import SPLITS, AugmentOptions, DataOptions, ImageOptions
from isnas.space.space_options import SpaceOptions
from isnas.train.train_options import MixingOptions, PartsOptions, SgdOptions, StepOptions, TrainingOptions

if TYPE_CHECKING:
    import torch

    from isnas.space.space import Space

#: The first release of torch that is known to have the right gradient (https://github.com/pytorch/pytorch/issues/188344).
RIGHT_POOLING = "2.14"

#: Services that track experiments.
LOG_TO = ("none", "wandb", "mlflow")

PRESET_HELP = "settings of the paper, or of the authors' released code where that differs; what is given beside it wins"


@dataclass(frozen=True)
class RunOptions(Component, title="Run"):
    """Where and how a run runs, whatever it computes."""

    seed: int = option(0, "decides everything that is random", minimum=0, maximum=2**63 - 1)
    save: str = option("EXP", "name in the run folder, as in search-{save}-{date}-{time}", free=True)
    run_dir: str = option("", "the run folder itself, instead of a name with a date", free=True, path=True)
    resume: str = option("", "go on with the run in this folder", free=True, path=True)
    device: str = option("auto", "cpu, cuda, cuda:N, mps, or auto: cuda if it is there", free=True)
    threads: int = option(0, "CPU threads; 0 leaves it to torch", minimum=0, maximum=1024, free=True)
    report_freq: int = option(50, "steps between two lines of the log", minimum=1, maximum=10**9, free=True)
    checkpoint_minutes: float = option(
        10.0, "minutes between checkpoints within an epoch", above=0.0, maximum=1e6, free=True
    )
    timeout_minutes: float = option(
        10.0,
        "of several processes: how long one waits for the others before it gives up, a year at most",
        above=0.0,
        maximum=525600.0,
        free=True,
    )
    notes: tuple[str, ...] = option((), "lines with which the log of a new run begins", free=True)
    tensorboard: bool | None = option(
        None, "write TensorBoard files, --no_tensorboard not to; none means if TensorBoard is installed", free=True
    )
    log_to: str = option(
        "none", "a service that gets the rows of the metrics too, if it is installed", choices=LOG_TO, free=True
    )

    def validate(self) -> None:
        """See that ``save`` is part of a name."""
        if not self.save.isprintable() or any(separator in self.save for separator in "/\\"):
            raise UserError(f"--save must be a plain name, not {shown(self.save)}; --run_dir is for a folder elsewhere")


@dataclass(frozen=True)
class SeedOptions(Component, title="Several seeds"):
    """Several runs instead of one."""

    seeds: tuple[int, ...] = option(
        (), "run once with each of these seeds, all in one folder", minimum=0, maximum=2**63 - 1
    )
    jobs: int = option(
        1,
        "runs of --seeds at a time; CPU threads are divided among them, GPUs taken in turn",
        minimum=1,
        maximum=1024,
        free=True,
    )

    def parts(self) -> dict[str, dict[str, Any]]:
        """The runs that are made instead of one, by the names of their folders: the options that are theirs."""
        return {f"seed-{seed}": {"seed": seed} for seed in self.seeds}

    def validate(self) -> None:
        """Check what contradicts ``seeds``."""
        if not self.parts() and self.jobs > 1:
            raise UserError("--jobs has no effect on a single run; leave it out")
        if len(set(self.seeds)) < len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise UserError(f"--seeds must be different numbers from 0 up, not {' '.join(map(str, self.seeds))}")


@dataclass(frozen=True)
class AnyRunOptions(PartsOptions, SeedOptions, RunOptions):
    """What every run has, of images or of text: a batch that is divided among processes, seeds and a folder.

    ``entries`` are what a batch is of.
    """

    entries: ClassVar[str] = "images"
    batch_size: int = option(64, "entries per step", minimum=1, maximum=10**6)

    @property
    def with_auxiliary(self) -> bool:
        """Whether the network has an auxiliary head, whose batch normalisation needs two images or more."""
        return False

    @property
    def loss_weight(self) -> float:
        """Sum of the weights of all heads' losses."""
        return 1.0

    def validate(self) -> None:
        """Check what no component can know by itself."""
        if self.seeds and self.seed != RunOptions.seed:
            raise UserError("--seed and --seeds contradict each other; leave one of them out")
        if self.grad_accum > self.batch_size:
            raise UserError(
                f"--grad_accum {self.grad_accum} is more than the {self.batch_size} {self.entries} of a batch; lower it"
            )

    def check_device(self, device: torch.device) -> None:
        """See that the device computes what the run needs.

        Raises:
            UserError: when it does not.
        """
        return None

    def check_processes(self, world_size: int) -> None:
        """See that so many processes can share the run.

        Raises:
            UserError: when a batch cannot be divided among them, or they have been started for several seeds.
        """
        if self.batch_size % world_size:
            raise UserError(
                f"batch_size {self.batch_size} cannot be divided equally among {world_size} processes; give a multiple "
                f"of {world_size}, it is the size over all of them"
            )
        mine, least = self.batch_size // world_size, self.grad_accum * (2 if self.with_auxiliary else 1)
        if mine < least:
            flags = "--grad_accum and --auxiliary need" if self.with_auxiliary else "--grad_accum needs"
            raise UserError(
                f"batch_size {self.batch_size} leaves {mine} {self.entries} to each of {world_size} processes, which "
                f"is less than {flags} ({least}); give a larger batch or start fewer"
            )
        if world_size > 1 and self.parts():
            flag, instead = ("--seeds", "give --seed") if self.seeds else ("--settings_suite", "leave it out")
            raise UserError(
                f"{flag} starts processes of its own; start the tool without torchrun or srun, or {instead}"
            )


@dataclass(frozen=True)
class HarnessOptions(SpaceOptions, SgdOptions, StepOptions, DataOptions, AnyRunOptions):
    """What every run of images has: a space, a training of weights, images, seeds and a folder."""

    def validate(self) -> None:
        """Check what no component can know by itself."""
        if self.with_auxiliary and self.batch_size // self.grad_accum < 2:
            raise UserError("--auxiliary needs 2 images or more in a batch, or in a part of it with --grad_accum")

    def check_images(self, image_size: int, auxiliary: bool) -> None:
        """See that networks can take images of this side, and batch normalisations have more than a value to train on.

        Raises:
            UserError: when it is not so.
        """
        from isnas.base.distributed import world_size  # slow to import, for torch

        super().check_images(image_size, auxiliary)
        processes = world_size()
        least = self.batch_size // processes // self.grad_accum
        if least < 2 and image_size <= self.total_stride and not (self.sync_bn and processes > 1):
            raise UserError(
                f"images of {image_size} pixels are one pixel at the end of a network that divides their side by "
                f"{self.total_stride}, and batch normalisation cannot train on a single one: give larger images or 2 "
                "or more at a time by --batch_size and --grad_accum"
            )

    def check_device(self, device: torch.device) -> None:
        import torch

        from isnas.base.precision import has_float64

        if self.amp == "fp16" and not has_float64(device):
            raise UserError(f"--amp fp16 scales gradients that are float64, which {device} has not; take bf16, or none")
        if device.type == "mps" and self.channels_last:  # issues 175189 and 175190 of pytorch
            raise UserError(
                "torch computes wrong gradients of batch normalisation and average pooling in channels_last on MPS; "
                "give --no_channels_last"
            )
        if device.type == "cuda" and self.channels_last and torch.__version__ < RIGHT_POOLING:
            raise UserError(
                f"torch {torch.__version__} computes wrong gradients of average pooling in channels_last on a GPU; "
                f"install {RIGHT_POOLING} or later, or give --no_channels_last"
            )


def check_sparseness(space: Space, sparseness: int, distinct_inputs: bool) -> None:
    """See that every node has so many candidates, or with ``distinct_inputs`` so many groups of them.

    Raises:
        UserError: when one has fewer.
    """
    most = min(len(set(group)) for group in space.groups) if distinct_inputs else min(space.sizes)
    if sparseness > most:
        kind = "predecessors" if distinct_inputs else "candidate connections"
        raise UserError(f"sparseness {sparseness} is more than the {most} {kind} of the smallest node")


def check_stand_in(space: Space) -> None:
    """See that the space has what stands in for a node without connections.

    Raises:
        UserError: when it has not.
    """
    try:
        space.connected(((),) * len(space.sizes))
    except UserError as error:
        raise UserError(f"a node may be left without connections: {error}") from None


@dataclass(frozen=True)
class SearchOptions(AugmentOptions, HarnessOptions, title="Architecture search"):
    """What every search has: images in memory, divided among the weights, the architecture and none of both.

    ``draws_distinct``: whether the connections of a node come from distinct predecessors, whatever the options.
    """

    draws_distinct: ClassVar[bool] = False
    sparseness: int = option(2, "connections kept per node", minimum=1, maximum=1000)
    split: str = option(
        "stratified", "how the training images are divided: at random by class, or as they lie", choices=SPLITS
    )
    train_portion: float = option(0.5, "share of training images that trains W; the rest trains b", above=0, below=1)
    held_out_portion: float = option(0.0, "share of the training images kept from both", minimum=0.0, below=1.0)
    budget: float = option(
        0.0,
        "image passes that the whole search may cost, forward and backward being 1 and forward alone 1/3; decides "
        "--epochs, of random search --samples, whatever they say; 0: as long as the other options say",
        minimum=0.0,
        maximum=1e15,
    )

    def validate(self) -> None:
        """Check the space."""
        if self.has_space:
            check_sparseness(self.make_space(), self.sparseness, self.draws_distinct)


@dataclass(frozen=True)
class WeightsOptions(Component, title="Trained network"):
    """How a trained network is written."""

    weights_format: str = option(
        "pt", "the trained network is weights.pt, or weights.safetensors", choices=("pt", "safetensors"), free=True
    )


@dataclass(frozen=True)
class NetworkTrainingOptions(
    WeightsOptions, ImageOptions, MixingOptions, TrainingOptions, HarnessOptions, title="Training"
):
    """What every training to the end has: images in memory or streamed, drop-path, an auxiliary head."""

    epochs: int = option(600, "passes over the training images", minimum=1, maximum=10**6)
    batch_size: int = option(96, "images per step", minimum=1, maximum=10**6)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    held_out_portion: float = option(
        0.0, "share of the training images kept from training, for valid_acc", minimum=0.0, below=1.0
    )

    def check_processes(self, world_size: int) -> None:
        super().check_processes(world_size)
        if self.mixes and world_size > 1 and self.batch_size // world_size % 2:
            raise UserError(
                f"--mixup and --cutmix mix pairs of images, and batch_size {self.batch_size} leaves an odd number to "
                f"each of {world_size} processes; give a multiple of {2 * world_size}"
            )

    @property
    def with_auxiliary(self) -> bool:
        return self.auxiliary

    @property
    def loss_weight(self) -> float:
        return 1.0 + self.auxiliary_weight * self.auxiliary

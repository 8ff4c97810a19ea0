"""What a method is to the harness: the contracts of a search, and of a training to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar

from torch import Tensor, nn

from isnas.data.dataset_info import DatasetInfo
from isnas.engine.averages import Scores
from isnas.engine.harness_options import HarnessOptions
from isnas.engine.run import Run
from isnas.space.connections import Support
from isnas.space.space import AnyGenotype, Network, Output, Space
from isnas.train.stepping import Stepping, StepResult

#: The options of a method.
Settings = TypeVar("Settings", bound=HarnessOptions, contravariant=True)


class Judge(Protocol):
    """What measures an architecture, on the images that choose among architectures."""

    def __call__(
        self, predict: Callable[[Tensor], Tensor], num_batches: int | None, first: int = 0, whole: bool = False
    ) -> Scores:
        """Scores of a function images -> class scores, in eval mode.

        On all of them, or on so many batches from number ``first`` on, which begin anew after the last one. ``whole``
        leaves out a last batch that is not, if there are others.
        """
        ...


@dataclass(frozen=True)
class Setting:
    """Where a method finds itself: the space, the sizes of its networks, the images, how steps are taken.

    ``sizes`` are the arguments of the space's networks. Epoch e has ``steps_in(e)`` steps.
    """

    space: Space
    sizes: dict[str, Any]
    info: DatasetInfo
    stepping: Stepping
    steps_in: Callable[[int], int]


class Report(NamedTuple):
    """What a method says at the end of an epoch: lines for the log, and numbers by name for metrics."""

    lines: list[str]
    values: dict[str, float | None]


class Method(Protocol[Settings]):
    """What a search and a training to the end have in common.

    A class has ``Options``, its own and those of the harness, and ``splits``, the parts of the images from which a step
    takes a batch each. ``network`` is what is trained now, ``stepping`` takes the steps, and what :meth:`state_dict`
    gives is all that the run needs to go on.
    """

    Options: ClassVar[type[HarnessOptions]]
    splits: ClassVar[tuple[str, ...]]
    network: Network
    stepping: Stepping

    def __init__(self, options: Settings, setting: Setting) -> None:
        """The method at its start."""
        ...

    @classmethod
    def check(cls, options: Settings) -> None:
        """See that what the method needs is there, before anything is written.

        Raises:
            UserError: when it is not.
        """
        return None

    @classmethod
    def build(cls, options: Settings, setting: Setting) -> Self:
        """The method at its start; ``options`` are of its class ``Options``."""
        return cls(options, setting)

    @classmethod
    def make_network(cls, options: Settings, space: Space, sizes: dict[str, Any]) -> Network:
        """The largest network that it trains, with the weights it starts from where a generator is set."""
        ...

    @classmethod
    def heaviest(cls, options: Settings, space: Space) -> Support | None:
        """Connections whose step needs most memory; None where a network runs whole."""
        ...

    def predict(self, x: Tensor) -> Output:
        """Scores of what runs now; the caller has set eval mode."""
        ...

    def genotype(self) -> AnyGenotype:
        """The present architecture."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on, as tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        ...


class SearchMethod(Method[Settings], Protocol[Settings]):
    """A search for an architecture.

    Of its ``splits`` the first is ``train_w``, whose loss is logged.
    """

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole search."""
        ...

    @classmethod
    def passes_of_step(cls, options: Settings, epoch: int) -> float:
        """What a step in an epoch costs per image of a batch: forward and backward are 1, forward alone is 1/3."""
        ...

    @classmethod
    def passes_of_choice(cls, options: Settings, num_images: int, steps: int) -> float:
        """Image passes of :meth:`choose` after so many steps, with so many images that choose."""
        return 0.0

    @classmethod
    def within_budget(cls, options: Settings, num_images: int, steps_per_epoch: int) -> tuple[Any, int]:
        """The options of the longest search that costs ``options.budget`` at most, and the number of its steps.

        Raises:
            UserError: when that is not enough for a step and the choice.
        """
        ...

    def begin_epoch(self, epoch: int) -> float:
        """Set what depends on the epoch; returns the learning rate of the weights."""
        ...

    def before_step(self, step: int) -> None:
        """Do what is due before a step, counted over the whole run."""
        return None

    def step(self, *batches: tuple[Tensor, Tensor]) -> StepResult:
        """One step, with a batch (images, labels) of each of ``splits``; the result is the first one's."""
        ...

    def end_epoch(self) -> None:
        """Do what is due after the last step of an epoch, before what runs then is validated.

        A run that is stopped in between does it again, so it must come to the same.
        """
        return None

    def validated(self, scores: Scores) -> bool:
        """Take note of the scores after an epoch; whether they decide something, and so are part of the cost."""
        return False

    def report(self) -> Report:
        """What there is to say of the time since the last report."""
        return Report([], {})

    def choose(self, judge: Judge) -> Iterator[dict[str, Any] | None]:
        """After the last epoch: settle on the architecture that :meth:`genotype` is to give.

        It yields after every piece of work that :meth:`state_dict` keeps, where the run may stop and go on: a row of
        measurements.jsonl, plain values by name, or None where there is nothing to note.
        """
        yield from ()

    def beside(self) -> dict[str, AnyGenotype]:
        """Architectures to hold against the chosen one, by the names of the files in which they are kept."""
        return {}

    def weights(self) -> dict[str, nn.Module]:
        """What is kept in weights.pt."""
        return {"network": self.network}


class Finished(NamedTuple):
    """A trained network, the name of how it came about, and facts for result.json."""

    network: Network
    arch: str
    facts: dict[str, Any]


class TrainingMethod(Method[Settings], Protocol[Settings]):
    """A training of a network to the end, after a search of its own or not.

    ``folder`` is the first word of its run folders' names.
    """

    splits: ClassVar[tuple[str, ...]] = ("train",)
    folder: ClassVar[str]

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole run, as far as that is known."""
        ...

    @property
    def result(self) -> Network:
        """The network that is tested."""
        return self.network

    def describe(self, run: Run) -> None:
        """Log what a new run starts from."""
        return None

    def begin_epoch(self, epoch: int) -> tuple[float, float]:
        """Set what depends on the epoch; returns the learning rate of the weights and drop-path's probability."""
        ...

    def before_step(self, step: int, epoch: int, run: Run) -> None:
        """Do what is due before a step, counted over the whole run, and log it."""
        return None

    def num_connections(self) -> int:
        """How many connections the next step runs, each of which drop-path may leave out."""
        ...

    def step(self, x: Tensor, labels: Tensor, drop_path: Tensor | None, dropout: Tensor | None) -> StepResult:
        """Descend the loss of a batch; ``drop_path`` and ``dropout`` are what connections' outputs and the
        classifier's inputs are multiplied by."""
        ...

    def end_epoch(self, epoch: int, test_acc: float, run: Run) -> dict[str, float | None]:
        """Do and log what is due after an epoch; returns numbers by name for metrics."""
        return {}

    @property
    def settled(self) -> bool:
        """Whether the architecture is the one that will be kept."""
        return True

    def plain(self) -> Network:
        """The network as it would be kept now, its architecture being settled."""
        ...

    def finish(self, run: Run, score: Callable[[nn.Module, Callable[[Tensor], Tensor]], Scores]) -> Finished:
        """What the training leaves; ``score(network, predict)`` logs and gives scores on the test images."""
        ...

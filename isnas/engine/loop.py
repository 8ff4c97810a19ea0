"""The resumable loop of every training tool: epochs of steps, with averages, reports and checkpoints.

    loop = Loop(run, epochs, steps_in, device, {"search": search}, partial(Averages, device))
    for epoch in loop.epochs():
        for step in loop.steps():
            ...                      # one update; loop.averages.add(loss, logits, labels)
        ...                          # validate, write metrics
    for _ in loop.stages(work):
        ...                          # what comes after the last epoch, a piece at a time

A checkpoint is written before the first step, after every epoch and, when it is due, after a step. What the loop
yields next is part of it, so a run that is killed anywhere goes on at the step after its last checkpoint. Of several
processes all go through the loop in step; rank 0 writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor

from isnas.base import preemption
from isnas.base.distributed import Agreement, from_main, gathered, is_main
from isnas.base.errors import DivergedError, LostContactError, PreemptedError, UserError, lack_of_memory
from isnas.base.text import one_line, shown
from isnas.engine.checkpoint import LAST, PREVIOUS
from isnas.engine.progress import Clock, peak_memory, progress
from isnas.engine.records import Mark
from isnas.engine.run import Run

Batch = TypeVar("Batch")
Piece = TypeVar("Piece")
AnySums = TypeVar("AnySums", bound="Sums")


class Stateful(Protocol):
    """Whatever a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on, as tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Go on from there."""
        ...


class SameData:
    """Part of a checkpoint: the images or the text of the run, which a resumed one must find again, wherever it is.

    ``what`` it is, as messages call it.
    """

    def __init__(self, what: str, **facts: Any) -> None:
        self.what, self.facts = what, facts

    def state_dict(self) -> dict[str, Any]:
        """The facts, plain values by name."""
        return self.facts

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare.

        Raises:
            UserError: when it is another one, or the checkpoint does not say which it was.
        """
        if state.keys() != self.facts.keys():
            raise UserError(f"the run is of an earlier version, which did not note its {self.what}; start a new run")
        for name, value in state.items():
            if self.facts[name] != value:
                found, wanted = shown(self.facts[name]), shown(value)
                raise UserError(
                    f"the {self.what} are not those of the run: {name} {found} instead of {wanted}; fix --data"
                )


class Means(Protocol):
    """The loss, the mean of what was trained, and what else ``str`` shows of it."""

    @property
    def loss(self) -> float:
        """In nats."""
        ...


class Sums(Protocol):
    """What an epoch has summed up so far: :class:`isnas.engine.averages.Averages`, or the same of words.

    ``sums`` are this process's, ``total()`` those of all, and ``scores()`` the means; every process must ask.
    """

    sums: Tensor

    def total(self) -> Tensor:
        """The sums over all processes."""
        ...

    def scores(self) -> Means:
        """The means over all processes."""
        ...


class Loop(Generic[AnySums]):
    """Walks from the position of the run's checkpoint, or from the start, to the end of the last epoch.

    ``epoch`` and ``step`` (within the epoch) are the next ones to do, and ``global_step`` counts the steps of the whole
    run; epoch e has ``steps_in(e)``. ``averages`` is the epoch's so far, made by ``new_averages()``, and
    ``step_seconds`` what the steps of the last epoch took in this process. A loss that is no longer a number is seen
    ``at_once``, in a report or before a checkpoint, and otherwise after the last step of its epoch: a training that has
    a remedy then does the same whenever reports and checkpoints are due.
    """

    def __init__(
        self,
        run: Run,
        epochs: int,
        steps_in: Callable[[int], int],
        device: torch.device,
        parts: Mapping[str, Stateful],
        new_averages: Callable[[], AnySums],
        at_once: bool = True,
    ) -> None:
        self.run, self.num_epochs, self.steps_in, self.device = run, epochs, steps_in, device
        self.parts, self.new_averages, self.at_once = parts, new_averages, at_once
        self.epoch = self.step = self.global_step = 0
        self.averages = new_averages()
        self.clock = Clock()
        self.announced = False
        self.agree = Agreement()
        self.step_seconds = 0.0
        self.marks_before_validation: dict[str, Mark] | None = None
        self.seconds_before = 0.0
        self.start = time.monotonic()
        if run.state is None:
            run.begin()
            self.save()
        else:
            try:
                self._take_up(run.state)
            except Exception as error:
                run.records.close()
                if isinstance(error, UserError | LostContactError | OSError) or lack_of_memory(error):
                    raise
                reason = one_line(f"{type(error).__name__}: {error}")
                remedy = (
                    f"move it away to go on from {PREVIOUS}, or "
                    if run.source == LAST and (run.folder / PREVIOUS).exists()
                    else ""
                )
                raise UserError(
                    f"cannot resume {run.folder}: {run.source} does not fit the run ({reason}); {remedy}start a new run"
                ) from None
            run.state = None
            run.begin()

    def _take_up(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds, which may be anything."""
        position = [state[key] for key in ("epoch", "step", "global_step")]
        if not all(type(number) is int and 0 <= number < 2**53 for number in position):
            raise ValueError("it has no position in the run")
        self.epoch, self.step, self.global_step = position
        counted, seconds = state["averages"], state["seconds"]
        if counted.shape != self.averages.sums.shape or not isinstance(seconds, float):
            raise ValueError("it has no averages of an epoch")
        if is_main():  # what all processes have counted goes on in one of them
            self.averages.sums.copy_(counted)
        self.seconds_before = seconds
        for name, part in self.parts.items():
            expected = part.state_dict().keys()
            if not isinstance(part, SameData) and state[name].keys() != expected:
                raise ValueError(f"{name} has not the entries {', '.join(expected)}")
            part.load_state_dict(state[name])

    @property
    def seconds(self) -> float:
        """Time the run has taken, up to its last checkpoint in earlier processes and since the start in this one."""
        return self.seconds_before + time.monotonic() - self.start

    def epochs(self) -> Iterator[int]:
        """The epochs that are left; each ends with a checkpoint."""
        while self.epoch < self.num_epochs:
            self.run.records.in_epoch = True
            yield self.epoch
            self.run.records.end_epoch(self.epoch, self.time_left() if self.epoch + 1 < self.num_epochs else None)
            self.epoch, self.step = self.epoch + 1, 0
            self.averages = self.new_averages()
            self.save()

    def steps(self) -> Iterator[int]:
        """The steps that are left of the current epoch; what was trained is in ``averages``.

        Raises:
            DivergedError: when the loss is no longer finite.
        """
        report_freq = self.run.options.report_freq
        start = time.monotonic()
        for step in progress(self.step, self.steps_in(self.epoch), f"epoch {self.epoch}"):
            yield step
            self.step, self.global_step = step + 1, self.global_step + 1
            self.clock.tick()
            if step % report_freq == 0:
                self._report(step)
            self._save_or_stop(self.run.checkpoint_due())
        self.check(self.averages.scores())
        self.step_seconds = time.monotonic() - start
        self.marks_before_validation = self.run.records.marks()

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches of a validation, which a signal may stop; it begins anew, log and all, when the run goes on."""
        for batch in batches:
            yield batch
            self._save_or_stop(False, self.marks_before_validation)

    def stages(self, work: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces of ``work`` one by one, which keeps what it has done in a part of the checkpoint.

        A signal may stop it after any of them, and a run that is resumed goes on there.
        """
        for piece in work:
            yield piece
            self._save_or_stop(self.run.checkpoint_due())

    def _save_or_stop(self, save: bool, marks: dict[str, Mark] | None = None) -> None:
        """Save when it is due, and when a signal has come save and stop; all processes do so at the same step.

        Raises:
            PreemptedError: when a signal has come to any process.
        """
        wish = 2 if preemption.asked() else int(save)
        agreed = self.agree(wish)
        if agreed:
            if self.step and self.at_once:  # the last checkpoint before a loss that is not finite is to stay
                self.check(self.averages.scores())
            self.save(marks)
        if agreed == 2:
            from_main(lambda: None)  # a launcher may end rank 0, which still writes, when another process has ended
            name = preemption.asked() or "a signal to another process"
            place = f"epoch {self.epoch}, step {self.step}"
            raise PreemptedError(f"stopped by {name} at {place} and saved; --resume {self.run.folder} goes on")

    def _report(self, step: int) -> None:
        scores = self.averages.scores()
        self.run.log(f"train {step:03d} {scores}")
        if self.at_once:
            self.check(scores)
        if not self.announced:
            self.log_time_left()

    def check(self, scores: Means) -> None:
        """Stop a run whose loss is no longer a number, and say so in its log.

        Raises:
            DivergedError: when the loss is not finite.
        """
        if not math.isfinite(scores.loss):
            self._diverged(f"the loss is {scores.loss}")

    def _diverged(self, reason: str) -> NoReturn:
        message = f"training diverged: {reason} in epoch {self.epoch}"
        self.run.log(message)
        raise DivergedError(f"{message}; start a new run with a smaller --learning_rate")

    def log_time_left(self) -> None:
        """Say how long the steps that are left will take, once enough have been timed."""
        if self.epoch < self.num_epochs and (left := self.time_left()) is not None:
            self.run.log(f"time left {left}")
            self.announced = True

    def time_left(self) -> str | None:
        """That time as ``h:mm:ss``, or None while it is too early to say."""
        return self.clock.left((self.num_epochs - self.epoch) * self.steps_in(self.epoch) - self.step)

    def resources(self) -> dict[str, float]:
        """Log the time that is left and the peak of the memory; returns the time taken and that peak by name."""
        self.log_time_left()
        values = {"time/seconds": self.seconds}
        peak = peak_memory(self.device)
        if peak is not None:
            values["memory/peak_gib"], measured = peak
            self.run.log(f"peak memory {values['memory/peak_gib']:.2f} GiB ({measured})")
        return values

    def save(self, marks: dict[str, Mark] | None = None) -> None:
        """Write a checkpoint; ``marks`` as in :meth:`Run.save`.

        Raises:
            DivergedError: when the weights of a network are not finite: the checkpoint before is worth more.
        """
        networks = [part.network for part in self.parts.values() if self.at_once and hasattr(part, "network")]
        values = [value for network in networks for value in network.state_dict().values()]
        finite = not values or bool(torch.stack([value.isfinite().all() for value in values]).all())
        if not all(gathered(finite)):  # statistics may differ from process to process
            self._diverged("the weights are not finite")
        state: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        position: dict[str, Any] = {"epoch": self.epoch, "step": self.step, "global_step": self.global_step}
        position |= {"averages": self.averages.total(), "seconds": self.seconds}
        self.run.save(position | state, marks)

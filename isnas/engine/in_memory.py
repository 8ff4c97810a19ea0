"""Searches that leave nothing but their method: the same steps on the same images, without a run folder or a log."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.data.small.datasets import Dataset
from isnas.engine.averages import evaluate
from isnas.engine.harness_options import NetworkTrainingOptions, SearchOptions
from isnas.engine.method import SearchMethod, Setting, TrainingMethod
from isnas.engine.preparing import Prepared, judge_of, prepare
from isnas.engine.records import NoRecords
from isnas.engine.run import Run, set_up
from isnas.engine.training import make_targets, step_of, training_images
from isnas.train.stepping import Stepping, StepResult


def search_in_memory(
    kind: type[SearchMethod[Any]],
    options: SearchOptions,
    dataset: Dataset,
    watch: Callable[[Any], None] = lambda method: None,
) -> Prepared:
    """A search with its images; its ``method`` has finished, and is what it is in :func:`isnas.engine.search.search`.

    A method that takes note of scores is validated after every epoch, as there, and others are not. ``watch`` is shown
    the method before every step, when it is decided what runs, and after the last one.

    Raises:
        UserError: for a mistake of the user's, or when the training diverges.
    """
    device = set_up(options)
    kind.check(options)
    prepared = prepare(kind, options, dataset, device)
    method, setting, valid = prepared.method, prepared.setting, prepared.valid
    takes_note = kind.validated is not SearchMethod.validated
    done = 0
    for epoch in range(method.num_epochs):
        method.begin_epoch(epoch)
        method.network.train()
        losses = _Losses(device)
        for _ in range(setting.steps_in(epoch)):
            method.before_step(done)
            watch(method)
            losses.add(method.step(*prepared.drawn(done)))
            done += 1
        losses.check(epoch)
        method.end_epoch()
        if takes_note:
            method.network.eval()
            scores = evaluate(lambda x: method.predict(x).logits, valid.epoch(), device)
            if method.validated(scores):
                setting.stepping.cost.add_scored(valid.num_images)
        method.report()
    watch(method)
    for _ in method.choose(judge_of(prepared)):
        pass
    return prepared


def train_in_memory(
    kind: type[TrainingMethod[Any]], options: NetworkTrainingOptions, dataset: Dataset, until_settled: bool = False
) -> TrainingMethod[Any]:
    """The method ``kind`` after the last epoch of :func:`isnas.engine.training.train`; nothing is tested.

    With ``until_settled`` it is that after the epoch with which its architecture was fixed.

    Raises:
        UserError: for a mistake of the user's, or when the training diverges.
    """
    device = set_up(options)
    kind.check(options)
    info = dataset.info
    options.check_images(info.image_size, options.auxiliary)
    training, *_ = training_images(options, dataset, device)
    sizes, stepping, steps = options.sizes(info.channels, info.num_classes), Stepping(options, device), len(training)
    method = kind.build(options, Setting(options.make_space(), sizes, info, stepping, lambda epoch: steps))
    targets = make_targets(options, dataset, device)
    run, epoch = _NoFolder(options), 0
    while epoch < method.num_epochs and not (until_settled and method.settled):
        _, drop_path = method.begin_epoch(epoch)
        method.network.train()
        losses = _Losses(device)
        for step in range(steps):
            method.before_step(epoch * steps + step, epoch, run)
            result, _ = step_of(method, options, training, targets, epoch, step, drop_path)
            losses.add(result)
        losses.check(epoch)
        method.end_epoch(epoch, math.nan, run)
        epoch += 1
    return method


class _NoFolder(Run):
    """What a training writes to is not kept."""

    def __init__(self, options: NetworkTrainingOptions) -> None:
        super().__init__(Path(), options, None, NoRecords(), ())

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write nothing."""


class _Losses:
    """The sum of an epoch's losses, on the device."""

    def __init__(self, device: torch.device) -> None:
        self.total = torch.zeros((), device=device)

    def add(self, result: StepResult) -> None:
        """Count a step's."""
        self.total += result.loss

    def check(self, epoch: int) -> None:
        """See that all were finite.

        Raises:
            UserError: when one was not.
        """
        if not math.isfinite(self.total.item()):
            raise UserError(
                f"training diverged: the loss is not finite in epoch {epoch}; start anew with a smaller --learning_rate"
            )

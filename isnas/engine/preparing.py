"""What a search has before its first step, and the measure of its choice: the same with a run folder or without."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isnas.data.small.batches import Batches, augmentation
from isnas.data.small.datasets import Dataset
from isnas.data.splits import Splits, in_mixed_order, split_by_purpose
from isnas.engine.averages import Scores, evaluate
from isnas.engine.harness_options import SearchOptions
from isnas.engine.method import Judge, SearchMethod, Setting
from isnas.train.stepping import Stepping


class Prepared(NamedTuple):
    """The images by purpose, and the method at its start.

    ``trained``: of each part from which a step takes a batch; ``valid``: those that choose, ``judging`` the same in an
    order in which a few are of all classes; ``options``: those of the search that the budget is enough for.
    """

    parts: Splits
    trained: list[Batches]
    valid: Batches
    judging: Batches
    held_out: Batches
    options: SearchOptions
    setting: Setting
    method: SearchMethod[Any]

    def drawn(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """The batches of a step, counted over the whole search."""
        return [split.batch(*divmod(step, len(split))) for split in self.trained]


def prepare(kind: type[SearchMethod[Any]], options: SearchOptions, dataset: Dataset, device: torch.device) -> Prepared:
    """A search by the method ``kind`` on these images before its first step.

    Raises:
        UserError: when the images cannot be divided or are too small, or the budget is.
    """
    info = dataset.info
    options.check_images(info.image_size, options.with_auxiliary)
    portions = options.train_portion, options.held_out_portion
    parts = split_by_purpose(dataset.train.labels, *portions, options.seed, options.split)
    batches = partial(Batches, dataset.train, batch_size=options.batch_size, seed=options.seed, device=device)
    trained = [
        batches(indices=vars(parts)[name], purpose=name, augment=augmentation(options, info)) for name in kind.splits
    ]
    valid = batches(indices=parts.train_b, purpose="valid", augment=None)
    mixed = in_mixed_order(parts.train_b, dataset.train.labels, options.seed)
    judging = valid if mixed is parts.train_b else batches(indices=mixed, purpose="valid", augment=None)
    held_out = batches(indices=parts.held_out, purpose="held_out", augment=None)

    planned, num_steps, total = options, len(trained[0]), None
    if options.budget:
        planned, total = kind.within_budget(options, valid.num_images, num_steps)

    def steps_in(epoch: int) -> int:
        return num_steps if total is None else min(num_steps, total - epoch * num_steps)

    sizes, stepping = options.sizes(info.channels, info.num_classes), Stepping(options, device)
    setting = Setting(options.make_space(), sizes, info, stepping, steps_in)
    method = kind.build(planned, setting)
    return Prepared(parts, trained, valid, judging, held_out, planned, setting, method)


def judge_of(prepared: Prepared) -> Judge:
    """What measures an architecture for the method's choice, and counts what that costs."""
    judging, stepping, batch_size = prepared.judging, prepared.setting.stepping, prepared.options.batch_size

    def judge(
        predict: Callable[[Tensor], Tensor], num_batches: int | None, first: int = 0, whole: bool = False
    ) -> Scores:
        images = judging.num_images
        there = max(1, images // batch_size) if whole else len(judging)
        count = there if num_batches is None else min(num_batches, there)
        places = [step % there for step in range(first, first + count)]
        stepping.cost.add_scored(sum(min(batch_size, images - place * batch_size) for place in places))
        prepared.method.network.eval()
        return evaluate(predict, (judging.batch(0, place) for place in places), stepping.device)

    return judge

"""Images divided by class: training from test, a share of the training images, and these by purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.base.random import generator


@dataclass(frozen=True, eq=False)
class Splits:
    """Disjoint sorted index tensors, int64, that together cover the training set.

    ``train_w`` is for the network's weights, ``train_b`` for the architecture variables, and ``held_out``, which may
    be empty, for choosing and reporting.
    """

    train_w: Tensor
    train_b: Tensor
    held_out: Tensor


def split_by_purpose(
    labels: Tensor, train_portion: float, held_out_portion: float, seed: int, how: str = "stratified"
) -> Splits:
    """Split N images at random, stratified by class, or as they lie.

    First ``held_out_portion`` of the images are held out, then ``train_portion`` of the others become ``train_w`` and
    the rest ``train_b``. Each share is rounded once for all classes together, and no class is off its own exact share
    by a whole image. ``in_order`` the first images are held out, the next ones are ``train_w`` and the last
    ``train_b``, whatever their classes.

    Args:
        labels: Class of each image, int64 (N,).
        train_portion: Share of ``train_w`` in what is not held out, in (0, 1).
        held_out_portion: Share of ``held_out``, in [0, 1).
        seed: The run's seed, which decides nothing about a split in order.
        how: One of :data:`SPLITS`.

    Raises:
        UserError: for a portion outside its interval, or one that leaves a part without images, or a split in order of
            images that lie class by class.
    """
    if not 0 < train_portion < 1:
        raise UserError(f"the train portion must be greater than 0 and less than 1, not {train_portion}")
    if not 0 <= held_out_portion < 1:
        raise UserError(f"the held-out portion must be at least 0 and less than 1, not {held_out_portion}")
    if how == "in_order":
        grouped, counts, classes = torch.arange(len(labels)), torch.tensor([len(labels)]), torch.zeros_like(labels)
    else:
        shuffled = torch.randperm(len(labels), generator=generator(seed, "split"))
        grouped = shuffled[labels[shuffled].argsort(stable=True)]
        counts, classes = torch.bincount(labels), labels[grouped]
    num_held_out = _shares(counts, held_out_portion)
    num_train_w = _shares(counts - num_held_out, train_portion)
    rank = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[classes]
    held_out = rank < num_held_out[classes]
    train_b = rank >= (num_held_out + num_train_w)[classes]
    parts = {"train_w": ~held_out & ~train_b, "train_b": train_b, "held_out": held_out}
    for name, part in parts.items():
        if not part.any() and (name != "held_out" or held_out_portion > 0):
            raise UserError(
                f"{len(labels)} images leave none for {name} with a train portion of {train_portion} and a held-out "
                f"portion of {held_out_portion}; change the portions"
            )
        if how == "in_order" and name != "held_out" and len(labels[part].unique()) < len(labels.unique()):
            raise UserError(f"--split in_order leaves {name} without a class, as the images lie; leave it out")
    return Splits(**{name: grouped[part].sort().values for name, part in parts.items()})


def in_mixed_order(indices: Tensor, labels: Tensor, seed: int) -> Tensor:
    """The same images, int64 (M,), so that some from anywhere are of all classes.

    That is as they lie, and at random where they lie class by class, as those in folders do. ``labels`` (N,) are all
    images' classes.
    """
    own = labels[indices]
    if bool((own[1:] < own[:-1]).any()):
        return indices
    return indices[torch.randperm(len(indices), generator=generator(seed, "mixed order"))]


def stratified_fifth(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images and of the fixed fifth of every class that is the test set, both shuffled.

    Args:
        labels: Class of each image (N,), with at least 5 images of each class.
    """
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    return train, test


def choose_stratified(labels: Tensor, count: int) -> Tensor:
    """Indices, sorted, int64 (count,), of a fixed random choice of images in the proportions of their classes.

    Raises:
        UserError: when there are fewer images than ``count``.
    """
    if count > len(labels):
        raise UserError(f"--max_train_images {count} is more than the {len(labels)} training images; leave it out")
    shuffled = torch.randperm(len(labels), generator=generator(0, "subset"))
    grouped = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    rank = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[grouped]]
    return grouped[rank < _shares(counts, count / len(labels))[labels[grouped]]].sort().values


def _shares(counts: Tensor, portion: float) -> Tensor:
    """``portion`` of each count, rounded down or up so that the sum is ``portion`` of the total (largest remainder)."""
    exact = portion * counts.double()
    shares = exact.floor()
    missing = round(portion * int(counts.sum())) - int(shares.sum())
    shares[(exact - shares).argsort(descending=True, stable=True)[:missing]] += 1
    return shares.long()

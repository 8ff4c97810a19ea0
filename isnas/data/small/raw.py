"""What a loader hands over: the two parts of a dataset as its files hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from isnas.base.errors import UserError

Part = tuple[Tensor, Tensor]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]

#: What a dataset may take in memory, both parts together.
MEMORY_LIMIT_BYTES = 8 * 2**30


@dataclass(frozen=True, eq=False)
class RawDataset:
    """Training and test images, each uint8 (N, H, W, C) with H = W and labels int64 (N,), and facts about them.

    ``flip`` says whether a mirrored image keeps its class, ``statistics`` are published mean and standard deviation
    per channel (None: to be taken from the training images), ``image_size`` is the side to scale the images to unless
    the user names one (None: the side they have).
    """

    train: Part
    test: Part
    classes: tuple[str, ...]
    flip: bool = True
    statistics: Statistics | None = None
    image_size: int | None = None


def stratified_fifth(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images and of the fixed fifth of every class that is the test set, both shuffled.

    Args:
        labels: Class of each image (N,), with at least 5 images of each class.
    """
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    return train, test


def require_memory(count: int, image_size: int, channels: int) -> None:
    """Raise a :class:`UserError` when ``count`` images exceed :data:`MEMORY_LIMIT_BYTES`, before they are made."""
    gib, limit = (size / 2**30 for size in (count * image_size**2 * channels, MEMORY_LIMIT_BYTES))
    if gib <= limit:
        return
    largest = int((MEMORY_LIMIT_BYTES / (count * channels)) ** 0.5) // 4 * 4
    remedy = f"choose an --image_size of at most {largest}" if largest >= 8 else "use fewer images"
    raise UserError(
        f"{count:,} images of {image_size} x {image_size} x {channels} bytes take {gib:.1f} GiB, more than the "
        f"{limit:g} GiB that a dataset may take in memory; {remedy}"
    )

"""What is known of a dataset once its files are read, whether its images are in memory or streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetInfo:
    """What a network and an augmentation need to know of a dataset.

    ``mean`` and ``std`` are per channel, of pixels scaled to [0, 1]. ``flip`` says whether an image may be mirrored
    left to right: a mirrored shoe is a shoe, a mirrored digit is no digit.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    flip: bool

    def facts(self, **counts: int) -> dict[str, Any]:
        """What must be the same when a run goes on, as plain values; ``counts`` are numbers of images."""
        return {"classes": list(self.classes), "mean": list(self.mean), "std": list(self.std)} | counts

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __str__(self) -> str:
        size = f"{self.image_size} x {self.image_size}"
        return f"{self.name}, {self.num_classes} classes, {size} pixels, {self.channels} channels"

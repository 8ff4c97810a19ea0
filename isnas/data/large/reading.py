"""Parts of batches read on the host: which images of an epoch's order, cropped and mirrored, what could not be read."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.base.text import one_line
from isnas.data.dataset_info import DatasetInfo
from isnas.data.decoding import limit_megapixels, megapixels_limit
from isnas.data.large.crops import Draws, decode_crop, draw, evaluation_chooser, training_chooser
from isnas.data.large.encoded import EncodedImages
from isnas.data.large.jitter import jitter_factors


@dataclass(frozen=True, eq=False)
class StreamedSet:
    """Images that are read when they are needed, as :class:`isnas.data.small.datasets.ImageSet` is those in memory.

    ``chosen`` are the numbers of those that belong to the set, sorted, int64; None means all of ``source``.
    """

    source: EncodedImages
    chosen: Tensor | None
    info: DatasetInfo

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labels(self) -> Tensor:
        """The class of each image, int64 (N,)."""
        return self.source.labels if self.chosen is None else self.source.labels[self.chosen]

    @property
    def digest(self) -> str:
        """Says whether another set has the same images in the same order, as far as its source can tell cheaply."""
        chosen = b"" if self.chosen is None else self.chosen.numpy().tobytes()
        return hashlib.sha256(self.source.digest.encode() + chosen).hexdigest()[:16]


@dataclass(frozen=True)
class StreamAugmentation:
    """A random resized crop, which every training image gets, a mirror image, and changed colours, in this order."""

    flip: bool = True
    color_jitter: bool = True


class Part(NamedTuple):
    """A process's part of a batch, from the host.

    Pixels uint8 (n, S, S, 3), mirrored already, labels int64 (n,), factors float32 (n, 4) and order int64 (n, 4) of the
    colour jitter, and the numbers of images that could not be read with the reasons. ``error`` ends the run.
    """

    pixels: Tensor
    labels: Tensor
    factors: Tensor
    order: Tensor
    bad: list[tuple[int, str]]
    error: str


class PartReader(Dataset):
    """What a worker does: from places (epoch, first, last) in an epoch's order to a :class:`Part`.

    In training the place of an image that cannot be read is taken by the next of the order that can; in an evaluation
    it is left out.
    """

    def __init__(
        self, images: StreamedSet, seed: int, purpose: str, augment: StreamAugmentation | None, max_bad_images: int
    ) -> None:
        self.images, self.seed, self.purpose, self.augment = images, seed, purpose, augment
        self.max_bad_images, self.num_images = max_bad_images, len(images)
        self.max_megapixels = megapixels_limit()  # as it is where the reader is made, also for workers elsewhere
        self.bad: set[int] = set()
        self._order: tuple[int, Tensor] | None = None

    def __getitem__(self, places: tuple[int, int, int]) -> Part:
        epoch, first, last = places
        limit_megapixels(self.max_megapixels)
        size = self.images.info.image_size
        pixels = torch.empty(last - first, size, size, 3, dtype=torch.uint8)
        read: list[int] = []
        draws: list[Draws] = []
        bad: list[tuple[int, str]] = []
        error = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the decoders warn of harmless oddities
                for place in range(first, last):
                    for number, drawn in self._candidates(epoch, place):
                        if self._read(number, drawn, pixels.numpy()[len(read)], bad):
                            read.append(number)
                            draws += [drawn] if drawn else []
                            break
        except UserError as fault:
            error = str(fault)
        uniform = torch.tensor([each.jitter for each in draws]).view(-1, 4)
        order = torch.tensor([each.order for each in draws], dtype=torch.float64).view(-1, 4).argsort(1)
        labels = self.images.source.labels[torch.tensor(read, dtype=torch.int64)]
        return Part(pixels[: len(read)], labels, jitter_factors(uniform), order, bad, error)

    def _candidates(self, epoch: int, place: int) -> Iterator[tuple[int, Draws | None]]:
        """The image at a place and, in training, those after it, each with its random numbers."""
        order = self._order_of(epoch)
        if self.augment is None:
            yield int(order[place]), None
            return
        for further in range(self.num_images):
            if len(self.bad) > self.max_bad_images:  # the run ends here
                return
            number = int(order[(place + further) % self.num_images])
            yield number, draw(self.seed, self.purpose, epoch, number)
        raise UserError(f"none of the images for {self.purpose} can be read; are they all there?")

    def _read(self, number: int, drawn: Draws | None, pixels: np.ndarray, bad: list[tuple[int, str]]) -> bool:
        """Whether an image can be read; then it is in ``pixels``, and else known as bad."""
        if number in self.bad:
            return False
        size = len(pixels)
        try:
            data = self.images.source.read(number)
            if drawn and self.augment:
                pixels[:] = decode_crop(data, training_chooser(drawn), size, drawn.flip and self.augment.flip)
            else:
                pixels[:] = decode_crop(data, evaluation_chooser(size), size, flip=False)
            return True
        except (UserError, MemoryError):
            raise
        except Exception as fault:  # the decoders raise many kinds for a damaged file
            self.bad.add(number)
            reason = getattr(fault, "strerror", None) or one_line(fault)
            bad.append((number, "it is not an image" if isinstance(fault, UnidentifiedImageError) else reason))
            return False

    def _order_of(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._ordered(epoch)
        return self._order[1]

    def _ordered(self, epoch: int) -> Tensor:
        source, chosen = self.images.source, self.images.chosen
        if self.augment is None:
            return torch.arange(len(source)) if chosen is None else chosen
        order = source.shuffled(generator(self.seed, "order", self.purpose, epoch))
        if chosen is None:
            return order
        wanted = torch.zeros(len(source), dtype=torch.bool)
        wanted[chosen] = True
        return order[wanted[order]]

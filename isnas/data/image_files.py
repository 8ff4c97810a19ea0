"""Image files of the user's, cut, scaled and normalised as the test images of a dataset are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.data.catalogue import CATALOGUE
from isnas.data.data_options import StreamOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.large.crops import EVALUATION_SCALE
from isnas.data.large.reading import StreamedSet
from isnas.data.large.streams import StreamedBatches
from isnas.data.small.batches import Batches
from isnas.data.small.datasets import ImageSet, luma
from isnas.data.small.folders import read_images

SQUARE, CROP = "centre square", "centre crop"

#: How a test image gets its size, by the name that is stored with a network; the filter is bilinear and antialiased.
#: In both the shorter side is scaled, and the centre is cut out.
GEOMETRIES = {
    SQUARE: "the centre square of the image, scaled to the size of the network's images; datasets in memory",
    CROP: "its shorter side scaled to 256/224 of that size, then the centre; streamed datasets",
}


def geometry_of(dataset: str) -> str:
    """How the test images of a dataset of the catalogue get their size."""
    return CROP if CATALOGUE[dataset].streamed else SQUARE


def shorter_side(geometry: str, size: int) -> int:
    """To how many pixels the shorter side of an image is scaled, of which the centre ``size`` x ``size`` is seen."""
    return round(size * EVALUATION_SCALE) if geometry == CROP else size


def load_files(
    paths: Sequence[Path], geometry: str, info: DatasetInfo, grey: bool, device: torch.device | str
) -> Tensor:
    """Image files as a network takes them, float32 (N, C, S, S), to the last bit as a test of them has them.

    ``grey``: whether the network was trained on colour images that were turned into grey ones. The headers of the files
    have been read before, for pixels that are refused.

    Raises:
        UserError: for the first file that is unreadable, damaged or not an image.
    """
    labels = torch.zeros(len(paths), dtype=torch.int64)
    if geometry == SQUARE:
        pixels = (
            luma(read_images(paths, info.image_size, 3)) if grey else read_images(paths, info.image_size, info.channels)
        )
        return Batches(ImageSet(pixels, labels, info), None, len(paths), 0, "predict", None, device).batch(0, 0)[0]
    images = StreamedSet(_Files(paths, labels), None, info)
    options = StreamOptions(workers=0)
    batches = StreamedBatches(images, None, len(paths), 0, "predict", None, device, options, len(paths))
    x, _ = batches.batch(0, 0)
    if bad := batches.share_bad_images():
        others = f", nor {len(bad) - 1} others" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}: it cannot be decoded{others}; replace it with a whole image, or remove it")
    return x


class _Files:
    """Files by their paths, as a source of streamed images."""

    def __init__(self, paths: Sequence[Path], labels: Tensor) -> None:
        self.paths, self.labels = paths, labels

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(map(str, self.paths)).encode(errors="surrogateescape")).hexdigest()[:16]

    def name(self, number: int) -> str:
        return str(self.paths[number])

    def read(self, number: int) -> bytes:
        return self.paths[number].read_bytes()

    def shuffled(self, rng: torch.Generator) -> Tensor:
        return torch.randperm(len(self), generator=rng)

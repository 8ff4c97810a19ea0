"""Image files of the user's, cut, scaled and normalised as the test images of a dataset are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.data.catalogue import CATALOGUE
from isnas.data.class_folders import left_behind
from isnas.data.data_options import StreamOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.decoding import SUFFIXES
from isnas.data.large.crops import EVALUATION_SCALE
from isnas.data.large.reading import StreamedSet
from isnas.data.large.streams import StreamedBatches
from isnas.data.small.batches import Batches
from isnas.data.small.datasets import ImageSet, luma
from isnas.data.small.folders import read_headers, read_images

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


def find_images(names: Sequence[str]) -> list[str]:
    """The names of image files: those that are given, and of a folder all images below it, sorted.

    What a system or a program has left in a folder for itself is passed over.

    Raises:
        UserError: when a folder holds no image, or cannot be read.
    """
    found: list[str] = []
    for name in names:
        if not os.path.isdir(name):
            found.append(name)
            continue
        below: list[str] = []
        for place, folders, files in os.walk(name, onerror=_refuse):
            folders[:] = sorted(folder for folder in folders if not left_behind(folder))
            known = (file for file in files if os.path.splitext(file)[1].lower() in SUFFIXES)
            below += sorted(os.path.join(place, file) for file in known if not left_behind(file))
        if not below:
            raise UserError(f"the folder {name} holds no image; give another one, or image files")
        found += below
    return found


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot read {error.filename}: {error.strerror}")


def load_readable(
    paths: Sequence[Path], geometry: str, info: DatasetInfo, grey: bool, device: torch.device | str
) -> tuple[Tensor, dict[Path, str]]:
    """Those of :func:`load_files` that can be read, in their order, and what is wrong with each of the others."""
    loaded: list[Tensor] = []
    bad: dict[Path, str] = {}
    for path in paths:
        try:
            read_headers([path])
            loaded.append(load_files([path], geometry, info, grey, device))
        except UserError as error:
            bad[path] = str(error)
    size = info.image_size
    return torch.cat(loaded) if loaded else torch.empty(0, info.channels, size, size, device=device), bad


def preprocessing(geometry: str, info: DatasetInfo, grey: bool) -> dict[str, Any]:
    """All that is done to an image file before the network sees it, in the order in which it is done, as plain values.

    A program that does the same with Pillow gives the network the same bytes.
    """
    draft = {
        SQUARE: "Image.draft(None, (2 * size, 2 * size)): at the most a half, a quarter or an eighth",
        CROP: "where the crop has 4 times size or more: at a half, a quarter or an eighth, at least twice size",
    }
    square = "the centre square of the decoded image, as Pillow's box of whole image pixels or parts of them"
    short = shorter_side(geometry, info.image_size)
    crop = f"of the image with its shorter side scaled to {short} the centre {info.image_size} x {info.image_size}"
    mode = "L" if info.channels == 1 and not grey else "RGB"
    return {
        "frame": 0,
        "jpeg": draft[geometry],
        "bits": "grey levels of 16 bits are scaled to 8: (level * 255 + 32767) // 65535",
        "transparency": "alpha_composite over white",
        "mode": mode,
        "box": square if geometry == SQUARE else crop,
        "size": info.image_size,
        "resize": "Pillow's resize((size, size), BILINEAR, box), which is antialiased",
        "exif_orientation": "turned upright, after the resize, as ImageOps.exif_transpose does",
        "grey": "(299 R + 587 G + 114 B + 500) // 1000, after the resize" if grey else None,
        "range": "byte / 255",
        "layout": f"float32 (batch, {info.channels}, size, size)" + (", R G B" if info.channels == 3 else ""),
        "normalise": "(value - mean) / std for each channel, unless the file does it, as input says",
    }


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

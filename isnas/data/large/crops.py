"""Crops of encoded images as bytes: where they lie, drawn per image, and decoding no more than they need."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile

from isnas.base.random import generator
from isnas.data.decoding import UnsuitableImageError, opaque, turn_of, use_image

#: Random resized crops: the share of the image's area, and width over height.
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)

#: An evaluation scales the shorter side of an image to 256 pixels for a centre crop of 224, and so for other sizes.
EVALUATION_SCALE = 256 / 224

_ATTEMPTS = 10
_NUM_DRAWS = 2 * _ATTEMPTS + 2 + 1 + 4 + 4


class Draws(NamedTuple):
    """The random numbers of one image in one epoch, all uniform in [0, 1) but ``flip``.

    ``areas`` and ``ratios`` are of ten attempts to place a crop, ``top`` and ``left`` of its corner, ``jitter`` of the
    factors for brightness, contrast, saturation and hue, and ``order`` are keys: the four changes come in the order in
    which their keys ascend.
    """

    areas: list[float]
    ratios: list[float]
    top: float
    left: float
    flip: bool
    jitter: list[float]
    order: list[float]


class Box(NamedTuple):
    """A part of an image in pixels; ``alone`` when nothing beyond its border may show in it."""

    left: float
    top: float
    right: float
    bottom: float
    alone: bool


#: From the width and the height of an image, the part of it that is wanted.
Chooser = Callable[[int, int], Box]


def draw(seed: int, purpose: str, epoch: int, sample: int) -> Draws:
    """The random numbers of one image, a function of the arguments alone."""
    rng = generator(seed, "augment", purpose, epoch, sample)
    numbers = torch.rand(_NUM_DRAWS, dtype=torch.float64, generator=rng).tolist()
    top, left, flip = numbers[2 * _ATTEMPTS : 2 * _ATTEMPTS + 3]
    areas, ratios = numbers[:_ATTEMPTS], numbers[_ATTEMPTS : 2 * _ATTEMPTS]
    return Draws(areas, ratios, top, left, flip < 0.5, numbers[-8:-4], numbers[-4:])


def random_box(draws: Draws, width: int, height: int) -> Box:
    """A crop of 8 to 100 % of the area, 3:4 to 4:3, uniform in area and log ratio; torchvision's RandomResizedCrop.

    The first of ten attempts that fits into the image counts, its corner uniform over all places. If none does, it
    is the largest centre crop whose ratio, the image's own as far as possible, is within the bounds.
    """
    low, high = (math.log(ratio) for ratio in RATIO)
    for area, ratio in zip(draws.areas, draws.ratios):
        pixels = width * height * (SCALE[0] + area * (SCALE[1] - SCALE[0]))
        shape = math.exp(low + ratio * (high - low))
        w, h = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draws.left * (width - w + 1)), int(draws.top * (height - h + 1))
            return Box(left, top, left + w, top + h, alone=True)
    w, h = width, height
    if width / height < RATIO[0]:
        h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(height * RATIO[1])
    left, top = (width - w) // 2, (height - h) // 2
    return Box(left, top, left + w, top + h, alone=True)


def centre_box(size: int, width: int, height: int) -> Box:
    """The centre ``size`` x ``size`` of the image with its shorter side at 256/224 of that, in the image's own pixels.

    The sides of the scaled image and the corner are whole numbers, as in torchvision's Resize and CenterCrop.
    """
    short = round(size * EVALUATION_SCALE)
    if width <= height:
        scaled_width, scaled_height = short, int(short * height / width)
    else:
        scaled_width, scaled_height = int(short * width / height), short
    left, top = round((scaled_width - size) / 2), round((scaled_height - size) / 2)
    x, y = width / scaled_width, height / scaled_height
    return Box(left * x, top * y, (left + size) * x, (top + size) * y, alone=False)


def training_chooser(draws: Draws) -> Chooser:
    """:func:`random_box` of these draws."""
    return partial(random_box, draws)


def evaluation_chooser(size: int) -> Chooser:
    """:func:`centre_box` of this size."""
    return partial(centre_box, size)


def decode_crop(data: bytes, choose: Chooser, size: int, flip: bool) -> np.ndarray:
    """A part of an encoded image scaled to ``size``, mirrored left to right or not, uint8 (size, size, 3).

    The filter is Pillow's, bilinear and antialiased. A JPEG of whose sides the part has 4 times ``size`` or more is
    decoded at a half, a quarter or an eighth, the part at least twice ``size``: several times as fast, and levels
    differ by less than 1 on average. EXIF orientation, grey levels, palettes, CMYK and transparency are as in
    :mod:`isnas.data.decoding`.

    Raises:
        Exception: of many kinds, from Pillow, when the image is damaged or not an image; a ValueError when it has more
            pixels than are allowed, or pixels whose range it does not tell.
    """

    def part_of(image: ImageFile.ImageFile) -> np.ndarray:
        width, height = image.size
        left, top, right, bottom, alone = choose(width, height)
        reduction = min(right - left, bottom - top) // (2 * size)
        drafted = image.draft(None, (int(width // reduction), int(height // reduction))) if reduction >= 2 else None
        if drafted:
            x, y = drafted[1][2] / width, drafted[1][3] / height
            left, top, right, bottom, alone = left * x, top * y, right * x, bottom * y, False
        whole, turn = opaque(image), turn_of(image)
        part = whole if whole.mode == "RGB" else whole.convert("RGB")
        box: tuple[float, float, float, float] | None = (left, top, right, bottom)
        if alone:
            part, box = part.crop(box), None
        part = part.resize((size, size), Image.Resampling.BILINEAR, box)
        for change in (turn, Image.Transpose.FLIP_LEFT_RIGHT if flip else None):
            part = part if change is None else part.transpose(change)
        return np.asarray(part)

    try:
        return use_image(io.BytesIO(data), part_of)
    except UnsuitableImageError as error:
        raise ValueError(f"it {error}") from None

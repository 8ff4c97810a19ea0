"""One image file as square bytes: which files are images, what their headers say, and their pixels.

An image is turned as its EXIF orientation says. Grey levels of 16 bits are scaled to 8, whatever is transparent is
laid over white, palettes, CMYK and other colour spaces become RGB. Of several frames or pages the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from isnas.base.errors import UserError

#: Suffixes of the files that are taken for images, in lower case.
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif")
)

_GREY = frozenset(("1", "L", "LA"))
_GREY_16_BIT = frozenset(("I;16", "I;16L", "I;16B", "I;16N"))

#: What undoes each EXIF orientation but 1, which is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Header(NamedTuple):
    """What an image is before it is decoded: the shorter of its sides in pixels, whether it is square and grey."""

    shorter_side: int
    is_square: bool
    is_grey: bool


def read_header(path: Path) -> Header:
    """The header of an image file; grey is what the file stores as grey levels, not what merely looks grey.

    Raises:
        UserError: when the file is unreadable, not an image, or of pixels whose range it does not tell.
    """
    with _opened(path) as image:
        is_grey = image.mode in _GREY or has_16_bits(image)
        if image.mode in ("I", "F") and not is_grey:
            raise UserError(f"{path} has pixels of 32 bits, whose range is not known; save it with 8 or 16 bits")
        return Header(min(image.size), image.width == image.height, is_grey)


def read_pixels(path: Path, size: int, channels: int) -> np.ndarray:
    """The centre square of an image file scaled to ``size``, uint8 (size, size, channels), channels being 1 or 3.

    The filter is bilinear and antialiased. A JPEG whose sides are 4 times ``size`` or more is decoded at a half, a
    quarter or an eighth of them, at least twice ``size``: several times as fast, and levels differ by less than 1 on
    average.

    Raises:
        UserError: when the file is unreadable, truncated, corrupt or not an image.
    """
    with _opened(path) as image:
        drafted = image.draft(None, (2 * size, 2 * size))
        image.load()
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        whole = from_16_bits(image) if has_16_bits(image) else over_white(image)
        width, height = drafted[1][2:] if drafted else image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        whole = whole.convert("L" if channels == 1 else "RGB")
        square = whole.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        return np.asarray(square.transpose(turn) if turn is not None else square).reshape(size, size, channels)


def has_16_bits(image: Image.Image) -> bool:
    """Whether its levels are 0..65535; a portable grey map has them in pixels of 32 bits."""
    return image.mode in _GREY_16_BIT or (image.mode == "I" and image.format == "PPM")


def from_16_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits scaled to 8."""
    levels = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8))


def over_white(image: Image.Image) -> Image.Image:
    """What is transparent laid over white; any other image as it is."""
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image, not yet decoded; whatever goes wrong with it in the block is a :class:`UserError` naming the file."""
    try:
        with Image.open(path) as image:
            yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image; replace it, or remove it") from None
    except Exception as error:  # the decoders raise many kinds for a damaged file
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        raise UserError(f"{path} cannot be decoded ({error}); replace it with a whole image, or remove it") from None

"""One image file as square bytes: which files are images, what their headers say, and their pixels.

An image is turned as its EXIF orientation says. Grey levels of 16 bits are scaled to 8, whatever is transparent is
laid over white, palettes, CMYK and other colour spaces become RGB. Of several frames or pages the first counts.
Metadata that cannot be read is as if it were not there.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from isnas.base.errors import UserError
from isnas.base.text import one_line
from isnas.data.data_options import MAX_MEGAPIXELS
from isnas.data.image_bytes import is_whole_png, require_checksums, without_metadata

Result = TypeVar("Result")

#: The formats that are read, by Pillow's names, with the suffixes of their files in lower case. A file is of the format
#: of its content, whatever its suffix, but of none besides these: some of Pillow's start programs.
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "AVIF": (".avif",),
}

#: Suffixes of the files that are taken for images, in lower case.
SUFFIXES = frozenset(itertools.chain.from_iterable(FORMATS.values()))

_max_megapixels = MAX_MEGAPIXELS

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit only warns, or cannot be raised

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339

_GREY = frozenset(("1", "L", "LA", "La"))
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


class UnsuitableImageError(ValueError):
    """A whole image that is not to be used; the message goes on after its name, and says what to do."""


def limit_megapixels(most: int) -> None:
    """Refuse images of more than ``most`` million pixels in this process from now on."""
    global _max_megapixels
    _max_megapixels = most


def megapixels_limit() -> int:
    """What :func:`limit_megapixels` was told last, or :data:`MAX_MEGAPIXELS`."""
    return _max_megapixels


def read_header(path: Path) -> Header:
    """The header of an image file; grey is what the file stores as grey levels, not what merely looks grey.

    Raises:
        UserError: when the file is unreadable, not an image, of more pixels than are allowed, or of pixels whose range
            it does not tell.
    """

    def header(image: ImageFile.ImageFile) -> Header:
        is_grey = image.mode in _GREY or _has_16_bits(image) or _packing(image).startswith("LA")
        return Header(min(image.size), image.width == image.height, is_grey)

    return _read(path, header)


def read_pixels(path: Path, size: int, channels: int) -> np.ndarray:
    """The centre square of an image file scaled to ``size``, uint8 (size, size, channels), channels being 1 or 3.

    The filter is bilinear and antialiased. A JPEG whose sides are 4 times ``size`` or more is decoded at a half, a
    quarter or an eighth of them, at least twice ``size``: several times as fast, and levels differ by less than 1 on
    average.

    Raises:
        UserError: as :func:`read_header`, and when the file is truncated or corrupt.
    """

    def pixels(image: ImageFile.ImageFile) -> np.ndarray:
        drafted = image.draft(None, (2 * size, 2 * size))
        whole, turn = opaque(image), turn_of(image)
        width, height = drafted[1][2:] if drafted else image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        whole = whole.convert("L" if channels == 1 else "RGB")
        square = whole.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        return np.asarray(square.transpose(turn) if turn is not None else square).reshape(size, size, channels)

    return _read(path, pixels)


def use_image(file: BinaryIO, use: Callable[[ImageFile.ImageFile], Result]) -> Result:
    """What ``use`` makes of the image in a file, which it gets opened but not decoded.

    If that fails, it gets the image a second time, without its metadata. ``use`` may raise a ValueError of its own, but
    must be ready to be called again then.

    Raises:
        UnsuitableImageError: when the image has more pixels than are allowed, or pixels whose range it does not tell.
        Exception: of many kinds, from Pillow, when it is damaged or not an image.
    """
    try:
        return _used(file, use)
    except (UnsuitableImageError, MemoryError):
        raise
    except Exception:
        file.seek(0)
        plain = without_metadata(file.read())
        if plain is None:
            raise
    try:
        return _used(io.BytesIO(plain), use)
    except UnidentifiedImageError:
        _require_known_layout(io.BytesIO(plain))
        raise


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What turns the image upright as its EXIF orientation says; None when it is, or nobody can tell."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever is wrong with metadata, the pixels are there
        return None


def opaque(image: ImageFile.ImageFile) -> Image.Image:
    """The decoded image with levels of 8 bits, and what is transparent laid over white.

    Raises:
        Exception: of many kinds, when it is damaged.
    """
    packing = _packing(image)
    _load_whole(image)
    if _has_16_bits(image):
        return _from_16_bits(image, 12 if packing == "I;12" else 16)
    if not image.has_transparency_data:
        return image
    if packing in ("L;2", "L;4"):  # the transparent level is as the file has it, all others fill 8 bits by now
        highest = 2 ** int(packing[2:]) - 1
        image.info["transparency"] = (image.info["transparency"] & highest) * 255 // highest
    straight = image.convert("LA") if image.mode == "La" else image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), straight.convert("RGBA"))


def _load_whole(image: ImageFile.ImageFile) -> None:
    """Decode an image; of a PNG see to its checksums, and to pixels that end early by its own word: rows of 0 then."""
    file = image.fp
    if image.format != "PNG" or file is None:
        image.load()
        return
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    require_checksums(data)
    image.load()
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    suspect = image.info.get("interlace") or not last_row.tobytes().strip(b"\0")
    if suspect and not is_whole_png(data):
        raise ValueError("it ends before its last row")


def _has_16_bits(image: Image.Image) -> bool:
    """Whether its levels are 0..65535, or 0..4095; a portable grey map has them in pixels of 32 bits."""
    return image.mode in _GREY_16_BIT or (image.mode == "I" and image.format == "PPM")


def _from_16_bits(image: Image.Image, bits: int) -> Image.Image:
    """Grey levels of more than 8 bits scaled to 8; a single transparent one is white."""
    levels, highest = np.asarray(image).astype(np.uint32), 2**bits - 1
    scaled = ((levels * 255 + highest // 2) // highest).astype(np.uint8)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # 0 is white
        scaled = 255 - scaled
    transparent = image.info.get("transparency")
    return Image.fromarray(scaled if transparent is None else np.where(levels == transparent, np.uint8(255), scaled))


def _packing(image: ImageFile.ImageFile) -> str:
    """How the pixels lie in the file, in Pillow's words, such as L;2; empty where it does not say."""
    arguments = image.tile[0][3] if image.tile else None
    packing = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return packing if isinstance(packing, str) else ""


def _used(file: BinaryIO, use: Callable[[ImageFile.ImageFile], Result]) -> Result:
    with Image.open(file, formats=tuple(FORMATS)) as image:
        _require_usable(image)
        return use(image)


def _require_usable(image: ImageFile.ImageFile) -> None:
    width, height = image.size
    if width * height > _max_megapixels * 10**6:
        raise UnsuitableImageError(
            f"has {width * height / 10**6:,.1f} megapixels ({width:,} x {height:,}), more than {_max_megapixels:,}; "
            "scale it down, remove it, or raise --max_image_megapixels"
        )
    tags = getattr(image, "tag_v2", {})
    if 2 in tags.get(_SAMPLE_FORMAT, ()):
        raise UnsuitableImageError("has levels with a sign, whose range is not known; save it without, as 0..255")
    if image.mode == "F" or (image.mode == "I" and not _has_16_bits(image)):
        raise UnsuitableImageError("has pixels of 32 bits, whose range is not known; save it with 8 or 16 bits")
    if _packing(image) == "RGB;16B" and "transparency" in image.info:
        raise UnsuitableImageError(
            "has colours of 16 bits, of which one is transparent; save it with 8 bits, or with an alpha channel"
        )


def _require_known_layout(file: BinaryIO) -> None:
    """Say how the pixels of a TIFF are made up that Pillow does not know; anything else is let by."""
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        bits = directory[_BITS]
    except Exception:  # it is no TIFF, or a damaged one
        return
    samples = f"{len(bits)} samples of {' and '.join(map(str, sorted(set(bits))[:4]))} bits"
    raise UnsuitableImageError(f"is a TIFF whose pixels are {samples}, which cannot be read so; save it as PNG")


def _read(path: Path, use: Callable[[ImageFile.ImageFile], Result]) -> Result:
    """:func:`use_image` of a file; whatever goes wrong is a :class:`UserError` that names it."""
    try:
        with path.open("rb") as file:
            return use_image(file, use)
    except UnsuitableImageError as error:
        raise UserError(f"{path} {error}") from None
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise UserError(f"{path} is not an image of a known kind ({kinds}); replace it, or remove it") from None
    except Exception as error:  # the decoders raise many kinds for a damaged file
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        fault = f"{path} cannot be decoded ({one_line(error)})"
        raise UserError(f"{fault}; replace it with a whole image, or remove it") from None

"""Images that are no files, as files: a PIL image or an array goes through the same decoder as everything else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
from PIL import ExifTags

from isnas.base.errors import UserError

#: What is one image: a file, an image of PIL's, or an array of bytes.
Image: TypeAlias = "str | os.PathLike[str] | PIL.Image.Image | np.ndarray"

#: Modes that a PNG file keeps as they are; the others become RGB or, with transparency, RGBA.
_PNG_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))
_TRANSPARENT = frozenset(("La", "PA", "RGBa"))
_NO_RANGE = frozenset(("I", "F"))


def one_image(images: Any) -> bool:
    """Whether what was given is a single image, and not several."""
    if hasattr(images, "ndim"):
        return images.ndim != 4
    return isinstance(images, str | os.PathLike | PIL.Image.Image)


def names_of(images: Sequence[Image], first: int) -> list[str]:
    """What messages call images, of which the first has this number among all."""
    names = []
    for number, image in enumerate(images, first):
        own = image if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")
        names.append(os.fspath(own) if own else f"image {number}")
    return names


def written(images: Sequence[Image], names: Sequence[str], folder: Path) -> list[Path]:
    """The files of images; those that are none are written into the folder, as PNG, which keeps every pixel.

    Raises:
        UserError: for what is no image.
    """
    paths = []
    for number, (image, name) in enumerate(zip(images, names)):
        if isinstance(image, str | os.PathLike):
            paths.append(Path(os.path.expanduser(image)))
            continue
        picture = image if isinstance(image, PIL.Image.Image) else _from_array(image, name)
        paths.append(folder / f"{number}.png")
        _save(picture, name, paths[-1])
    return paths


def _from_array(array: Any, name: str) -> PIL.Image.Image:
    if not hasattr(array, "__array__"):
        raise UserError(f"{name} is a {type(array).__name__}; give paths of image files, images of PIL, or arrays")
    pixels = np.asarray(array)
    if pixels.dtype != np.uint8:
        raise UserError(
            f"{name} is an array of {pixels.dtype}, whose range is not known; give bytes, 0 to 255, as "
            "(255 * array).round().astype('uint8') of values in [0, 1]"
        )
    grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)
    if not pixels.size or not (grey or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise UserError(
            f"{name} is an array of shape {pixels.shape}; an image is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        )
    return PIL.Image.fromarray(np.ascontiguousarray(pixels.reshape(pixels.shape[:2]) if grey else pixels))


def _save(picture: PIL.Image.Image, name: str, path: Path) -> None:
    if picture.mode in _NO_RANGE:
        raise UserError(f"{name} has pixels of 32 bits, whose range is not known; convert it to 8 or 16 bits")
    turned = PIL.Image.Exif()
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
        if picture.mode not in _PNG_MODES:
            picture = picture.convert("RGBA" if picture.mode in _TRANSPARENT else "RGB")
        if orientation in range(1, 9):
            turned[ExifTags.Base.Orientation] = orientation
        picture.save(path, format="PNG", compress_level=1, exif=turned)
    except (OSError, ValueError, SyntaxError) as error:  # of a file that was opened and is decoded only now
        raise UserError(f"{name} cannot be decoded ({error}); replace it with a whole image") from None

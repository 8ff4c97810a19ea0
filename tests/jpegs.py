"""Small JPEG folders for tests: pictures that differ from one another and are not square."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, width: int = 56, height: int = 40) -> Image.Image:
    """A soft pattern in colours, another for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_folder(root: Path, train: int = 24, val: int = 10, classes: tuple[str, ...] = ("ant", "bee", "cat")) -> Path:
    """``train`` and ``val`` images in turn of each class; every third one is higher than wide."""
    for number in range(train + val):
        name = classes[number % len(classes)]
        folder = root / ("train" if number < train else "val") / name
        folder.mkdir(parents=True, exist_ok=True)
        image = picture(number)
        if number % 3 == 0:
            image = image.transpose(Image.Transpose.ROTATE_90)
        image.save(folder / f"{number:03d}.jpg", quality=92)
    return root


def damage(path: Path) -> str:
    """Cut an image short; returns its name."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return str(path)

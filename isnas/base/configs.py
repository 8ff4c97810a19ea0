"""The configs that come with the package, by name."""

from __future__ import annotations

import os
from pathlib import Path

from isnas.base.text import closest

_PACKAGE = Path(__file__).resolve().parents[1]

#: Their folder: beside the package in a clone, a part of it where it is installed.
CONFIGS = next(folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir())


def config_file(text: str) -> Path:
    """The file that a user means by ``text``: that of this path, or else the package's config of this name.

    ``cifar10_twostage``, ``cifar10_twostage.yaml`` and ``configs/cifar10_twostage.yaml`` are one. Where there is
    neither the result is the path.
    """
    path = Path(os.path.expanduser(text))
    if not text or (os.path.exists(path) and not os.path.isdir(path)):
        return path
    name = text.removeprefix("configs/")
    return next((own for own in (CONFIGS / name, CONFIGS / f"{name}.yaml") if os.path.isfile(own)), path)


def similar_config(path: Path) -> str:
    """The name of the package's config that a user may have meant by a path at which there is no file; "" if none."""
    names = [own.relative_to(CONFIGS).with_suffix("").as_posix() for own in CONFIGS.rglob("*.yaml")]
    return closest(path.as_posix().removeprefix("configs/").removesuffix(".yaml"), names, least=0.75)

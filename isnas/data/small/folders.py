"""Own images: a folder per class, whole in memory.

Below the data folder are train/CLASS and test/CLASS (or val/CLASS), or the folders CLASS themselves, of which a fixed
stratified fifth is then the test set; :mod:`isnas.data.class_folders` knows their names. An image belongs to the class
folder it is below, however deep.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.data.class_folders import (
    TEST,
    VAL,
    class_folders,
    find_parts,
    folders_in,
    images_below,
    require_same_classes,
    require_utf8,
    some,
)
from isnas.data.dataset_record import BadImage, DatasetRecord, Part, RawDataset
from isnas.data.decoding import SUFFIXES, Header, read_header, read_pixels
from isnas.data.small.capacity import require_memory
from isnas.data.splits import stratified_fifth

Item = TypeVar("Item")
Result = TypeVar("Result")

#: An image file and the number of its class.
Labelled = tuple[Path, int]

_LAYOUT = "put the images into train/CLASS and test/CLASS there, or all of them into CLASS"
_LEAST_TO_SPLIT = 5
_FILES_PER_TASK = 64
_NAMED = 5


def read_class_folders(record: DatasetRecord, paths: Sequence[Path], image_size: int | None) -> RawDataset:
    """The images below the one folder in ``paths``, scaled to ``image_size`` or, without one, to :func:`natural_size`.

    Those that cannot be read are left out, and handed over by their names. The others have one channel when every one,
    of training and of test, is stored as grey levels, and else three.

    Args:
        record: The dataset's, which knows nothing of the user's images.
        paths: The folder.
        image_size: The side to scale the images to.

    Raises:
        UserError: for a folder that is not laid out as above, a class without images, test classes that differ from
            the training classes, or images that would take too much memory.
    """
    (root,) = paths
    try:
        classes, train, test = list_images(root)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror}") from None
    headers = _tried(read_header, [path for path, _ in train + test], "looking at images")
    good = [header for header in headers if isinstance(header, Header)]
    good_train = [header for header in headers[: len(train)] if isinstance(header, Header)]
    size = image_size or natural_size(good_train or good or [Header(16, True, True)])
    channels = 1 if all(header.is_grey for header in good) else 3
    require_memory(len(good), size, channels)
    train_part, bad_train = _decoded(train, headers[: len(train)], size, channels)
    test_part, bad_test = _decoded(test, headers[len(train) :], size, channels)
    return RawDataset(train_part, test_part, classes, bad_train, bad_test)


def require_classes(raw: RawDataset) -> None:
    """Raise a :class:`UserError` when all training images of a class are bad, or all test images are."""
    counts = torch.bincount(raw.train[1], minlength=len(raw.classes)).tolist()
    empty = [name for name, count in zip(raw.classes, counts) if not count]
    if raw.bad_train and empty:
        raise UserError(f"none of the training images of {some(empty)} can be read; {told(raw.bad_train)}")
    if raw.bad_test and not len(raw.test[1]):
        raise UserError(f"none of the test images can be read; {told(raw.bad_test)}")


def told(bad: Sequence[BadImage]) -> str:
    """What is wrong with the first of some bad images, the names of a few others, and how many there are in all."""
    if len(bad) == 1:
        return bad[0].fault
    names = ", ".join(str(each.path) for each in bad[1:_NAMED])
    further = f" and {len(bad) - _NAMED:,} more" if len(bad) > _NAMED else ""
    return f"{len(bad):,} images cannot be read, beside the first of them {names}{further}: {bad[0].fault}"


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """The headers of image files, as :func:`isnas.data.decoding.read_header` reads them.

    Raises:
        UserError: for files that are unreadable, not images, or of pixels that are refused, of which some are named,
            and for a name that is not UTF-8.
    """
    require_utf8("", list(map(str, paths)))
    return _all_whole(_tried(read_header, paths, "looking at images"), paths)


def read_images(paths: Sequence[Path], size: int, channels: int) -> Tensor:
    """Image files as bytes, uint8 (N, size, size, channels), each as ``read_pixels`` of the decoding reads it.

    Their headers have been read before, for pixels that are refused.

    Raises:
        UserError: for files that are unreadable, damaged or not images, of which some are named.
    """
    pixels = np.empty((len(paths), size, size, channels), np.uint8)

    def decode(number: int) -> None:
        pixels[number] = read_pixels(paths[number], size, channels)

    _all_whole(_tried(decode, range(len(paths)), "reading images"), paths)
    return torch.from_numpy(pixels)


def list_images(root: Path) -> tuple[tuple[str, ...], list[Labelled], list[Labelled]]:
    """The classes, sorted by name, and the training and the test files, sorted by class and path.

    Raises:
        UserError: when the folder is not laid out as this module wants it.
        OSError: when it cannot be read.
    """
    if not (root.exists() and folders_in(root)):
        raise UserError(f"the data folder {root} {_fault(root)}; {_LAYOUT}")
    parts = find_parts(root, (TEST, VAL), _LAYOUT)
    if parts is not None:
        (classes, train), (test_classes, test) = (_images_by_class(root / name) for name in parts)
        require_same_classes(root, parts[0], classes, parts[1], test_classes)
        return classes, train, test
    classes, images = _images_by_class(root)
    labels = np.array([label for _, label in images])
    for name, count in zip(classes, np.bincount(labels)):
        if count < _LEAST_TO_SPLIT:
            raise UserError(
                f"{root / name} holds {count} images, too few to split off a fifth for the test; add images up to "
                f"{_LEAST_TO_SPLIT}, or split them into train and test yourself: {_LAYOUT}"
            )
    train, test = ([images[index] for index in sorted(part)] for part in stratified_fifth(labels))
    return classes, train, test


def survey(root: Path) -> tuple[int, int]:
    """How many training images are below a folder, and the side that :func:`natural_size` gives them.

    Raises:
        UserError: when the folder is not laid out as this module wants it.
        OSError: when it cannot be read.
    """
    _, train, _ = list_images(root)
    headers = [
        header
        for header in _tried(read_header, [path for path, _ in train], "looking at images")
        if isinstance(header, Header)
    ]
    return len(train), natural_size(headers or [Header(16, True, True)])


def natural_size(headers: Sequence[Header]) -> int:
    """The side for images whose user names none.

    It is theirs when all are squares of one side of 8..224 pixels, and else the median of their shorter sides, to the
    nearest multiple of 4 within 16..224.
    """
    sides = {header.shorter_side for header in headers}
    if len(sides) == 1 and all(header.is_square for header in headers) and 8 <= min(sides) <= 224:
        return min(sides)
    median = float(np.median([header.shorter_side for header in headers]))
    return min(max(4 * round(median / 4), 16), 224)


def _images_by_class(folder: Path) -> tuple[tuple[str, ...], list[Labelled]]:
    classes = class_folders(folder, _LAYOUT)
    images: list[Labelled] = []
    for label, name in enumerate(classes.values()):
        paths = sorted(map(Path, images_below(folder / name, classes)))
        if not paths:
            known = ", ".join(sorted(suffix.lstrip(".") for suffix in SUFFIXES))
            raise UserError(f"the class folder {folder / name} holds no image ({known}); add some, or remove it")
        images += [(folder / name / path, label) for path in paths]
    return tuple(classes), images


def _fault(root: Path) -> str:
    if not root.exists():
        return "does not exist"
    return "holds no folders" if any(root.iterdir()) else "is empty"


def _decoded(
    images: Sequence[Labelled], headers: Sequence[Header | UserError], size: int, channels: int
) -> tuple[Part, tuple[BadImage, ...]]:
    """Those images of a part that can be read, in their order, and the others."""
    whole = [number for number, header in enumerate(headers) if isinstance(header, Header)]
    pixels = np.empty((len(whole), size, size, channels), np.uint8)

    def decode(place: int) -> None:
        pixels[place] = read_pixels(images[whole[place]][0], size, channels)

    faults = {number: header for number, header in enumerate(headers) if isinstance(header, UserError)}
    kept: list[int] = []
    for place, result in enumerate(_tried(decode, range(len(whole)), "reading images")):
        if isinstance(result, UserError):
            faults[whole[place]] = result
            continue
        if len(kept) < place:
            pixels[len(kept)] = pixels[place]
        kept.append(whole[place])
    labels = torch.tensor([images[number][1] for number in kept], dtype=torch.int64)
    bad = tuple(BadImage(images[number][0], str(faults[number])) for number in sorted(faults))
    return (torch.from_numpy(pixels[: len(kept)]), labels), bad


def _all_whole(results: Sequence[Result | UserError], paths: Sequence[Path]) -> list[Result]:
    bad = [BadImage(path, str(each)) for path, each in zip(paths, results) if isinstance(each, UserError)]
    if bad:
        raise UserError(told(bad))
    return [each for each in results if not isinstance(each, UserError)]


def _tried(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> list[Result | UserError]:
    """``function`` of every item, in their order, or what is wrong with the item; ``description`` is for a bar."""

    def attempt(item: Item) -> Result | UserError:
        try:
            return function(item)
        except UserError as error:
            return error

    tasks = [items[start : start + _FILES_PER_TASK] for start in range(0, len(items), _FILES_PER_TASK)]
    Image.init()  # here, as the threads would load the decoders at the same time
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # the decoders warn of harmless oddities
        done = pool.map(lambda task: [attempt(item) for item in task], tasks)
        return list(itertools.chain.from_iterable(bar(done, description, len(tasks), delay=SOON)))

"""What is known of a dataset without its files, and how they are read: a record, one row of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from isnas.data.sources import Extra, Source, data_root, find_files

if TYPE_CHECKING:
    from torch import Tensor

#: Images, uint8 (N, H, W, C) with H = W, and their labels, int64 (N,).
Part = tuple["Tensor", "Tensor"]

#: Mean and standard deviation of each channel, of pixels scaled to [0, 1].
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


class BadImage(NamedTuple):
    """An image file that cannot be read, and what is wrong with it in a sentence that names it."""

    path: Path
    fault: str


@dataclass(frozen=True, eq=False)
class RawDataset:
    """What a reader hands over: the training and the test images as the files hold them, and their classes.

    The images of ``bad_train`` and ``bad_test`` are not among them; how many there may be is for others to say.
    """

    train: Part
    test: Part
    classes: tuple[str, ...]
    bad_train: tuple[BadImage, ...] = ()
    bad_test: tuple[BadImage, ...] = ()


#: Reads the files of a record's dataset: the record, the paths of :meth:`DatasetRecord.find`, and the side that the
#: user asks for (None: not any), which readers of images of many sizes scale them to. Files that are damaged or
#: contradict the record are a :class:`isnas.base.errors.UserError` that names them.
Reader = Callable[["DatasetRecord", Sequence[Path], int | None], RawDataset]


@dataclass(frozen=True)
class DatasetRecord:
    """All that is known of a dataset in advance; None stands for what the user's files alone tell.

    Args:
        name: What ``--dataset`` calls it.
        shown: What its images are, for the documentation.
        classes: The class names in the order of their labels; empty: the files name them.
        class_count: How many there are when the files name them.
        side: The side of the images in pixels.
        scaled_to: The side to scale them to, or of a crop, unless the user names one; None: ``side``.
        channels: 1 for grey, 3 for colour.
        num_train: Training images, without those of an extra part.
        num_test: Test images.
        flip: Whether a mirrored image keeps its class.
        statistics: Published ones; None: to be taken from the training images.
        source: Its files, to be found or downloaded.
        own_folder: Whether its images are those of a folder that the user must name.
        reader: Reads it as a whole into memory; None: it is streamed, as :mod:`isnas.data.opening` has it.
    """

    name: str
    shown: str
    classes: tuple[str, ...] = ()
    class_count: int | None = None
    side: int | None = None
    scaled_to: int | None = None
    channels: int | None = None
    num_train: int | None = None
    num_test: int | None = None
    flip: bool = True
    statistics: Statistics | None = None
    source: Source | None = None
    own_folder: bool = False
    reader: Reader | None = None

    @property
    def num_classes(self) -> int | None:
        """Classes that there are."""
        return len(self.classes) or self.class_count

    @property
    def image_size(self) -> int | None:
        """The side of the images that a network gets unless the user names one."""
        return self.scaled_to or self.side

    @property
    def streamed(self) -> bool:
        """Whether its images are read as they are needed, and never all in memory."""
        return self.reader is None

    @property
    def needs_files(self) -> bool:
        """Whether there are files to be found at all."""
        return self.own_folder or self.source is not None

    @property
    def extra(self) -> Extra | None:
        """The part that a user may do without, if it has one."""
        return self.source.extra if self.source else None

    def find(self, data: str, extra: bool, beside: Collection[str] = ()) -> list[Path]:
        """Its files below the data root ``data``, with or without the extra part; the folder alone if it is the user's.

        ``beside`` are names of what may lie in a folder into which a dataset is downloaded.

        Raises:
            UserError: as :func:`isnas.data.sources.find_files` and :func:`isnas.data.sources.data_root`.
        """
        if self.own_folder:
            return [data_root(data)]
        return find_files(self.source, self.name, data, extra, beside) if self.source else []

    def check(self, raw: RawDataset) -> None:
        """See that what the reader read is of the kind that this record promises to all others."""
        assert raw.classes == self.classes or not self.classes, f"{self.name}: other classes"
        for images, labels in (raw.train, raw.test):
            count, height, width, channels = images.shape
            assert len(labels) == count > 0, f"{self.name}: {count} images, {len(labels)} labels"
            assert height == width and self.side in (None, width), f"{self.name}: {height} x {width}, not {self.side}"
            assert self.channels in (None, channels), f"{self.name}: {channels} channels, not {self.channels}"
            lowest, highest = int(labels.min()), int(labels.max())
            assert lowest >= 0 and highest < len(raw.classes), f"{self.name}: labels {lowest}..{highest}"

"""Which images a tool works on, how they are read, and varied to train: the options, held against the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, fields

from isnas.base.errors import UserError
from isnas.base.options import Component, option, to_dict
from isnas.data.catalogue import CATALOGUE

#: The largest image, in millions of pixels, that is decoded unless the user says otherwise.
MAX_MEGAPIXELS = 100

#: The policies that there are: AutoAugment's three, RandAugment, TrivialAugment (wide).
POLICIES = ("cifar10", "svhn", "imagenet", "randaugment", "trivialaugment")

#: How the training images are divided by purpose.
SPLITS = ("stratified", "in_order")

_SCALED = [f"{record.name}: {record.scaled_to}" for record in CATALOGUE.values() if record.scaled_to]
_OF_ANY_SIZE = [f"{record.name}: from the images" for record in CATALOGUE.values() if not record.image_size]
_OWN = [record.name for record in CATALOGUE.values() if record.own_folder]
_EXTRA = [f"{record.name}: train on its {record.extra.num_images:,}" for record in CATALOGUE.values() if record.extra]


@dataclass(frozen=True)
class DataOptions(Component, title="Data"):
    """Which images a tool works on."""

    dataset: str = option("cifar10", "the images to work on", choices=CATALOGUE)
    data: str = option(
        "",
        "folder that holds the dataset; none means data/ in the repository, or here where isnas is installed",
        free=True,
        path=True,
    )
    image_size: int | None = option(
        None,
        f"side to scale the images to; none means the dataset's own ({'; '.join(_SCALED + _OF_ANY_SIZE)})",
        minimum=8,
        maximum=512,
    )
    max_train_images: int | None = option(
        None,
        "train on so many images only, the same ones for every seed, in the classes' proportions",
        minimum=1,
        maximum=10**9,
    )
    grey: bool = option(False, "turn colour images into grey ones of one channel")
    max_bad_images: int = option(
        0,
        f"{' or '.join(_OWN)}: go on without so many images that cannot be read; more end the run",
        minimum=0,
        maximum=10**9,
        free=True,
    )
    svhn_extra: bool = option(True, f"{'; '.join(_EXTRA)} extra images too")

    max_image_megapixels: int = option(
        MAX_MEGAPIXELS,
        f"{' and '.join(_OWN)}: refuse images of more million pixels, each of which may take 16 bytes in decoding",
        minimum=1,
        maximum=10**6,
        free=True,
    )

    def validate(self) -> None:
        """Raise a :class:`UserError` for options that contradict each other."""
        record = CATALOGUE[self.dataset]
        if self.data and not record.needs_files:
            raise UserError(
                f"--data has no effect with --dataset {self.dataset}, which needs no files; a folder of your own "
                "images is --dataset imagefolder"
            )
        if record.own_folder and not self.data:
            raise UserError(
                f"--dataset {self.dataset} needs --data FOLDER, the folder of its images (docs/datasets.md)"
            )
        if self.max_image_megapixels != MAX_MEGAPIXELS and not record.own_folder:
            raise UserError(f"--max_image_megapixels has no effect with --dataset {self.dataset}; leave it out")
        if self.max_bad_images and not record.own_folder:
            raise UserError(f"--max_bad_images has no effect without --dataset {' or '.join(_OWN)}; leave it out")
        if not self.svhn_extra and record.extra is None:
            raise UserError(f"--no_svhn_extra has no effect with --dataset {self.dataset}; leave it out")


@dataclass(frozen=True)
class AugmentOptions(Component, title="Augmentation"):
    """How training images are varied."""

    crop_padding: int | None = option(
        None,
        "zero pixels on each side of a training image before it is cropped at random; none: an eighth of its side, "
        "0: no crop",
        minimum=0,
        maximum=64,
    )

    flip: str = option(
        "auto",
        "whether one training image in two is mirrored left to right; auto: if the dataset's classes stay the same",
        choices=("auto", "random", "never"),
    )
    autoaugment: str = option(
        "off",
        "torchvision's policy that changes colours and geometry of training images after crop and flip: AutoAugment's "
        "for CIFAR-10, SVHN or ImageNet, RandAugment or TrivialAugment",
        choices=("off", *POLICIES),
    )
    cutout: bool = option(False, "blank out a random square of each training image")
    cutout_length: int = option(16, "side of the square that --cutout blanks out", minimum=1, maximum=1024)

    def padding(self, image_size: int) -> int:
        """Zero pixels on each side of images of this side: 4 at 32, unless ``crop_padding`` says otherwise."""
        return image_size // 8 if self.crop_padding is None else self.crop_padding

    def validate(self) -> None:
        """Raise a :class:`UserError` for options that contradict each other."""
        if not self.cutout and self.cutout_length != type(self).cutout_length:
            raise UserError("--cutout_length has no effect without --cutout")


@dataclass(frozen=True)
class StreamOptions(Component, title="Streamed images"):
    """How images are read that do not fit in memory."""

    data_format: str = option(
        "auto",
        "imagenet: files in train/CLASS and val/CLASS, or shards (tar files as WebDataset has them); auto: shards "
        "where there are any",
        choices=("auto", "folder", "webdataset"),
    )
    color_jitter: bool = option(True, "imagenet: vary brightness, contrast, saturation and hue of training images")
    workers: int | None = option(
        None,
        "imagenet: processes that read and crop, for each process that trains (0: itself); none means as many as this "
        "machine has cores for each",
        minimum=0,
        maximum=256,
        free=True,
    )
    prefetch: int = option(2, "imagenet: batches that each worker prepares ahead", minimum=1, maximum=64, free=True)

    def validate(self) -> None:
        """Raise a :class:`UserError` for options that contradict each other."""
        if self.workers == 0 and self.prefetch != StreamOptions.prefetch:
            raise UserError("--prefetch has no effect with --workers 0; leave it out")


@dataclass(frozen=True)
class ImageOptions(AugmentOptions, StreamOptions, DataOptions):
    """Which images of either kind, how they are read if they are streamed, and how they are varied for training."""

    def validate(self) -> None:
        """Raise a :class:`UserError` for options of streams with a dataset in memory."""
        if CATALOGUE[self.dataset].streamed:
            return
        values = to_dict(self)
        for field in fields(StreamOptions):
            if values[field.name] != field.default:
                streamed = " or ".join(record.name for record in CATALOGUE.values() if record.streamed)
                raise UserError(f"--{field.name} has no effect without --dataset {streamed}; leave it out")

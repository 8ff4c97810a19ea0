"""Datasets of small images, whole in memory, by name: their options, their facts, and their images at one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from isnas.base.distributed import from_main
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.data.small import loaders
from isnas.data.small.folders import load_folder
from isnas.data.small.raw import RawDataset, Statistics, require_memory
from isnas.data.splits import choose_stratified

DATASETS = ("digits", "fashion_mnist", "cifar10", "cifar100", "svhn", "imagefolder", "imagenet", "fake")


@dataclass(frozen=True)
class DataOptions:
    """Which images a tool works on."""

    dataset: str = option("cifar10", "the images to work on", choices=DATASETS)
    data: str = option("", "folder that holds the dataset; none means data/ in the repository", free=True)
    image_size: int | None = option(
        None,
        "side to scale the images to; none means the dataset's own (digits: 16; imagenet: 224; imagefolder: from the "
        "images)",
        minimum=8,
        maximum=512,
    )
    max_train_images: int | None = option(
        None, "train on so many images only, the same ones for every seed, in the classes' proportions", minimum=1
    )
    grey: bool = option(False, "turn colour images into grey ones of one channel")
    svhn_extra: bool = option(True, "svhn: train on its 531,131 extra images too")

    def validate(self) -> None:
        """Raise a :class:`UserError` for options that contradict each other."""
        if self.data and self.dataset in ("digits", "fake"):
            raise UserError(f"--data has no effect with --dataset {self.dataset}, which needs no files")
        if self.dataset in ("imagefolder", "imagenet") and not self.data:
            raise UserError(
                f"--dataset {self.dataset} needs --data FOLDER, the folder of its images (docs/datasets.md)"
            )
        if not self.svhn_extra and self.dataset != "svhn":
            raise UserError(f"--no_svhn_extra has no effect with --dataset {self.dataset}; leave it out")


@dataclass(frozen=True)
class DatasetInfo:
    """What a network and an augmentation need to know of a dataset.

    ``mean`` and ``std`` are per channel, of pixels scaled to [0, 1]. ``flip`` says whether an image may be mirrored
    left to right: a mirrored shoe is a shoe, a mirrored digit is no digit.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    flip: bool

    def facts(self, **counts: int) -> dict[str, Any]:
        """What must be the same when a run goes on, as plain values; ``counts`` are numbers of images."""
        return {"classes": list(self.classes), "mean": list(self.mean), "std": list(self.std)} | counts

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __str__(self) -> str:
        size = f"{self.image_size} x {self.image_size}"
        return f"{self.name}, {self.num_classes} classes, {size} pixels, {self.channels} channels"


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images, uint8 (N, H, W, C) with H = W, and their labels, int64 (N,)."""

    images: Tensor
    labels: Tensor
    info: DatasetInfo

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The training and the test images of a dataset, with the same facts."""

    train: ImageSet
    test: ImageSet

    @property
    def info(self) -> DatasetInfo:
        return self.train.info


def load_dataset(options: DataOptions) -> Dataset:
    """The dataset that ``options`` name, at the size they ask for; it never depends on a run's seed.

    Of several processes rank 0 comes first, as it may have to download it.

    Raises:
        UserError: when its files are missing and cannot be downloaded, are damaged, or hold more than fits in memory,
            for ``grey`` with images that are grey already, and for ImageNet.
    """
    found: list[RawDataset] = []
    from_main(lambda: found.append(_read(options)))
    raw = found[0] if found else _read(options)
    (train_images, train_labels), (test_images, test_labels) = raw.train, raw.test
    statistics = raw.statistics
    if options.max_train_images is not None:
        chosen = choose_stratified(train_labels, options.max_train_images)
        train_images, train_labels = train_images[chosen], train_labels[chosen]
    if options.grey:
        if train_images.shape[3] == 1:
            raise UserError(f"--grey has no effect: the images of {options.dataset} are grey already; leave it out")
        train_images, test_images, statistics = luma(train_images), luma(test_images), None
    size = options.image_size or raw.image_size or train_images.shape[1]
    require_memory(len(train_images) + len(test_images), size, train_images.shape[3])
    train_images, test_images = _resized(train_images, size), _resized(test_images, size)
    mean, std = statistics or channel_statistics(train_images)
    info = DatasetInfo(options.dataset, raw.classes, mean, std, size, raw.flip)
    return Dataset(ImageSet(train_images, train_labels, info), ImageSet(test_images, test_labels, info))


def channel_statistics(images: Tensor) -> Statistics:
    """Mean and standard deviation of each channel of uint8 images (N, H, W, C), in units of [0, 1], from histograms.

    A channel without contrast gets the deviation of one grey level, so that it can be divided by.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in images.unbind(-1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = float(share @ levels)
        means.append(mean)
        deviations.append(max(float(share @ (levels - mean) ** 2) ** 0.5, 1 / 255))
    return tuple(means), tuple(deviations)


def luma(images: Tensor) -> Tensor:
    """Grey images, uint8 (N, H, W, 1), of colour images, uint8 (N, H, W, 3): 0.299 R + 0.587 G + 0.114 B (BT.601).

    Rounded to the nearest level, halves up.
    """
    grey = images.new_empty(*images.shape[:3], 1)
    weights = torch.tensor([299, 587, 114], dtype=torch.int32)
    for start in range(0, len(images), 1024):  # a part at a time, as the sums take 4 bytes a value
        part = images[start : start + 1024].int() * weights
        grey[start : start + 1024] = (part.sum(3, keepdim=True, dtype=torch.int32) + 500) // 1000
    return grey


def _read(options: DataOptions) -> RawDataset:
    match options.dataset:
        case "digits":
            return loaders.load_digits()
        case "fashion_mnist":
            return loaders.load_fashion_mnist(options.data)
        case "cifar10":
            return loaders.load_cifar10(options.data)
        case "cifar100":
            return loaders.load_cifar100(options.data)
        case "svhn":
            return loaders.load_svhn(options.data, options.svhn_extra)
        case "imagefolder":
            return load_folder(options.data, options.image_size)
        case "imagenet":
            raise UserError(
                "--dataset imagenet is too large for this tool, which holds all images in memory; choose another "
                "--dataset, or give a part of its folders as --dataset imagefolder"
            )
    return loaders.load_fake()


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[1] == size:
        return images
    resized = F.interpolate(images.permute(0, 3, 1, 2), size=(size, size), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()

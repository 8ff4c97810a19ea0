"""Datasets of small images, whole in memory: digits, Fashion-MNIST, CIFAR-10, and a fake one for trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.random import generator
from isnas.data.formats import read_cifar_batch, read_idx
from isnas.data.sources import CIFAR10, FASHION_MNIST, find_files

Part = tuple[Tensor, Tensor]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]

DATASETS = ("digits", "fashion_mnist", "cifar10", "fake")

_FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

#: Mean and standard deviation of CIFAR-10's training images, with the digits that DARTS has.
_CIFAR_STATISTICS = (0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)


@dataclass(frozen=True)
class DataOptions:
    """Which images a tool works on."""

    dataset: str = option("cifar10", "the images to work on", choices=DATASETS)
    data: str = option("", "folder that holds the dataset; none means data/ in the repository", free=True)
    image_size: int | None = option(
        None, "side to scale the images to; none means the dataset's own (digits: 16)", minimum=8, maximum=512
    )

    def validate(self) -> None:
        """Raise a :class:`UserError` for options that contradict each other."""
        if self.data and self.dataset in ("digits", "fake"):
            raise UserError(f"--data has no effect with --dataset {self.dataset}, which needs no files")


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

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def num_classes(self) -> int:
        return len(self.classes)


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

    Raises:
        UserError: when its files are missing and cannot be downloaded, or are damaged.
    """
    loaders = {"digits": _digits, "fashion_mnist": _fashion_mnist, "cifar10": _cifar10, "fake": _fake}
    return loaders[options.dataset](options)


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


def _digits(options: DataOptions) -> Dataset:
    """Scikit-learn's 8 x 8 digits, of which a fixed stratified fifth is the test set."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    levels = torch.from_numpy(digits.images / 16 * 255).round().to(torch.uint8).unsqueeze(-1)
    labels = torch.from_numpy(digits.target).long()
    parts = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=digits.target, random_state=0)
    train, test = ((levels[part], labels[part]) for part in parts)
    return _dataset(options, train, test, tuple("0123456789"), size=options.image_size or 16, flip=False)


def _fashion_mnist(options: DataOptions) -> Dataset:
    """Fashion-MNIST from its four idx files."""
    train_images, train_labels, test_images, test_labels = find_files(FASHION_MNIST, options.data)
    train, test = _idx_part(train_images, train_labels), _idx_part(test_images, test_labels)
    return _dataset(options, train, test, _FASHION_CLASSES)


def _idx_part(images_path: Path, labels_path: Path) -> Part:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise UserError(f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} labels")
    if images.shape[1:] != (28, 28):
        raise UserError(f"{images_path} holds images of {images.shape[1]} x {images.shape[2]} pixels, not 28 x 28")
    if not len(labels) or labels.max() >= len(_FASHION_CLASSES):
        raise UserError(f"{labels_path} does not hold labels 0..{len(_FASHION_CLASSES) - 1}; fetch it again")
    return torch.tensor(images).unsqueeze(-1), torch.tensor(labels).long()


def _cifar10(options: DataOptions) -> Dataset:
    """CIFAR-10 from its six pickled batches; the last one is the test set."""
    images, labels = zip(*map(read_cifar_batch, find_files(CIFAR10, options.data)))
    train = torch.from_numpy(np.concatenate(images[:-1])), torch.from_numpy(np.concatenate(labels[:-1]))
    test = torch.from_numpy(images[-1]), torch.from_numpy(labels[-1])
    return _dataset(options, train, test, _CIFAR_CLASSES, statistics=_CIFAR_STATISTICS)


def _fake(options: DataOptions) -> Dataset:
    """2,000 + 500 images of 32 x 32: a coarse pattern of their class, symmetric left to right, under noise."""
    rng = generator(0, "fake")
    half = torch.randn(10, 3, 4, 2, generator=rng)
    patterns = F.interpolate(torch.cat([half, half.flip(3)], 3), size=(32, 32), mode="bilinear").permute(0, 2, 3, 1)
    labels = torch.arange(2500) % 10
    noise = torch.randn(2500, 32, 32, 3, generator=rng)
    images = (128 + 16 * patterns[labels] + 48 * noise).clamp(0, 255).to(torch.uint8)
    classes = tuple(f"pattern {number}" for number in range(10))
    return _dataset(options, (images[:2000], labels[:2000]), (images[2000:], labels[2000:]), classes)


def _dataset(
    options: DataOptions,
    train: Part,
    test: Part,
    classes: tuple[str, ...],
    *,
    size: int | None = None,
    flip: bool = True,
    statistics: Statistics | None = None,
) -> Dataset:
    """Both parts at the size asked for, with facts whose statistics come from ``train`` unless given."""
    size = size or options.image_size or train[0].shape[1]
    (train_images, train_labels), (test_images, test_labels) = train, test
    train_images, test_images = _resized(train_images, size), _resized(test_images, size)
    mean, std = statistics or channel_statistics(train_images)
    info = DatasetInfo(options.dataset, classes, mean, std, size, flip)
    return Dataset(ImageSet(train_images, train_labels, info), ImageSet(test_images, test_labels, info))


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[1] == size:
        return images
    resized = F.interpolate(images.permute(0, 3, 1, 2), size=(size, size), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()

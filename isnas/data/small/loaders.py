"""The datasets that have a name of their own: digits, Fashion-MNIST, CIFAR-10 and -100, SVHN, and a fake one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.data.small import classes
from isnas.data.small.formats import read_cifar_batch, read_idx, read_svhn
from isnas.data.small.raw import Part, RawDataset, stratified_fifth
from isnas.data.small.sources import CIFAR10, CIFAR100, FASHION_MNIST, SVHN, SVHN_EXTRA, find_files

#: Mean and standard deviation of CIFAR-10's training images, with the digits that DARTS has.
_CIFAR10_STATISTICS = (0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)


def load_digits() -> RawDataset:
    """Scikit-learn's 8 x 8 digits, of which a fixed stratified fifth is the test set."""
    from sklearn import datasets

    digits = datasets.load_digits()
    levels = torch.from_numpy(digits.images / 16 * 255).round().to(torch.uint8).unsqueeze(-1)
    labels = torch.from_numpy(digits.target).long()
    train, test = ((levels[part], labels[part]) for part in stratified_fifth(digits.target))
    return RawDataset(train, test, classes.DIGITS, flip=False, image_size=16)


def load_fashion_mnist(data: str) -> RawDataset:
    """Fashion-MNIST from its four idx files."""
    train_images, train_labels, test_images, test_labels = find_files(FASHION_MNIST, data)
    train, test = _idx_part(train_images, train_labels), _idx_part(test_images, test_labels)
    return RawDataset(train, test, classes.FASHION_MNIST)


def _idx_part(images_path: Path, labels_path: Path) -> Part:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise UserError(f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} labels")
    if images.shape[1:] != (28, 28):
        raise UserError(f"{images_path} holds images of {images.shape[1]} x {images.shape[2]} pixels, not 28 x 28")
    if not len(labels) or labels.max() >= len(classes.FASHION_MNIST):
        raise UserError(f"{labels_path} does not hold labels 0..{len(classes.FASHION_MNIST) - 1}; fetch it again")
    return torch.tensor(images).unsqueeze(-1), torch.tensor(labels).long()


def load_cifar10(data: str) -> RawDataset:
    """CIFAR-10 from its six pickled batches; the last one is the test set."""
    *train, test = (read_cifar_batch(path, "labels", 10) for path in find_files(CIFAR10, data))
    return RawDataset(_joined(train), _joined([test]), classes.CIFAR10, statistics=_CIFAR10_STATISTICS)


def load_cifar100(data: str) -> RawDataset:
    """CIFAR-100 from its two pickled batches, with the 100 fine classes."""
    train, test = (read_cifar_batch(path, "fine_labels", 100) for path in find_files(CIFAR100, data))
    return RawDataset(_joined([train]), _joined([test]), classes.CIFAR100)


def load_svhn(data: str, extra: bool) -> RawDataset:
    """Street View House Numbers, cropped digits; with ``extra`` the training set is train and extra together."""
    train, test, *more = map(read_svhn, find_files(SVHN_EXTRA if extra else SVHN, data))
    return RawDataset(_joined([train, *more]), _joined([test]), classes.DIGITS, flip=False)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> Part:
    """The images (contiguous, whatever the order of the parts' axes in memory) and labels of all ``parts``."""
    images, labels = zip(*parts)
    together = np.empty((sum(map(len, images)), *images[0].shape[1:]), np.uint8)
    return torch.from_numpy(np.concatenate(images, out=together)), torch.from_numpy(np.concatenate(labels))


def load_fake() -> RawDataset:
    """2,000 + 500 images of 32 x 32: a coarse pattern of their class, symmetric left to right, under noise."""
    rng = generator(0, "fake")
    half = torch.randn(10, 3, 4, 2, generator=rng)
    patterns = F.interpolate(torch.cat([half, half.flip(3)], 3), size=(32, 32), mode="bilinear").permute(0, 2, 3, 1)
    labels: Tensor = torch.arange(2500) % 10
    noise = torch.randn(2500, 32, 32, 3, generator=rng)
    images = (128 + 16 * patterns[labels] + 48 * noise).clamp(0, 255).to(torch.uint8)
    names = tuple(f"pattern {number}" for number in range(10))
    return RawDataset((images[:2000], labels[:2000]), (images[2000:], labels[2000:]), names)

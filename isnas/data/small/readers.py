"""From the files of a record to its images in memory: a reader for each kind of files, and one that needs none.

They are of the type :data:`isnas.data.dataset_record.Reader`; own images, a folder per class, have a module of their
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.data.dataset_record import DatasetRecord, Part, RawDataset
from isnas.data.small.formats import read_cifar_batch, read_idx, read_svhn
from isnas.data.splits import stratified_fifth


def read_digits(record: DatasetRecord, paths: Sequence[Path], image_size: int | None) -> RawDataset:
    """Scikit-learn's 8 x 8 digits, of which a fixed stratified fifth is the test set."""
    from sklearn import datasets

    digits = datasets.load_digits()
    levels = torch.from_numpy(digits.images / 16 * 255).round().to(torch.uint8).unsqueeze(-1)
    labels = torch.from_numpy(digits.target).long()
    train, test = ((levels[part], labels[part]) for part in stratified_fifth(digits.target))
    return RawDataset(train, test, record.classes)


def read_idx_pairs(record: DatasetRecord, paths: Sequence[Path], image_size: int | None) -> RawDataset:
    """Four idx files: grey images and labels for the training, images and labels for the test."""
    train_images, train_labels, test_images, test_labels = paths
    train = _idx_part(record, train_images, train_labels, record.num_train)
    test = _idx_part(record, test_images, test_labels, record.num_test)
    return RawDataset(train, test, record.classes)


def _idx_part(record: DatasetRecord, images_path: Path, labels_path: Path, most: int | None) -> Part:
    assert record.side and most
    images, labels = read_idx(images_path, 3, most * record.side**2), read_idx(labels_path, 1, most)
    if len(images) != len(labels):
        raise UserError(f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} labels")
    if images.shape[1:] != (record.side, record.side):
        found, wanted = f"{images.shape[1]} x {images.shape[2]}", f"{record.side} x {record.side}"
        raise UserError(f"{images_path} holds images of {found} pixels, not {wanted}")
    if not len(labels) or labels.max() >= len(record.classes):
        raise UserError(f"{labels_path} does not hold labels 0..{len(record.classes) - 1}; fetch it again")
    return torch.tensor(images).unsqueeze(-1), torch.tensor(labels).long()


def read_cifar(record: DatasetRecord, paths: Sequence[Path], image_size: int | None, *, labels_key: str) -> RawDataset:
    """Pickled batches of CIFAR-10 or -100, whose labels are under ``labels_key``; the last one is the test set."""
    *train, test = (read_cifar_batch(path, labels_key, len(record.classes)) for path in paths)
    return RawDataset(_joined(train), _joined([test]), record.classes)


def read_svhn_splits(record: DatasetRecord, paths: Sequence[Path], image_size: int | None) -> RawDataset:
    """SVHN's files of cropped digits: training, test, and further training images, if there are such."""
    assert record.num_train and record.num_test and record.extra
    most = record.num_train, record.num_test, record.extra.num_images
    train, test, *more = map(read_svhn, paths, most)
    return RawDataset(_joined([train, *more]), _joined([test]), record.classes)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> Part:
    """The images (contiguous, whatever the order of the parts' axes in memory) and labels of all ``parts``."""
    images, labels = zip(*parts)
    together = np.empty((sum(map(len, images)), *images[0].shape[1:]), np.uint8)
    return torch.from_numpy(np.concatenate(images, out=together)), torch.from_numpy(np.concatenate(labels))


def make_fake(record: DatasetRecord, paths: Sequence[Path], image_size: int | None) -> RawDataset:
    """2,000 + 500 images of 32 x 32: a coarse pattern of their class, symmetric left to right, under noise."""
    rng = generator(0, "fake")
    half = torch.randn(10, 3, 4, 2, generator=rng)
    patterns = F.interpolate(torch.cat([half, half.flip(3)], 3), size=(32, 32), mode="bilinear").permute(0, 2, 3, 1)
    labels: Tensor = torch.arange(2500) % 10
    noise = torch.randn(2500, 32, 32, 3, generator=rng)
    images = (128 + 16 * patterns[labels] + 48 * noise).clamp(0, 255).to(torch.uint8)
    return RawDataset((images[:2000], labels[:2000]), (images[2000:], labels[2000:]), record.classes)

"""Datasets whole in memory: the images that the options name, at one size, with their facts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from isnas.base.distributed import from_main
from isnas.base.errors import UserError
from isnas.data.catalogue import BESIDE, CATALOGUE
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.dataset_record import BadImage, DatasetRecord, RawDataset, Statistics
from isnas.data.decoding import limit_megapixels
from isnas.data.small.capacity import require_memory
from isnas.data.small.folders import require_classes, told
from isnas.data.splits import choose_stratified


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images, uint8 (N, H, W, C) with H = W, and their labels, int64 (N,); ``left_out`` are bad ones, and why."""

    images: Tensor
    labels: Tensor
    info: DatasetInfo
    left_out: tuple[BadImage, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """Says whether other images differ in a byte, a label or their order; takes about a second for 2 GB."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.reshape(-1).numpy().data)
        return digest.hexdigest()[:16]


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
        UserError: when its files are missing and cannot be downloaded, are damaged (of images in files of their own,
            more than ``max_bad_images``), or hold more than fits in memory, for ``grey`` with images that are grey
            already, and for a dataset that is streamed.
    """
    record = CATALOGUE[options.dataset]
    found: list[RawDataset] = []
    from_main(lambda: found.append(_read(record, options)))
    raw = found[0] if found else _read(record, options)
    (train_images, train_labels), (test_images, test_labels) = raw.train, raw.test
    statistics = record.statistics
    if options.max_train_images is not None:
        chosen = choose_stratified(train_labels, options.max_train_images)
        train_images, train_labels = train_images[chosen], train_labels[chosen]
    if options.grey:
        if train_images.shape[3] == 1:
            raise UserError(f"--grey has no effect: the images of {options.dataset} are grey already; leave it out")
        train_images, test_images, statistics = luma(train_images), luma(test_images), None
    size = options.image_size or record.scaled_to or train_images.shape[1]
    require_memory(len(train_images) + len(test_images), size, train_images.shape[3])
    train_images, test_images = _resized(train_images, size), _resized(test_images, size)
    mean, std = statistics or channel_statistics(train_images)
    info = DatasetInfo(record.name, raw.classes, mean, std, size, record.flip)
    train = ImageSet(train_images, train_labels, info, raw.bad_train)
    return Dataset(train, ImageSet(test_images, test_labels, info, raw.bad_test))


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


def _read(record: DatasetRecord, options: DataOptions) -> RawDataset:
    if record.reader is None:
        raise UserError(
            f"--dataset {record.name} is too large for this tool, which holds all images in memory; choose another "
            "--dataset, or give a part of its folders as --dataset imagefolder"
        )
    limit_megapixels(options.max_image_megapixels)
    paths = record.find(options.data, options.svhn_extra, BESIDE)
    raw = record.reader(record, paths, options.image_size)
    bad = raw.bad_train + raw.bad_test
    if len(bad) > options.max_bad_images:
        raise UserError(
            f"{told(bad)}, or go on without {'it' if len(bad) == 1 else 'them'} by --max_bad_images {len(bad)}"
        )
    require_classes(raw)
    record.check(raw)
    return raw


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[1] == size:
        return images
    resized = F.interpolate(images.permute(0, 3, 1, 2), size=(size, size), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()

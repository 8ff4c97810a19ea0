"""Images of either kind, in memory or streamed, and batches of them: what a tool needs to take both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.data.large.encoded import list_folders
from isnas.data.large.reading import StreamAugmentation, StreamedSet
from isnas.data.large.shards import has_shards, list_shards
from isnas.data.large.streams import StreamedBatches
from isnas.data.small.batches import Batches, augmentation
from isnas.data.small.datasets import Dataset, DatasetInfo, ImageSet, load_dataset
from isnas.data.small.sources import data_root
from isnas.data.splits import choose_stratified

#: Mean and standard deviation of ImageNet's training images, and the side of a crop, as torchvision's models have them.
MEAN, STD, IMAGE_SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224


@dataclass(frozen=True, eq=False)
class StreamedDataset:
    """The training and the test images of a streamed dataset, with the same facts."""

    train: StreamedSet
    test: StreamedSet

    @property
    def info(self) -> DatasetInfo:
        return self.train.info


def load_stream(options: Any) -> StreamedDataset:
    """The training and validation images of ImageNet, or of any other folder or shards laid out like it.

    Of several processes all must call this, as one of them reads the headers of shards.

    Args:
        options: A :class:`isnas.data.small.datasets.DataOptions` that is a :class:`StreamOptions` too.

    Raises:
        UserError: when the images are missing, not laid out as said, or a shard is damaged.
    """
    if options.grey:
        raise UserError("--grey has no effect with --dataset imagenet; leave it out")
    root = data_root(options.data)
    if not root.exists():
        raise UserError(f"the data folder {root} does not exist; give the folder of train and val, or of shards")
    shards = has_shards(root) if options.data_format == "auto" else options.data_format == "webdataset"
    classes, *sources = list_shards(root) if shards else list_folders(root)
    info = DatasetInfo(options.dataset, classes, MEAN, STD, options.image_size or IMAGE_SIZE, flip=True)
    train, test = (StreamedSet(source, None, info) for source in sources)
    if options.max_train_images is not None:
        train = replace(train, chosen=choose_stratified(train.labels, options.max_train_images))
    return StreamedDataset(train, test)


def stream_augmentation(options: Any, info: DatasetInfo) -> StreamAugmentation:
    """The augmentation of streamed images, as an AugmentOptions that is a StreamOptions too says.

    Raises:
        UserError: for a policy or a cutout, which they cannot have.
    """
    if options.autoaugment != "off" or options.cutout:
        flag = "--cutout" if options.cutout else f"--autoaugment {options.autoaugment}"
        raise UserError(f"{flag} cannot be had with --dataset {info.name}; leave it out")
    flip = info.flip if options.flip == "auto" else options.flip == "random"
    return StreamAugmentation(flip, options.color_jitter)


def load_images(options: Any) -> Dataset | StreamedDataset:
    """What ``options`` name: ImageNet as :func:`load_stream` has it, other datasets whole in memory.

    Raises:
        UserError: as :func:`load_stream` and :func:`isnas.data.small.datasets.load_dataset`.
    """
    return load_stream(options) if options.dataset == "imagenet" else load_dataset(options)


def make_batches(
    images: ImageSet | StreamedSet,
    indices: Tensor | None,
    batch_size: int,
    seed: int,
    purpose: str,
    augment: bool,
    device: torch.device | str,
    options: Any,
) -> Batches | StreamedBatches:
    """Batches of a set of either kind.

    Args:
        images: The set.
        indices: Which of its images, int64; None means all.
        batch_size: Images per batch of all processes together.
        seed: The run's seed.
        purpose: What the batches are for; other purposes draw other numbers.
        augment: Whether they are for training.
        device: Where the batches are.
        options: A :class:`StreamOptions` for streamed images; to train, an :class:`AugmentOptions` for both kinds.

    Raises:
        UserError: for options that the images do not have, or fewer images to train on than a batch has.
    """
    common = (images, indices, batch_size, seed, purpose)
    if isinstance(images, ImageSet):
        return Batches(images, *common[1:], augmentation(options, images.info) if augment else None, device)
    varied = stream_augmentation(options, images.info) if augment else None
    return StreamedBatches(images, *common[1:], varied, device, options)

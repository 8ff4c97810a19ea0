"""Images of either kind, in memory or streamed, and batches of them: what a tool needs to take both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.data.catalogue import CATALOGUE
from isnas.data.data_options import ImageOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.decoding import limit_megapixels
from isnas.data.large.encoded import list_folders
from isnas.data.large.reading import StreamAugmentation, StreamedSet
from isnas.data.large.shards import has_shards, list_shards
from isnas.data.large.streams import StreamedBatches
from isnas.data.small.batches import Batches, augmentation
from isnas.data.small.datasets import Dataset, ImageSet, load_dataset
from isnas.data.splits import choose_stratified


@dataclass(frozen=True, eq=False)
class StreamedDataset:
    """The training and the test images of a streamed dataset, with the same facts."""

    train: StreamedSet
    test: StreamedSet

    @property
    def info(self) -> DatasetInfo:
        return self.train.info


def load_stream(options: ImageOptions) -> StreamedDataset:
    """The training and validation images of ImageNet, or of any other folder or shards laid out like it.

    Of several processes all must call this, as one of them reads the headers of shards.

    Raises:
        UserError: when the images are missing, not laid out as said, or a shard is damaged.
    """
    record = CATALOGUE[options.dataset]
    if options.grey:
        raise UserError(f"--grey has no effect with --dataset {record.name}; leave it out")
    limit_megapixels(options.max_image_megapixels)
    (root,) = record.find(options.data, extra=False)
    if not root.exists():
        raise UserError(f"the data folder {root} does not exist; give the folder of train and val, or of shards")
    shards = has_shards(root) if options.data_format == "auto" else options.data_format == "webdataset"
    classes, *sources = list_shards(root) if shards else list_folders(root)
    image_size = options.image_size or record.image_size
    assert record.statistics and image_size
    info = DatasetInfo(record.name, classes, *record.statistics, image_size, record.flip)
    train, test = (StreamedSet(source, None, info) for source in sources)
    if options.max_train_images is not None:
        train = replace(train, chosen=choose_stratified(train.labels, options.max_train_images))
    return StreamedDataset(train, test)


def stream_augmentation(options: ImageOptions, info: DatasetInfo) -> StreamAugmentation:
    """The augmentation of streamed images, as ``options`` say.

    Raises:
        UserError: for a policy, a cutout or padding, which they cannot have.
    """
    refused = {
        "--cutout": options.cutout,
        f"--autoaugment {options.autoaugment}": options.autoaugment != "off",
        f"--crop_padding {options.crop_padding}": options.crop_padding is not None,
    }
    for flag in (flag for flag, given in refused.items() if given):
        raise UserError(f"{flag} cannot be had with --dataset {info.name}; leave it out")
    flip = info.flip if options.flip == "auto" else options.flip == "random"
    return StreamAugmentation(flip, options.color_jitter)


def load_images(options: ImageOptions) -> Dataset | StreamedDataset:
    """What ``options`` name: a streamed dataset as :func:`load_stream` has it, others whole in memory.

    Raises:
        UserError: as :func:`load_stream` and :func:`isnas.data.small.datasets.load_dataset`.
    """
    return load_stream(options) if CATALOGUE[options.dataset].streamed else load_dataset(options)


def make_batches(
    images: ImageSet | StreamedSet,
    indices: Tensor | None,
    batch_size: int,
    seed: int,
    purpose: str,
    augment: bool,
    device: torch.device | str,
    options: ImageOptions,
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
        options: How they are read if they are streamed, and varied to train.

    Raises:
        UserError: for options that the images do not have, or fewer images to train on than a batch has.
    """
    common = (images, indices, batch_size, seed, purpose)
    if isinstance(images, ImageSet):
        return Batches(images, *common[1:], augmentation(options, images.info) if augment else None, device)
    varied = stream_augmentation(options, images.info) if augment else None
    return StreamedBatches(images, *common[1:], varied, device, options, options.max_bad_images)

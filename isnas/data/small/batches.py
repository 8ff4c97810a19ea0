"""Batches: images live as bytes on the device and are cropped, mirrored, normalised and cut out a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.base.precision import sent
from isnas.base.random import generator, global_draws
from isnas.data.data_options import AugmentOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.epochs import EpochBatches, local_places
from isnas.data.small.datasets import ImageSet
from isnas.data.small.policies import apply_policy, load_policy


@dataclass(frozen=True)
class Augmentation:
    """A random crop of the zero-padded image, a random mirror image, a policy, a random blank square, in this order.

    Args:
        padding: Zero pixels on each side, p; the crop's corner is uniform over (2 p + 1)^2 places.
        flip: Whether one image in two is mirrored left to right.
        cutout_length: Side L of the square that is set to the mean; its centre is uniform over the image, and what
            lies beyond the border is lost. 0 means no cutout.
        autoaugment: One of :data:`isnas.data.small.policies.POLICIES`, applied to the bytes of each crop, or ``off``.
    """

    padding: int
    flip: bool
    cutout_length: int = 0
    autoaugment: str = "off"

    def draw(self, rng: torch.Generator, count: int, image_size: int) -> Tensor:
        """Random numbers for ``count`` images, int64 (5, count), all but those of the policy.

        The rows are the crop's top and left in the padded image, whether the padded image is mirrored before, and
        the row and column of the cutout's centre in the crop.
        """
        corner = torch.randint(2 * self.padding + 1, (2, count), generator=rng)
        flip = torch.randint(1 + self.flip, (1, count), generator=rng)
        centre = torch.randint(image_size, (2, count), generator=rng)
        return torch.cat([corner, flip, centre])


def augmentation(options: AugmentOptions, info: DatasetInfo) -> Augmentation:
    """The augmentation for a dataset, as ``options`` say.

    Raises:
        UserError: when the cutout is larger than the images.
    """
    length = options.cutout_length if options.cutout else 0
    if length > info.image_size:
        raise UserError(f"--cutout_length {length} is larger than the images, {info.image_size} x {info.image_size}")
    flip = info.flip if options.flip == "auto" else options.flip == "random"
    return Augmentation(options.padding(info.image_size), flip, length, options.autoaugment)


class Batches(EpochBatches):
    """Batches of some images of a set; each is a function of the seed, the purpose, the epoch and the step alone.

    With an augmentation they are for training: shuffled every epoch, augmented, and all of ``batch_size`` images.
    Without one they are for evaluation: every image once, in order, the last batch as large as what is left.

    The images are kept as one string of bytes: zero-padded, followed by their mirror images if there is a flip. A
    crop is then a matter of ``image_size`` strips of consecutive pixels, and one ``index_select`` from the
    overlapping view of all strips gathers a whole batch of crops, mirrored or not.

    With a policy this happens in the host's memory: the policy runs there, a batch of bytes is copied to the device
    without waiting for it, and normalised and cut out there. On a GPU it would wait several times per image, as its
    operations read histograms back.

    Args:
        images: The set.
        indices: Which of its images, int64; None means all.
        batch_size: Images per batch, B.
        seed: The run's seed.
        purpose: What the batches are for; other purposes draw other numbers.
        augment: The augmentation, or None for evaluation.
        device: Where the batches are, and the images unless there is a policy.

    Raises:
        UserError: when there are fewer images to train on than a batch has.
    """

    def __init__(
        self,
        images: ImageSet,
        indices: Tensor | None,
        batch_size: int,
        seed: int,
        purpose: str,
        augment: Augmentation | None,
        device: torch.device | str,
    ) -> None:
        self.seed, self.augment = seed, augment
        chosen, labels = images.images, images.labels
        if indices is not None:
            chosen, labels = chosen[indices], labels[indices]
        num_images, self.image_size, _, self.channels = chosen.shape
        super().__init__(num_images, batch_size, purpose, augment is not None)
        info = images.info
        std = torch.tensor(info.std)
        self._labels = labels.to(device)
        self._scale = (1 / (255 * std)).repeat(self.image_size).to(device)
        self._shift = (-torch.tensor(info.mean) / std).repeat(self.image_size).to(device)
        self._policy = load_policy(augment.autoaugment) if augment and augment.autoaugment != "off" else None
        self._images = _padded(chosen.to("cpu" if self._policy else device), augment)
        if augment:
            self._strips = self._images.flatten().unfold(0, self.image_size * self.channels, self.channels)
        self._side = self._images.shape[-2]
        self._rows = torch.arange(self.image_size, device=self._images.device) * self._side
        self._order: tuple[int, Tensor] | None = None

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Batch ``step`` of ``epoch``, made without reading anything back from the device.

        Returns:
            Normalised images, float32 (B, C, H, W) in ``channels_last``, and their labels, int64 (B,); of several
            processes each gets its part of the batch.
        """
        self.check_step(step)
        first = step * self.batch_size
        mine = local_places(first, self.batch_size, self.num_images)
        if self.augment is None:
            return self._normalised(self._images[0, mine]), self._labels[mine]
        rng = generator(self.seed, "augment", self.purpose, epoch, step)
        drawn = self.augment.draw(rng, self.batch_size, self.image_size)
        order = self._permutation(epoch)[first : first + self.batch_size]
        numbers = torch.cat([order.unsqueeze(0), drawn])[:, mine.start - first : mine.stop - first]
        on_device = sent(numbers, self._labels.device)
        if self._policy is None:
            pixels = self._crops(on_device)
        else:
            draws = partial(global_draws, self.seed, "policy", self.purpose, epoch)
            names = [draws(place) for place in range(mine.start, mine.stop)]
            pixels = _copied(apply_policy(self._policy, self._crops(numbers), names), self._labels.device)
        x = self._normalised(pixels)
        index, _, _, _, row, column = on_device.unbind()
        if self.augment.cutout_length:
            cut_out(x, row, column, self.augment.cutout_length)
        return x, self._labels.index_select(0, index)

    def _crops(self, numbers: Tensor) -> Tensor:
        index, top, left, flip, *_ = numbers.unbind()
        corner = ((flip * self.num_images + index) * self._side + top) * self._side + left
        strips = corner.unsqueeze(1) + self._rows
        return self._strips.index_select(0, strips.flatten()).view(-1, self.image_size, self.image_size, self.channels)

    def _permutation(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            rng = generator(self.seed, "order", self.purpose, epoch)
            self._order = epoch, torch.randperm(self.num_images, generator=rng)
        return self._order[1]

    def _normalised(self, pixels: Tensor) -> Tensor:
        size, channels = self.image_size, self.channels
        rows = pixels.reshape(-1, size, size * channels).float().mul_(self._scale).add_(self._shift)
        return rows.view(-1, size, size, channels).permute(0, 3, 1, 2)


def cut_out(x: Tensor, row: Tensor, column: Tensor, length: int) -> None:
    """Set in each image of x (B, C, S, S), ``channels_last``, the square around its (row, column) to 0, in place.

    The square covers rows row - L // 2 .. row - L // 2 + L - 1, and columns alike. Clamping a coordinate to the
    image moves it into the square, as the centre lies within the image.
    """
    batch, channels, size, _ = x.shape
    reach = torch.arange(length, device=x.device) - length // 2
    rows = (row.unsqueeze(1) + reach).clamp_(0, size - 1) + size * torch.arange(batch, device=x.device).unsqueeze(1)
    columns = (column.unsqueeze(1) + reach).clamp_(0, size - 1)
    pixels = rows.unsqueeze(2) * size + columns.unsqueeze(1)
    x.permute(0, 2, 3, 1).view(-1, channels).index_fill_(0, pixels.flatten(), 0)


def _padded(images: Tensor, augment: Augmentation | None) -> Tensor:
    """Images (N, H, W, C) as (1 or 2, N, H + 2 p, W + 2 p, C): zero-padded, then all of them mirrored if need be."""
    if augment is None:
        return images.unsqueeze(0)
    count, size, _, channels = images.shape
    inner = slice(augment.padding, augment.padding + size)
    side = size + 2 * augment.padding
    padded = images.new_zeros(1 + augment.flip, count, side, side, channels)
    padded[0, :, inner, inner] = images
    if augment.flip:
        padded[1] = padded[0].flip(2)
    return padded


def _copied(pixels: Tensor, device: torch.device) -> Tensor:
    """``pixels`` of the host on the device; from pinned memory, as the host waits for a copy from any other."""
    return sent(pixels.pin_memory() if device.type == "cuda" else pixels, device)

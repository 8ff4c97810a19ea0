import numpy as np
import pytest
import torch
from torchvision.transforms import functional as vision

from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.base.random import generator
from isnas.data.data_options import AugmentOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.small.batches import Augmentation, Batches, augmentation, cut_out
from isnas.data.small.datasets import ImageSet

SEED = 5


def image_set(count: int = 50, size: int = 16, channels: int = 3, flip: bool = True) -> ImageSet:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, size, size, channels), generator=rng, dtype=torch.uint8)
    mean, std = (0.49, 0.48, 0.44)[:channels], (0.24, 0.25, 0.26)[:channels]
    info = DatasetInfo("random", tuple("0123456789"), mean, std, size, flip)
    return ImageSet(pixels, torch.randint(10, (count,), generator=rng), info)


def training(images: ImageSet, batch_size: int = 8, purpose: str = "train_w", seed: int = SEED, **augment) -> Batches:
    augment = {"padding": 2, "flip": True, "cutout_length": 5} | augment
    return Batches(images, None, batch_size, seed, purpose, Augmentation(**augment), "cpu")


def drawn(batches: Batches, epoch: int, step: int) -> tuple[list[int], list[list[int]]]:
    """The images of a batch and, per image, (top, left, mirrored, cutout's row, cutout's column)."""
    order = torch.randperm(batches.num_images, generator=generator(SEED, "order", batches.purpose, epoch))
    rng = generator(SEED, "augment", batches.purpose, epoch, step)
    numbers = batches.augment.draw(rng, batches.batch_size, batches.image_size)
    return order[step * batches.batch_size :][: batches.batch_size].tolist(), numbers.t().tolist()


@pytest.mark.parametrize(
    ("channels", "size", "augment"),
    [
        (3, 16, {}),
        (1, 28, {"padding": 3, "cutout_length": 16}),
        (3, 16, {"flip": False, "cutout_length": 0}),
        (3, 16, {"padding": 0, "cutout_length": 40}),
        (1, 8, {"padding": 1, "cutout_length": 1}),
    ],
)
def test_a_batch_is_what_a_loop_over_pixels_in_numpy_makes_of_the_same_numbers(channels, size, augment):
    images = image_set(size=size, channels=channels)
    batches = training(images, **augment)
    padding, length = batches.augment.padding, batches.augment.cutout_length
    for epoch, step in ((0, 0), (3, 4)):
        x, y = batches.batch(epoch, step)
        chosen, numbers = drawn(batches, epoch, step)
        assert y.tolist() == images.labels[chosen].tolist()
        for got, index, (top, left, mirrored, row, column) in zip(x.numpy(), chosen, numbers):
            image = images.images[index].numpy()
            expected = np.zeros((channels, size, size))
            for i in range(size):
                for j in range(size):
                    source_i = i + top - padding
                    source_j = j + left - padding
                    if mirrored:
                        source_j = size - 1 - source_j
                    inside = 0 <= source_i < size and 0 <= source_j < size
                    pixel = image[source_i, source_j] / 255 if inside else np.zeros(channels)
                    cut = length and -(length // 2) <= i - row < length - length // 2
                    cut = cut and -(length // 2) <= j - column < length - length // 2
                    expected[:, i, j] = 0 if cut else (pixel - images.info.mean) / images.info.std
            np.testing.assert_allclose(got, expected, atol=2e-6)


def test_a_batch_agrees_with_torchvision():
    images = image_set(count=64)
    batches = training(images, batch_size=64, cutout_length=0)
    x, _ = batches.batch(0, 0)
    chosen, numbers = drawn(batches, 0, 0)
    assert {number[2] for number in numbers} == {0, 1}
    for got, index, (top, left, mirrored, *_) in zip(x, chosen, numbers):
        image = vision.pad(vision.to_tensor(images.images[index].numpy()), 2)
        image = vision.hflip(image) if mirrored else image
        image = vision.normalize(vision.crop(image, top, left, 16, 16), images.info.mean, images.info.std)
        torch.testing.assert_close(got, image)


def test_the_cutout_is_that_of_darts():
    def darts_mask(size, length, y, x):
        mask = np.ones((size, size), np.float32)
        y1, y2 = np.clip(y - length // 2, 0, size), np.clip(y + length // 2, 0, size)
        x1, x2 = np.clip(x - length // 2, 0, size), np.clip(x + length // 2, 0, size)
        mask[y1:y2, x1:x2] = 0.0
        return mask

    centres = torch.cartesian_prod(torch.arange(12), torch.arange(12))
    x = torch.ones(144, 2, 12, 12).to(memory_format=torch.channels_last)
    cut_out(x, centres[:, 0], centres[:, 1], 6)
    for image, (row, column) in zip(x.numpy(), centres.tolist()):
        assert (image == darts_mask(12, 6, row, column)).all()


def test_draws_are_uniform_and_within_their_ranges():
    numbers = Augmentation(padding=2, flip=True, cutout_length=3).draw(generator(0, "test"), 20_000, 10)
    for row, values in zip(numbers, (5, 5, 2, 10, 10)):
        shares = torch.bincount(row, minlength=values) / 20_000
        assert len(shares) == values
        assert (shares - 1 / values).abs().max() < 0.02
    assert Augmentation(padding=2, flip=False).draw(generator(0, "test"), 100, 10)[2].sum() == 0


def test_a_batch_depends_on_the_seed_the_purpose_the_epoch_and_the_step_alone():
    images = image_set()
    x, y = training(images).batch(2, 3)
    used = training(images)
    for step in (0, 5, 3):
        used.batch(7, step)
    torch.manual_seed(123)
    again = used.batch(2, 3)
    assert torch.equal(x, again[0]) and torch.equal(y, again[1])
    others = [
        training(images).batch(2, 4),
        training(images).batch(1, 3),
        training(images, purpose="train_b").batch(2, 3),
        training(images, seed=6).batch(2, 3),
    ]
    assert not any(torch.equal(x, other) for other, _ in others)


def test_an_epoch_can_be_entered_at_any_step():
    batches = training(image_set())
    whole, rest = list(batches.epoch(1)), list(training(image_set()).epoch(1, first_step=4))
    assert (len(whole), len(rest)) == (6, 2)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(whole[4:], rest))


def test_a_training_epoch_is_full_batches_of_different_images():
    images = ImageSet(torch.zeros(50, 8, 8, 1, dtype=torch.uint8), torch.arange(50), image_set(size=8, channels=1).info)
    epochs = [[y for _, y in training(images).epoch(epoch)] for epoch in (0, 1)]
    for batches in epochs:
        assert [len(y) for y in batches] == [8] * 6
        assert len(torch.cat(batches).unique()) == 48
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


@pytest.mark.parametrize("batch_size", [7, 50, 64])
def test_evaluation_counts_every_image_once_in_order_and_unchanged(batch_size):
    images = image_set()
    batches = Batches(images, None, batch_size, SEED, "test", None, "cpu")
    parts = list(batches.epoch())
    assert len(parts) == len(batches) == -(-50 // batch_size)
    x, y = (torch.cat(tensors) for tensors in zip(*parts))
    assert torch.equal(y, images.labels)
    info = images.info
    expected = torch.stack([vision.normalize(vision.to_tensor(i), info.mean, info.std) for i in images.images.numpy()])
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("augment", [None, Augmentation(padding=1, flip=True)])
def test_only_the_images_of_the_indices_are_used(augment):
    images = image_set()
    indices = torch.tensor([4, 40, 7, 8, 15])
    batches = Batches(images, indices, 5, SEED, "train_w", augment, "cpu")
    (_, y), *rest = batches.epoch()
    assert not rest
    assert sorted(y.tolist()) == sorted(images.labels[indices].tolist())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [None, Augmentation(padding=1, flip=True, cutout_length=3)])
def test_a_batch_is_channels_last_float_with_integer_labels(channels, augment):
    x, y = Batches(image_set(channels=channels), None, 10, SEED, "test", augment, "cpu").batch(0, 0)
    assert x.shape == (10, channels, 16, 16)
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.permute(0, 2, 3, 1).is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def test_the_stored_images_never_change():
    images = image_set()
    batches = Batches(images, None, 10, SEED, "test", None, "cpu")
    before = batches.batch(0, 1)[0].clone()
    batches.batch(0, 1)[0].zero_()
    assert torch.equal(batches.batch(0, 1)[0], before)


def test_a_batch_larger_than_its_images_is_a_user_error_in_training_alone():
    with pytest.raises(UserError, match=r"51 images .* train_w, which has 50"):
        training(image_set(), batch_size=51)
    assert len(training(image_set(), batch_size=50)) == 1


def test_a_step_beyond_the_epoch_is_an_index_error():
    with pytest.raises(IndexError, match="step 6 of 6"):
        training(image_set()).batch(0, 6)


@pytest.mark.parametrize(("size", "padding"), [(32, 4), (28, 3), (16, 2), (8, 1)])
def test_the_padding_grows_with_the_image_and_the_flip_is_the_datasets(size, padding):
    info = image_set(size=size, flip=False).info
    assert augmentation(build(AugmentOptions, {}), info) == Augmentation(padding, flip=False, cutout_length=0)


def test_images_without_crop_and_flip_are_those_of_an_evaluation():
    images = image_set(size=16, count=24)
    augment = augmentation(build(AugmentOptions, {"crop_padding": 0, "flip": "never"}), images.info)
    trained = Batches(images, None, 8, 0, "train_w", augment, "cpu")
    plain, _ = Batches(images, None, 24, 0, "valid", None, "cpu").batch(0, 0)
    order = trained._permutation(1)
    for step in range(3):
        x, labels = trained.batch(1, step)
        own = order[8 * step : 8 * step + 8]
        assert torch.equal(x, plain[own]) and torch.equal(labels, images.labels[own])
    assert augmentation(build(AugmentOptions, {"crop_padding": 5}), images.info).padding == 5


@pytest.mark.parametrize("by_dataset", [True, False])
def test_the_flip_can_be_chosen_whatever_the_dataset_says(by_dataset):
    info = image_set(flip=by_dataset).info
    flips = {choice: augmentation(build(AugmentOptions, {"flip": choice}), info).flip for choice in ("random", "never")}
    assert flips == {"random": True, "never": False}


def test_cutout_options():
    info = image_set(size=16).info
    assert augmentation(build(AugmentOptions, {"cutout": True}), info).cutout_length == 16
    with pytest.raises(UserError, match="no effect without --cutout"):
        build(AugmentOptions, {"cutout_length": 8})
    with pytest.raises(UserError, match="at least 1"):
        build(AugmentOptions, {"cutout": True, "cutout_length": 0})
    with pytest.raises(UserError, match=r"17 is larger than the images, 16 x 16"):
        augmentation(build(AugmentOptions, {"cutout": True, "cutout_length": 17}), info)


def test_no_step_reads_back_from_the_device():
    """On the meta device whatever needs a value of a tensor raises; on CUDA the same would wait for the device."""
    augment = Augmentation(padding=2, flip=True, cutout_length=5)
    x, y = Batches(image_set(), None, 8, SEED, "train_w", augment, "meta").batch(0, 1)
    assert (x.device.type, y.device.type) == ("meta", "meta")
    assert x.shape == (8, 3, 16, 16)

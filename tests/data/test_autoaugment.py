import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, RandAugment, TrivialAugmentWide
from torchvision.transforms import functional as vision

from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.base.random import derive_seed
from isnas.data.data_options import POLICIES, AugmentOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.small.batches import Augmentation, Batches, augmentation
from isnas.data.small.datasets import ImageSet
from isnas.data.small.policies import apply_policy, load_policy

SEED = 5


def smooth(count: int, channels: int, size: int = 32) -> torch.Tensor:
    """Images with contrast, edges and flat parts, uint8 (N, H, W, C)."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, channels, 4, 4, generator=rng) * 300 - 20
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return fine.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def image_set(pixels: torch.Tensor) -> ImageSet:
    channels = pixels.shape[3]
    mean, std = (0.49, 0.48, 0.44)[:channels], (0.24, 0.25, 0.26)[:channels]
    info = DatasetInfo("smooth", tuple("0123456789"), mean, std, pixels.shape[1], flip=True)
    return ImageSet(pixels, torch.arange(len(pixels)) % 10, info)


def training(images: ImageSet, autoaugment: str, seed: int = SEED, purpose: str = "train_w", **augment) -> Batches:
    augment = Augmentation(**({"padding": 4, "flip": True, "autoaugment": autoaugment} | augment))
    return Batches(images, None, 16, seed, purpose, augment, "cpu")


@pytest.mark.parametrize(
    ("name", "policy", "channels", "cutout_length"),
    [
        ("cifar10", AutoAugment(AutoAugmentPolicy.CIFAR10), 3, 16),
        ("svhn", AutoAugment(AutoAugmentPolicy.SVHN), 3, 0),
        ("imagenet", AutoAugment(AutoAugmentPolicy.IMAGENET), 1, 10),
        ("randaugment", RandAugment(), 3, 0),
        ("trivialaugment", TrivialAugmentWide(), 1, 5),
    ],
)
def test_a_batch_is_the_crops_each_changed_by_torchvision_then_normalised_then_cut_out(
    name, policy, channels, cutout_length
):
    images = image_set(smooth(48, channels))
    mean, std = images.info.mean, images.info.std
    for epoch, step in ((0, 0), (2, 1)):
        x, y = training(images, name, cutout_length=cutout_length).batch(epoch, step)
        crops, labels = training(images, "off").batch(epoch, step)
        without_policy, _ = training(images, "off", cutout_length=cutout_length).batch(epoch, step)
        cut = (without_policy != crops).any(1, keepdim=True)
        assert cut.any() == (cutout_length > 0)
        crops = crops * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
        pixels = (crops * 255).round().byte()
        changed = []
        for position, image in enumerate(pixels):
            torch.manual_seed(derive_seed(SEED, "policy", "train_w", epoch, step * len(pixels) + position))
            changed.append(vision.pil_to_tensor(policy(vision.to_pil_image(image))))
        assert sum(not torch.equal(a, b) for a, b in zip(pixels, changed)) > 8
        expected = torch.stack([vision.normalize(image / 255, mean, std) for image in changed])
        torch.testing.assert_close(x, expected.masked_fill(cut, 0), atol=2e-6, rtol=1e-5)
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(y, labels)


@pytest.mark.parametrize("name", POLICIES)
def test_the_policy_is_a_function_of_the_seed_the_purpose_the_epoch_and_the_step_alone(name):
    images = image_set(smooth(1, 3).expand(64, -1, -1, -1))  # all the same, so that nothing but the policy differs
    fixed = {"padding": 0, "flip": False}
    x, _ = training(images, name, **fixed).batch(1, 2)
    used = training(images, name, **fixed)
    used.batch(3, 0)
    torch.manual_seed(123)
    assert torch.equal(x, used.batch(1, 2)[0])
    others = [
        used.batch(1, 3),
        used.batch(2, 2),
        training(images, name, seed=6, **fixed).batch(1, 2),
        training(images, name, purpose="train_b", **fixed).batch(1, 2),
    ]
    assert not any(torch.equal(x, other) for other, _ in others)
    assert len(x.flatten(1).unique(dim=0)) > 4  # the images of a batch differ in what is done to them


def test_global_generators_are_left_as_they_were():
    batches = training(image_set(smooth(16, 3)), "cifar10")
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    batches.batch(0, 0)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


@pytest.mark.parametrize("size", [8, 28])
@pytest.mark.parametrize("name", POLICIES)
def test_a_grey_image_changes_as_a_colour_image_of_the_same_greys(name, size):
    """In a thousand draws of each policy."""
    grey = smooth(1000, 1, size)
    grey[::20] = 7  # no contrast at all
    policy = load_policy(name)
    results = []
    for images in (grey, grey.expand(-1, -1, -1, 3)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            results.append(apply_policy(policy, images.contiguous(), [nullcontext()] * len(images)))
    assert results[0].shape == grey.shape and results[0].dtype == torch.uint8
    assert torch.equal(results[0].expand(-1, -1, -1, 3), results[1])
    assert 0.3 < (results[0] != grey).flatten(1).any(1).float().mean() < 1


def test_the_policy_comes_from_the_option_and_is_off_by_default():
    info = image_set(smooth(1, 3)).info
    assert augmentation(build(AugmentOptions, {}), info) == Augmentation(padding=4, flip=True)
    options = build(AugmentOptions, {"autoaugment": "svhn", "cutout": True})
    assert augmentation(options, info) == Augmentation(4, flip=True, cutout_length=16, autoaugment="svhn")
    with pytest.raises(UserError, match="unknown autoaugment 'cifar100'; choose from off, cifar10, svhn, imagenet"):
        build(AugmentOptions, {"autoaugment": "cifar100"})


def test_no_step_reads_back_from_the_device():
    """On the meta device whatever needs a value of a tensor raises; the policy works on the host's bytes alone."""
    augment = Augmentation(padding=2, flip=True, cutout_length=5, autoaugment="imagenet")
    x, y = Batches(image_set(smooth(32, 3)), None, 16, SEED, "train_w", augment, "meta").batch(0, 1)
    assert (x.device.type, y.device.type) == ("meta", "meta")
    assert x.shape == (16, 3, 32, 32)

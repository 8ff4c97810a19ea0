"""Crops of encoded images against torchvision's transforms of the same images."""

import io

import numpy as np
import pytest
import torch
from jpegs import picture
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as vision

from isnas.data.large.crops import (
    Draws,
    centre_box,
    decode_crop,
    draw,
    evaluation_chooser,
    random_box,
    training_chooser,
)


def encoded(image: Image.Image, kind: str = "JPEG", **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def torchvisions_box(draws: Draws, width: int, height: int, monkeypatch) -> tuple[int, ...]:
    """What RandomResizedCrop makes of the numbers, which it gets in place of torch's random ones."""
    pairs = iter([number for pair in zip(draws.areas, draws.ratios) for number in pair])
    places = iter([draws.top, draws.left])
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", lambda self, low, high: self.fill_(low + next(pairs) * (high - low)))
        patch.setattr(torch, "randint", lambda low, high, size: torch.tensor([int(next(places) * high)]))
        top, left, h, w = transforms.RandomResizedCrop.get_params(
            Image.new("L", (width, height)), [0.08, 1.0], [3 / 4, 4 / 3]
        )
    return left, top, left + w, top + h


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (64, 64), (900, 60), (50, 700), (3, 2), (1, 1)])
def test_a_random_crop_is_where_torchvision_places_it_with_the_same_numbers(size, monkeypatch):
    boxes, expected = [], []
    for sample in range(60):
        draws = draw(3, "train", 0, sample)
        boxes.append(random_box(draws, *size)[:4])
        expected.append(torchvisions_box(draws, *size, monkeypatch))
    assert np.abs(np.subtract(boxes, expected)).max() <= 1  # torchvision computes in float32
    assert np.mean(np.equal(boxes, expected).all(1)) > 0.95
    if size == (900, 60):
        assert (410, 0, 490, 60) in boxes  # no attempt fits: the centre, 4:3


def test_the_numbers_of_an_image_are_uniform_and_its_own():
    numbers = np.array([[*d.areas, *d.ratios, d.top, d.left, *d.jitter, *d.order] for d in drawn(400)])
    assert numbers.min() >= 0 and numbers.max() < 1
    assert np.abs(numbers.mean(0) - 0.5).max() < 4 * (1 / 12 / 400) ** 0.5
    assert 160 < sum(d.flip for d in drawn(400)) < 240
    assert len({tuple(d.areas) for d in drawn(400)}) == 400
    first = draw(0, "train", 0, 7)
    assert first == draw(0, "train", 0, 7)
    others = (draw(1, "train", 0, 7), draw(0, "test", 0, 7), draw(0, "train", 1, 7), draw(0, "train", 0, 8))
    assert all(first.areas != other.areas for other in others)


def drawn(count: int) -> list[Draws]:
    return [draw(0, "train", 2, sample) for sample in range(count)]


@pytest.mark.parametrize("size", [(500, 375), (375, 501), (40, 64)])
def test_a_training_crop_is_torchvisions_to_the_bit(size):
    data = encoded(picture(1, *size), quality=90)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    for draws in drawn(6):
        left, top, right, bottom, _ = (int(number) for number in random_box(draws, *size))
        expected = vision.resized_crop(image, top, left, bottom - top, right - left, [96, 96])
        expected = vision.hflip(expected) if draws.flip else expected
        np.testing.assert_array_equal(decode_crop(data, training_chooser(draws), 96, draws.flip), expected)


@pytest.mark.parametrize(("width", "height"), [(120, 91), (91, 120), (300, 64), (64, 64), (37, 40)])
def test_an_evaluation_crop_is_torchvisions_resize_and_centre_crop(width, height):
    data = encoded(picture(2, width, height), quality=90)
    reference = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(56)])
    expected = np.asarray(reference(Image.open(io.BytesIO(data)).convert("RGB"))).astype(int)
    difference = np.abs(expected - decode_crop(data, evaluation_chooser(56), 56, flip=False))
    assert difference.max() <= 2 and difference.mean() < 0.1


def test_an_evaluation_sees_the_centre_seven_eighths_of_the_shorter_side():
    assert centre_box(224, 256, 256)[:4] == (16, 16, 240, 240)
    left, top, right, bottom, _ = centre_box(224, 1024, 512)
    assert (left, top, right, bottom) == (288, 32, 736, 480)


def test_a_jpeg_much_larger_than_its_crop_is_decoded_smaller_and_differs_by_less_than_a_level():
    rng = np.random.default_rng(0)
    pixels = np.asarray(picture(3, 1200, 900)).astype(float) + rng.normal(0, 5, (900, 1200, 1))
    data = encoded(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), quality=90)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    means = []
    for draws in drawn(8):
        left, top, right, bottom, _ = (int(number) for number in random_box(draws, 1200, 900))
        assert min(right - left, bottom - top) >= 4 * 32  # all of them are reduced
        whole = np.asarray(vision.resized_crop(image, top, left, bottom - top, right - left, [32, 32])).astype(int)
        means.append(np.abs(whole - decode_crop(data, training_chooser(draws), 32, flip=False)).mean())
    assert 0 < max(means) < 1


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("L", "PNG"), ("1", "PNG")])
def test_whatever_is_stored_becomes_rgb(mode, kind):
    data = encoded(picture(4).convert(mode), kind)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    whole = decode_crop(data, lambda width, height: (0, 0, width, height, True), 40, flip=False)
    np.testing.assert_array_equal(whole, expected.resize((40, 40), Image.Resampling.BILINEAR))


def test_orientation_is_applied_transparency_is_white_and_16_bits_are_scaled():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = Image.new("RGB", (40, 40))
    image.paste((255, 255, 255), (0, 0, 40, 10))
    turned = decode_crop(encoded(image, exif=exif), lambda width, height: (0, 0, width, height, True), 40, flip=False)
    assert turned[:, 35:].min() > 240 and turned[:, :25].max() < 15
    whole = decode_crop(encoded(Image.new("LA", (8, 8), (0, 0)), "PNG"), evaluation_chooser(8), 8, flip=False)
    assert whole.min() == 255
    deep = Image.fromarray(np.full((8, 8), 32768, np.uint16))
    assert decode_crop(encoded(deep, "PNG"), evaluation_chooser(8), 8, flip=False).max() == 128

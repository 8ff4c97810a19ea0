"""Colour jitter of a batch against torchvision's functions, image by image."""

import itertools

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import functional as vision

from isnas.data.large.jitter import HUE, color_jitter, jitter_factors, turn_hue

CHANGES = (vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue)


def images(count: int) -> torch.Tensor:
    """Random ones, and some with pure colours, equal channels and no contrast at all."""
    x = torch.rand(count, 3, 11, 13, generator=torch.Generator().manual_seed(0))
    x[0] = x[0].round()
    x[1, 1] = x[1, 0]
    x[2, 2] = x[2, 1]
    x[3] = 0.5
    x[4] = 0.0
    return x


@pytest.mark.parametrize("channels_last", [False, True])
def test_every_order_is_what_torchvision_makes_of_each_image(channels_last):
    order = torch.tensor(list(itertools.permutations(range(4))))
    factors = jitter_factors(torch.rand(24, 4, generator=torch.Generator().manual_seed(1)))
    x = images(24)
    given = x.to(memory_format=torch.channels_last) if channels_last else x
    result = color_jitter(given.clone(memory_format=torch.preserve_format), factors, order)
    assert torch.equal(given, x)
    for got, image, numbers, changes in zip(result, x, factors.tolist(), order.tolist()):
        for change in changes:
            image = CHANGES[change](image, numbers[change])
        torch.testing.assert_close(got, image, atol=5e-6, rtol=0)


def test_the_factors_are_those_of_the_strengths_0_4_0_4_0_4_0_2():
    ends = jitter_factors(torch.tensor([[0.0] * 4, [0.5] * 4, [1.0] * 4]))
    jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.2)
    bounds = [jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue]
    torch.testing.assert_close(ends[[0, 2]].t(), torch.tensor(bounds, dtype=torch.float32))
    assert ends[1].tolist() == [1, 1, 1, 0]


def test_neutral_factors_change_nothing_and_a_whole_turn_comes_back():
    x = images(6)
    order = torch.arange(4).repeat(6, 1)
    torch.testing.assert_close(color_jitter(x, torch.tensor([[1.0, 1, 1, 0]] * 6), order), x, atol=1e-6, rtol=0)
    torch.testing.assert_close(turn_hue(x, torch.ones(6)), x, atol=2e-6, rtol=0)


def test_no_image_is_changed_by_its_neighbours():
    x = images(5)
    factors = jitter_factors(torch.rand(5, 4, generator=torch.Generator().manual_seed(2)))
    order = torch.tensor([[HUE, 0, 1, 2], [0, 1, 2, HUE], [1, HUE, 0, 2], [2, 1, HUE, 0], [HUE, 2, 1, 0]])
    together = color_jitter(x, factors, order)
    alone = torch.cat([color_jitter(x[k : k + 1], factors[k : k + 1], order[k : k + 1]) for k in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_an_empty_batch_stays_empty():
    empty = torch.empty(0, 4)
    assert color_jitter(torch.empty(0, 3, 4, 4), empty, empty.long()).shape == (0, 3, 4, 4)

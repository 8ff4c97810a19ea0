"""Colour jitter of a whole batch at once, each image with its own factors in its own order."""

from __future__ import annotations

import torch
from torch import Tensor

from isnas.base.precision import sent

#: The four changes by number, in this order, and how far their factors reach: 1 +- 0.4 for the first three, and a turn
#: of the hue by up to +-0.2 of the circle.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
STRENGTHS = (0.4, 0.4, 0.4, 0.2)

#: Weights of red, green and blue in a grey level, as torchvision has them for floats.
_GREY = (0.2989, 0.587, 0.114)


def jitter_factors(uniform: Tensor) -> Tensor:
    """Factors (B, 4) from uniform numbers in [0, 1): what is multiplied by, and by how much of a circle hues turn."""
    strengths = torch.tensor(STRENGTHS, dtype=uniform.dtype)
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=uniform.dtype)
    return neutral + strengths * (2 * uniform - 1)


def color_jitter(x: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Images changed in brightness, contrast, saturation and hue, one after the other.

    The first three mix an image x with black, with the mean of its grey levels, or with its grey levels, y:
    clamp(f x + (1 - f) y, 0, 1), which for a whole batch is one expression. The hue changes by a turn of the colour
    circle of HSV. Source: torchvision's ColorJitter, on floats.

    Args:
        x: RGB in [0, 1], float (B, 3, H, W), on any device.
        factors: Those of :func:`jitter_factors`, float (B, 4), on the host.
        order: Which change comes first, second, ... for each image: permutations of 0..3, int64 (B, 4), on the host.

    Returns:
        Images like x. Nothing is read back from the device.
    """
    mixing, greys, means = sent(_mixtures(factors.to(x.dtype), order), x.device).unbind()
    for place in range(4):
        f, grey_share, mean_share = (each[:, place].view(-1, 1, 1, 1) for each in (mixing, greys, means))
        grey = _grey(x)
        other = grey * grey_share + grey.mean((1, 2, 3), keepdim=True) * mean_share
        x = (x * f).addcmul_(other, 1 - f).clamp_(0, 1)
        turned = (order[:, place] == HUE).nonzero().squeeze(1)
        if len(turned):
            on_device = sent(turned, x.device)
            turns = sent(factors[turned, HUE].to(x.dtype), x.device)
            x.index_copy_(0, on_device, turn_hue(x.index_select(0, on_device), turns))
    return x


def turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """RGB images in [0, 1], float (B, 3, H, W), with all hues turned by ``turns`` (B,), in circles.

    With h the hue in sixths of a circle, v the largest and c the largest less the smallest channel, a channel becomes
    v - c clamp(min(k, 4 - k), 0, 1), k = (n + h) mod 6, n = 5, 3, 1 for red, green and blue.
    """
    red, green, blue = x.unbind(1)
    v = x.amax(1)
    c = v - x.amin(1)
    safe = torch.where(c == 0, torch.ones_like(c), c)
    of_green = (blue - red) / safe + 2
    of_blue = (red - green) / safe + 4
    h = torch.where(v == red, (green - blue) / safe, torch.where(v == green, of_green, of_blue))
    h = h + 6 * turns.view(-1, 1, 1)
    channels = []
    for n in (5, 3, 1):
        k = torch.remainder(h + n, 6)
        channels.append(v - c * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, 1)


def _mixtures(factors: Tensor, order: Tensor) -> Tensor:
    """(3, B, 4): at each place in the order, f, and whether the grey levels or their mean are mixed in."""
    ordered = factors.gather(1, order)
    f = torch.where(order == HUE, torch.ones_like(ordered), ordered)
    return torch.stack([f, (order == SATURATION).to(f), (order == CONTRAST).to(f)])


def _grey(x: Tensor) -> Tensor:
    red, green, blue = _GREY
    return (x[:, :1] * red).add_(x[:, 1:2], alpha=green).add_(x[:, 2:], alpha=blue)

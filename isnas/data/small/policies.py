"""Augmentation policies by name: torchvision's, applied to a batch of bytes image by image, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from PIL import Image
from torch import Tensor

#: What turns one image into another of the same size and mode; it draws from torch's global CPU generator.
Policy = Callable[[Image.Image], Image.Image]


def load_policy(name: str) -> Policy:
    """One of :data:`POLICIES`, with torchvision's defaults.

    Sources: AutoAugment, https://arxiv.org/abs/1805.09501; RandAugment, https://arxiv.org/abs/1909.13719;
    TrivialAugment, https://arxiv.org/abs/2103.10158.
    """
    from torchvision import transforms  # slow to import, and most runs have no policy

    if name == "randaugment":
        return transforms.RandAugment()
    if name == "trivialaugment":
        return transforms.TrivialAugmentWide()
    return transforms.AutoAugment(transforms.AutoAugmentPolicy(name))


def apply_policy(policy: Policy, images: Tensor, draws: Sequence[AbstractContextManager[None]]) -> Tensor:
    """Images, uint8 (B, H, W, C) on the CPU with C = 1 or 3, each after its own draw of ``policy``.

    ``draws`` are blocks in which torch's global generator is an image's own.

    The operations are Pillow's, as in AutoAugment's own code, and not torchvision's on tensors; all of them take grey
    images, on which that of saturation changes nothing.
    """
    pixels = images.squeeze(3).numpy()  # a grey image has no third dimension in Pillow
    changed = np.empty_like(pixels)
    for number, (image, own) in enumerate(zip(pixels, draws)):
        with own:
            changed[number] = np.asarray(policy(Image.fromarray(image)))
    return torch.from_numpy(changed).view(images.shape)

"""A method at its start, on the CPU, as the tools build it."""

import torch

from isnas.data.dataset_info import DatasetInfo
from isnas.engine.method import Setting
from isnas.methods.registry import METHODS, make_options
from isnas.train.stepping import Stepping

CPU = torch.device("cpu")
SMALL = {"cells": {"init_channels": 4, "layers": 3}, "chain": {"widths": "digits"}}


def make_setting(options, *, channels=1, num_classes=10, steps=1, stepping=None):
    """Where a method finds itself: images of so many channels and classes, and ``steps`` steps an epoch."""
    classes = tuple(map(str, range(num_classes)))
    info = DatasetInfo("noise", classes, (0.5,) * channels, (0.25,) * channels, 16, False)
    sizes, stepping = options.sizes(info.channels, info.num_classes), stepping or Stepping(options, CPU)
    return Setting(options.make_space(), sizes, info, stepping, lambda epoch: steps)


def make_method(name, *, space="cells", steps=1, dtype=torch.float64, **values):
    """The method with the options ``values``, in a small network of a space whose weights are of ``dtype``."""
    options = make_options(name, space, **SMALL[space] | values)
    method = METHODS[name].build(options, make_setting(options, steps=steps))
    method.network.to(dtype)
    return method


def noise(number, size=8, image_size=16):
    """A batch of images (size, 1, image_size, image_size) and labels, another for each number."""
    drawn = torch.Generator().manual_seed(number)
    images = torch.randn(size, 1, image_size, image_size, generator=drawn, dtype=torch.float64)
    return images, torch.randint(10, (size,), generator=drawn)

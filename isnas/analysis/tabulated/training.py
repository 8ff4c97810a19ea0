"""Trains the networks of one architecture side by side, one for each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from isnas.analysis.tabulated.benchmarks import Benchmark
from isnas.base.random import initialising
from isnas.data.data_options import DataOptions
from isnas.data.small.batches import Augmentation, Batches
from isnas.data.small.datasets import Dataset, load_dataset
from isnas.nets.side_by_side import SideBySide
from isnas.space.connections import Support
from isnas.train.optim import set_learning_rate

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, LARGEST_NORM = 0.025, 0.9, 3e-4, 5.0
#: Images of a batch in the test.
TEST_BATCH = 1000


class Trained(NamedTuple):
    """What a network reaches on the test images: mean cross-entropy, and accuracy (percent)."""

    loss: float
    acc: float


def images_of(benchmark: Benchmark) -> Dataset:
    """The images that the networks of a benchmark are trained and tested on.

    Raises:
        UserError: when they are not there and cannot be downloaded.
    """
    size, most = benchmark.image_size, benchmark.max_train_images
    return load_dataset(DataOptions(dataset=benchmark.dataset, image_size=size, max_train_images=most))


def learning_rate(step: int, steps: int) -> float:
    """Of a step (from 0): ``0.025 (1 + cos(pi step / steps)) / 2``."""
    return LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * step / steps))


class Trainer:
    """Trains architectures of a benchmark on the CPU; the images stay where they are."""

    def __init__(self, benchmark: Benchmark, dataset: Dataset) -> None:
        self.benchmark, self.dataset = benchmark, dataset
        cpu = torch.device("cpu")
        plain = Augmentation(padding=0, flip=False)
        size = benchmark.batch_size
        self._batches = cache(lambda seed: Batches(dataset.train, None, size, seed, "train", plain, cpu))
        test = Batches(dataset.test, None, TEST_BATCH, 0, "test", None, cpu)
        self._test = [(x.contiguous(), labels) for x, labels in test.epoch()]

    def train(self, support: Support, seeds: Sequence[int]) -> list[Trained]:
        """Train a network of an architecture for each of these seeds, and test them."""
        networks = self.trained(support, seeds)
        networks.eval()
        losses, correct = torch.zeros(len(seeds), dtype=torch.float64), torch.zeros(len(seeds), dtype=torch.int64)
        with torch.no_grad():
            for x, labels in self._test:
                logits = networks(x.expand(len(seeds), *x.shape))
                for number, scores in enumerate(logits):
                    losses[number] += F.cross_entropy(scores, labels, reduction="sum").double()
                    correct[number] += (scores.argmax(1) == labels).sum()
        count = len(self.dataset.test)
        return [Trained(float(loss) / count, 100 * int(right) / count) for loss, right in zip(losses, correct)]

    def trained(self, support: Support, seeds: Sequence[int]) -> SideBySide:
        """The networks after their last step."""
        benchmark, space = self.benchmark, self.benchmark.space
        info = self.dataset.info
        sizes = {"stem": "cifar", "in_channels": info.channels, "num_classes": info.num_classes}
        sizes |= {"init_channels": benchmark.init_channels, "layers": benchmark.layers}
        networks = []
        for seed in seeds:
            with initialising(seed, "weights"):
                networks.append(space.target_network(space.genotype(support), **sizes))
        side_by_side = SideBySide(networks).train()
        parameters = list(side_by_side.parameters())
        optimizer = torch.optim.SGD(parameters, LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
        batches = [self._batches(seed) for seed in seeds]
        per_epoch = len(batches[0])
        steps = benchmark.epochs * per_epoch
        for step in range(steps):
            set_learning_rate(optimizer, learning_rate(step, steps))
            x, labels = self._drawn(batches, *divmod(step, per_epoch))
            losses = F.cross_entropy(side_by_side(x).flatten(0, 1), labels.flatten(), reduction="none")
            losses.view(len(seeds), -1).mean(1).sum().backward()
            side_by_side.clip_gradients(LARGEST_NORM)
            optimizer.step()
            optimizer.zero_grad()
        return side_by_side

    def _drawn(self, batches: Sequence[Batches], epoch: int, step: int) -> tuple[Tensor, Tensor]:
        x, labels = zip(*(each.batch(epoch, step) for each in batches))
        return torch.stack(x).contiguous(), torch.stack(labels)

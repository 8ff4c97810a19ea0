"""Images per second: batched augmentation against torchvision's per-image transforms in a DataLoader.

Both sides pad by 4, crop, flip and normalise random 32 x 32 x 3 images in batches of 256, on the CPU with 2 threads or
2 worker processes. They are timed in turns; the figures are medians over the turns. Exits with 1 below 10 times.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from rates import described, report, table
from torchvision import datasets, transforms

from isnas.data.dataset_info import DatasetInfo
from isnas.data.small.batches import Augmentation, Batches
from isnas.data.small.datasets import ImageSet

BATCH_SIZE = 256
THREADS = 2
MEAN, STD = (0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)
LEAST_RATIO = 10.0
BASELINE = "torchvision transforms, DataLoader with 2 workers"


class InMemoryCIFAR10(datasets.CIFAR10):
    """Torchvision's data set, with its own ``__getitem__``, on images that come from no file."""

    def __init__(self, images: ImageSet, transform: Callable) -> None:
        self.data, self.targets = images.images.numpy(), images.labels.tolist()
        self.transform, self.target_transform = transform, None


def random_images(count: int) -> ImageSet:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 32, 32, 3), generator=rng, dtype=torch.uint8)
    info = DatasetInfo("random", tuple("0123456789"), MEAN, STD, image_size=32, flip=True)
    return ImageSet(pixels, torch.arange(count) % 10, info)


def torchvision_batches(images: ImageSet) -> Iterator:
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    loader = torch.utils.data.DataLoader(
        InMemoryCIFAR10(images, transform),
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


def our_batches(images: ImageSet, cutout_length: int = 0) -> Iterator:
    augment = Augmentation(padding=4, flip=True, cutout_length=cutout_length)
    batches = Batches(images, None, BATCH_SIZE, 0, "benchmark", augment, "cpu")
    return itertools.chain.from_iterable(map(batches.epoch, itertools.count()))


def images_per_second(batches: Iterator, timed: int) -> float:
    """The rate over ``timed`` batches, after a quarter as many that use up what workers have prepared ahead."""
    for _ in itertools.islice(batches, timed // 4):
        pass
    start = time.perf_counter()
    for _ in itertools.islice(batches, timed):
        pass
    return timed * BATCH_SIZE / (time.perf_counter() - start)


def measure(quick: bool) -> dict[str, dict[str, float]]:
    images = random_images(10_000 if quick else 50_000)
    repeats, loader_batches, our_count = (3, 20, 200) if quick else (15, 40, 400)
    sides = {
        BASELINE: (torchvision_batches(images), loader_batches),
        "isnas Batches": (our_batches(images), our_count),
        "isnas Batches with cutout 16": (our_batches(images, 16), our_count),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, (batches, count) in sides.items():
            rate = images_per_second(batches, count)
            if turn:  # the first touches memory for the first time
                rates[name].append(rate)
            time.sleep(0.5)  # workers that run ahead come to rest
    baseline = statistics.median(rates[BASELINE])
    return {name: described(values, round(statistics.median(values) / baseline, 1)) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images and repeats")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table, as JSON if FILE ends in .json")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    results = measure(arguments.quick)
    report(results, table("Augmentation", results, digits=1), arguments.output)
    if results["isnas Batches"]["ratio"] < LEAST_RATIO:
        sys.exit(f"bound missed: the ratio is below {LEAST_RATIO}")


if __name__ == "__main__":
    main()

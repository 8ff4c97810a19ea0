"""Images per second: batched augmentation against torchvision's per-image transforms in a DataLoader.

Both sides pad by 4, crop, flip and normalise random 32 x 32 x 3 images in batches of 256, on the CPU with 2 threads or
2 worker processes. They are timed in turns; the figures are medians over the turns. Exits with 1 below 10 times.
"""

import itertools
import statistics
import sys
from collections.abc import Callable, Iterator

import torch
from common import make_parser
from rates import OUTPUT, Way, described, rates_in_turn, report, table
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


def measure(quick: bool) -> dict[str, dict[str, float]]:
    images = random_images(2 * BATCH_SIZE if quick else 50_000)
    turns, loader_batches, our_count, rest = (1, 4, 4, 0.0) if quick else (15, 40, 400, 0.5)
    ways = {
        BASELINE: Way(torchvision_batches(images), loader_batches, loader_batches // 4),
        "isnas Batches": Way(our_batches(images), our_count, our_count // 4),
        "isnas Batches with cutout 16": Way(our_batches(images, 16), our_count, our_count // 4),
    }
    rates = rates_in_turn(ways, BATCH_SIZE, turns, rest)
    baseline = statistics.median(rates[BASELINE])
    return {name: described(values, round(statistics.median(values) / baseline, 1)) for name, values in rates.items()}


def main() -> None:
    arguments = make_parser(__doc__, OUTPUT).parse_args()
    torch.set_num_threads(1 if arguments.quick else THREADS)
    results = measure(arguments.quick)
    report(results, table("Augmentation", results, digits=1), arguments.output)
    if not arguments.quick and results["isnas Batches"]["ratio"] < LEAST_RATIO:
        sys.exit(f"bound missed: the ratio is below {LEAST_RATIO}")


if __name__ == "__main__":
    main()

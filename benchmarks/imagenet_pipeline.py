"""Images per second from JPEG files to normalised batches: StreamedBatches against torchvision in a DataLoader.

Both sides read JPEGs of 500 x 400 pixels, made here with quality 90, crop them at random to 224 x 224, flip and
normalise them in batches of 64, with 2 worker processes and 1 thread in the process that receives the batches, all on
the same 2 cores. Shards stand beside it, and both with colour jitter. The sides are timed in turns; a ratio is the
median over the turns of the rates' ratios. Exits with 1 below 1.15 times.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from common import ROOT, make_parser
from PIL import Image
from rates import OUTPUT, Way, described, rates_in_turn, report, table
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms

from isnas.base.options import build
from isnas.data.catalogue import CATALOGUE
from isnas.data.data_options import ImageOptions
from isnas.data.opening import load_stream, make_batches

CORES = 2
WIDTH, HEIGHT, QUALITY = 500, 400, 90
CLASSES = 4
LEAST_RATIO = 1.15
BASELINE = "torchvision ImageFolder, DataLoader"
OURS = "isnas StreamedBatches"
JITTERED = ", with colour jitter"


class Sizes(NamedTuple):
    """How much is measured."""

    images: int
    batch_size: int
    workers: int
    turns: int
    timed: int
    rest_seconds: float


FULL, QUICK = Sizes(512, 64, 2, 9, 16, 1.0), Sizes(16, 8, 1, 1, 1, 0.0)


def picture(rng: np.random.Generator) -> Image.Image:
    """Waves and soft blotches in colours under fine grain; as a JPEG about 80 kB, not far from a photograph."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0)
    for channel in range(3):
        for _ in range(6):
            across, down = rng.normal(0, 0.02, 2)
            pixels[..., channel] += 15 * rng.normal() * np.sin(across * x + down * y + rng.uniform(0, 2 * np.pi))
    coarse = np.clip(rng.normal(128, 40, (HEIGHT // 8, WIDTH // 8, 3)), 0, 255).astype(np.uint8)
    pixels += np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float) - 128
    pixels += rng.normal(0, 6, (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def make_images(root: Path, count: int) -> None:
    """``count`` training images in classes, and one validation image of each class."""
    rng = np.random.default_rng(0)
    for number in range(count + CLASSES):
        folder = root / ("train" if number < count else "val") / f"class {number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        picture(rng).save(folder / f"{number:04d}.jpg", quality=QUALITY)


def torchvision_batches(root: Path, sizes: Sizes, color_jitter: bool = False) -> Iterator:
    """One endless epoch, as the end of one makes a DataLoader wait."""
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            *([transforms.ColorJitter(0.4, 0.4, 0.4, 0.2)] if color_jitter else []),
            transforms.ToTensor(),
            transforms.Normalize(*CATALOGUE["imagenet"].statistics),
        ]
    )
    images = datasets.ImageFolder(root / "train", transform)
    sampler = RandomSampler(images, replacement=True, num_samples=10**8)
    return iter(DataLoader(images, sizes.batch_size, sampler=sampler, num_workers=sizes.workers))


def our_batches(root: Path, sizes: Sizes, color_jitter: bool = False) -> Iterator:
    values = {"dataset": "imagenet", "data": str(root), "workers": sizes.workers, "color_jitter": color_jitter}
    options = build(ImageOptions, values)
    images = load_stream(options).train
    batches = make_batches(images, None, sizes.batch_size, 0, "benchmark", True, "cpu", options)
    return itertools.chain.from_iterable(map(batches.epoch, itertools.count()))


def measure(root: Path, sizes: Sizes) -> dict[str, dict[str, float]]:
    make_images(root / "files", sizes.images)
    command = [sys.executable, ROOT / "tools" / "make_shards.py", "--data", root / "files"]
    command += ["--output", root / "shards", "--images_per_shard", "64"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    sides = {
        BASELINE: torchvision_batches(root / "files", sizes),
        OURS: our_batches(root / "files", sizes),
        OURS + ", from shards": our_batches(root / "shards", sizes),
        BASELINE + JITTERED: torchvision_batches(root / "files", sizes, color_jitter=True),
        OURS + JITTERED: our_batches(root / "files", sizes, color_jitter=True),
    }
    ways = {name: Way(batches, sizes.timed, 3 * sizes.workers) for name, batches in sides.items()}
    rates = rates_in_turn(ways, sizes.batch_size, sizes.turns, sizes.rest_seconds)
    results = {}
    for name, values in rates.items():
        baseline = rates[BASELINE + (JITTERED if name.endswith(JITTERED) else "")]
        ratio = statistics.median(value / base for value, base in zip(values, baseline))
        results[name] = described(values, round(ratio, 2))
    return results


def main() -> None:
    arguments = make_parser(__doc__, OUTPUT).parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), QUICK if arguments.quick else FULL)
    report(results, table("From JPEG to batch", results, digits=2), arguments.output)
    if not arguments.quick and results[OURS]["ratio"] < LEAST_RATIO:
        sys.exit(f"bound missed: the ratio is below {LEAST_RATIO}")


if __name__ == "__main__":
    main()

"""Images per second from JPEG files to normalised batches: StreamedBatches against torchvision in a DataLoader.

Both sides read JPEGs of 500 x 400 pixels, made here with quality 90, crop them at random to 224 x 224, flip and
normalise them in batches of 64, with 2 worker processes and 1 thread in the process that receives the batches, all on
the same 2 cores. Shards stand beside it, and both with colour jitter. The sides are timed in turns; a ratio is the
median over the turns of the rates' ratios. Exits with 1 below 1.15 times.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import itertools
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from rates import described, report, table
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms

from isnas.base.options import build
from isnas.data.catalogue import CATALOGUE
from isnas.data.opening import ImageOptions, load_stream, make_batches

BATCH_SIZE = 64
WORKERS = 2
CORES = 2
WIDTH, HEIGHT, QUALITY = 500, 400, 90
CLASSES = 4
LEAST_RATIO = 1.15
BASELINE = "torchvision ImageFolder, DataLoader"
OURS = "isnas StreamedBatches"
JITTERED = ", with colour jitter"


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


def torchvision_batches(root: Path, color_jitter: bool = False) -> Iterator:
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
    return iter(DataLoader(images, BATCH_SIZE, sampler=sampler, num_workers=WORKERS))


def our_batches(root: Path, color_jitter: bool = False) -> Iterator:
    values = {"dataset": "imagenet", "data": str(root), "workers": WORKERS, "color_jitter": color_jitter}
    options = build(ImageOptions, values)
    images = load_stream(options).train
    batches = make_batches(images, None, BATCH_SIZE, 0, "benchmark", True, "cpu", options)
    return itertools.chain.from_iterable(map(batches.epoch, itertools.count()))


def images_per_second(batches: Iterator, timed: int) -> float:
    """The rate over ``timed`` batches, after those that workers have prepared ahead."""
    for _ in itertools.islice(batches, 3 * WORKERS):
        pass
    start = time.perf_counter()
    for _ in itertools.islice(batches, timed):
        pass
    return timed * BATCH_SIZE / (time.perf_counter() - start)


def measure(root: Path, quick: bool) -> dict[str, dict[str, float]]:
    make_images(root / "files", 128 if quick else 512)
    tool = Path(__file__).resolve().parents[1] / "tools" / "make_shards.py"
    command = [sys.executable, tool, "--data", root / "files", "--output", root / "shards", "--images_per_shard", "64"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    sides = {
        BASELINE: torchvision_batches(root / "files"),
        OURS: our_batches(root / "files"),
        OURS + ", from shards": our_batches(root / "shards"),
        BASELINE + JITTERED: torchvision_batches(root / "files", color_jitter=True),
        OURS + JITTERED: our_batches(root / "files", color_jitter=True),
    }
    turns, timed = (3, 8) if quick else (9, 16)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, batches in sides.items():
            rate = images_per_second(batches, timed)
            if turn:  # the first starts the workers and reads the files for the first time
                rates[name].append(rate)
            time.sleep(1.0)  # workers that run ahead come to rest
    results = {}
    for name, values in rates.items():
        baseline = rates[BASELINE + (JITTERED if name.endswith(JITTERED) else "")]
        ratio = statistics.median(value / base for value, base in zip(values, baseline))
        results[name] = described(values, round(ratio, 2))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images and turns")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table, as JSON if FILE ends in .json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), arguments.quick)
    report(results, table("From JPEG to batch", results, digits=2), arguments.output)
    if results[OURS]["ratio"] < LEAST_RATIO:
        sys.exit(f"bound missed: the ratio is below {LEAST_RATIO}")


if __name__ == "__main__":
    main()

"""A folder of 400 own images in four classes: search, training, test, predictions and export, by one command each.

The images are photographs of clothes (Fashion-MNIST) as folders of one's own have them: of 28 to 196 pixels, wide or
high, grey, in colour or cut out, in six formats, some turned by EXIF, and the classes of different sizes. The commands
are those of docs/own_images.md, as they stand there. Random cells are trained, tested and asked in the same way, the
first of them of as many parameters as the cell that was found. Some ten minutes on two cores.
"""

import csv
import io
import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stdout
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from common import ROOT, make_parser, write_figures
from PIL import Image

import isnas
from isnas.base.files import markdown_table
from isnas.data.data_options import DataOptions
from isnas.data.small.datasets import ImageSet, load_dataset

#: Images of each class to search and train on (a fifth of them are the test set), and new ones to be predicted.
COUNTS, NEW = {"coat": 160, "dress": 120, "pullover": 80, "shirt": 40}, 250
#: The same of the digits for --quick.
FEW, FEW_NEW = {"0": 8, "1": 7, "2": 6, "3": 5}, 2
#: Where the page has these, the images are.
FOLDERS = {"~/shoes": "clothes", "~/new_photos": "new_photos"}

#: What is written of each format: grey, in colour, or cut out.
MODES = {"png": "L RGB RGBA", "jpg": "L RGB", "bmp": "L RGB", "webp": "RGB RGBA", "tif": "L RGB", "gif": "L"}
KINDS = [(suffix, mode) for suffix, modes in MODES.items() for mode in modes.split()]
#: EXIF orientations, with what they undo; not of the formats without EXIF.
TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
WITHOUT_EXIF = ("bmp", "gif")

#: Of so many random cells the first to be trained is that of nearest size, in the network that few images lead to.
CANDIDATES = 100
SIZES: dict[str, Any] = {"init_channels": 16, "layers": 8, "stem": "imagenet"}


class Command(NamedTuple):
    """A command line, and what it took: seconds, and seconds of a core."""

    words: str
    seconds: float
    core_seconds: float


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, help="a new folder, which keeps images and runs")
    parser.add_argument("--random", type=int, default=1, help="random cells")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary, "own_images")).absolute()
        folder.mkdir(parents=True)
        figures = measure(folder, arguments.random, arguments.jobs, arguments.quick)
    print(tables(figures))
    write_figures(arguments.output, figures)


def measure(folder: Path, random: int, jobs: int, quick: bool) -> dict[str, Any]:
    """Write the images, run the commands, and say how good each cell is."""
    start = time.perf_counter()
    source = load_dataset(DataOptions(dataset="digits" if quick else "fashion_mnist"))
    counts, new = (FEW, FEW_NEW) if quick else (COUNTS, NEW)
    write_images(source.train, counts, folder / "clothes")
    write_images(source.test, dict.fromkeys(counts, new), folder / "new_photos")
    (folder / "new_photos/damaged.jpg").write_bytes(b"\xff\xd8\xff")  # which --skip_bad leaves out

    search, train, test, predict, export = commands_of_the_page()
    few = ["--layers", "3", "--init_channels", "2", "--epochs", "1", "--no_tensorboard"] if quick else []
    done = [run([*search, *few], folder, quick)]

    def use(name: str) -> list[Command]:
        own, images = {}, []
        if name != "found":
            own = {"found": name, "trained": trained_folder(name), "answers.csv": f"{trained_folder(name)}.csv"}
            images = ["--dataset", "imagefolder", "--data", "clothes"]
        commands = [[*train, *images, *few], test, predict, *([export] if name == "found" else [])]
        one_thread = {"OMP_NUM_THREADS": "1"}
        return [run([own.get(word, word) for word in words], folder, quick, one_thread) for words in commands]

    names = ["found", *random_cells(folder / "found", random, 2 if quick else CANDIDATES)]
    with ThreadPoolExecutor(jobs) as pool:
        done += itertools.chain.from_iterable(map(use, names) if quick else pool.map(use, names))
    cells = {name: figures_of(folder, trained_folder(name)) for name in names}
    return {"cells": cells, "commands": [each._asdict() for each in done], "seconds": time.perf_counter() - start}


def trained_folder(name: str) -> str:
    """What the run of a cell's training is called; its predictions are beside it."""
    return "trained" if name == "found" else name.replace(":", "-")


def write_images(images: ImageSet, counts: dict[str, int], folder: Path) -> None:
    """So many images of each class as a folder of one's own has them."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        label = images.info.classes.index(name)
        for number, pixels in enumerate(images.images[images.labels == label][:count].numpy()):
            suffix, mode = KINDS[rng.integers(len(KINDS))]
            image, exif = photograph(pixels[..., 0], mode, rng), Image.Exif()
            if suffix not in WITHOUT_EXIF and rng.random() < 0.5:
                exif[274] = rng.choice(list(TURNED)).item()
                image = image.transpose(TURNED[exif[274]])
            given = {} if suffix in WITHOUT_EXIF else {"exif": exif}
            image.save(folder / name / f"{number:03d}.{suffix}", **given)


def photograph(pixels: np.ndarray, mode: str, rng: np.random.Generator) -> Image.Image:
    """A garment (S, S), bright on black, of any size on a wider or higher ground; cut out, in a dark colour on none."""
    side = round(28 * 7 ** rng.random())
    garment = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    longer = rng.integers(side, 3 * side // 2, endpoint=True).item()
    width, height = (side, longer) if rng.random() < 0.5 else (longer, side)
    grey = Image.new("L", (width, height))
    grey.paste(garment, ((width - side) // 2, (height - side) // 2))
    if mode == "L":
        return grey
    strength = 0.5 + rng.random(3) / 2 if mode == "RGB" else rng.random(3) / 2
    bands = [
        grey.point((lambda value, s=s: value * s) if mode == "RGB" else (lambda _, s=s: 255 * s)) for s in strength
    ]
    return Image.merge(mode, [*bands, grey][: len(mode)])


def commands_of_the_page() -> list[list[str]]:
    """The words of the commands in docs/own_images.md, with the folders of this benchmark."""
    page = (ROOT / "docs/own_images.md").read_text(encoding="utf-8")
    lines = page.split("```\n")[1].splitlines()
    return [[FOLDERS.get(word, word) for word in shlex.split(line)] for line in lines]


def run(words: list[str], folder: Path, here: bool, variables: dict[str, str] | None = None) -> Command:
    """Run a command in a folder; ``here``: in this process, where imports cost their time once."""
    _, tool, *given = words
    print("$", shlex.join(words), flush=True)
    start, core_seconds = time.perf_counter(), 0.0
    if here:
        name = Path(tool).stem.replace("test", "tester")
        with chdir(folder), redirect_stdout(io.StringIO()):
            import_module(f"isnas.apps.{name}").main(given)
    else:
        command, environment = [sys.executable, str(ROOT / tool), *given], os.environ | (variables or {})
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{shlex.join(words)} in {folder} has failed")
        core_seconds = used.ru_utime + used.ru_stime
    return Command(shlex.join(words), time.perf_counter() - start, core_seconds)


def random_cells(found: Path, count: int, candidates: int) -> list[str]:
    """So many random cells of some: first that whose network is nearest in size to a found one's, then the others."""
    names = [f"random:{seed}" for seed in range(candidates)]
    wanted = parameters(found / "genotype.json")
    nearest = min(names, key=lambda name: abs(parameters(name) - wanted))
    return [nearest, *(name for name in names if name != nearest)][:count]


def parameters(arch: str | Path) -> int:
    """Parameters of an architecture in a network of the size that few images are trained in."""
    network = isnas.network(str(arch), **SIZES)
    return sum(parameter.numel() for parameter in network.parameters())


def figures_of(folder: Path, trained: str) -> dict[str, Any]:
    """Parameters; accuracies (percent) on the test images, also as the mean of the classes, and on the new ones."""
    result = json.loads((folder / trained / "result.json").read_text())
    with open(folder / trained / "confusion.csv", newline="", encoding="utf-8") as file:
        counts = np.array([row[1:] for row in csv.reader(file)][1:], dtype=int)
    answers = folder / ("answers.csv" if trained == "trained" else f"{trained}.csv")
    with open(answers, newline="", encoding="utf-8") as file:
        right = [Path(row["file"]).parent.name == row["class"] for row in csv.DictReader(file)]
    return {
        "params_millions": result["params_millions"],
        "test_images": int(counts.sum()),
        "test_acc": result["test_acc"],
        "balanced_acc": 100 * float((counts.diagonal() / counts.sum(axis=1)).mean()),
        "new_images": len(right),
        "new_acc": 100 * mean(right),
    }


def tables(figures: dict[str, Any]) -> str:
    """The cells side by side, and what each command took."""
    cells, accuracies = figures["cells"], ("test_acc", "balanced_acc", "new_acc")
    first = cells["found"]
    header = [
        "cell",
        "parameters",
        f"{first['test_images']} test images",
        "balanced",
        f"{first['new_images']} new images",
    ]
    rows = [
        [name, f"{cell['params_millions']:.3f} M", *(f"{cell[key]:.1f} %" for key in accuracies)]
        for name, cell in cells.items()
    ]
    took = [
        [f"`{each['words']}`", f"{each['seconds']:.0f}", f"{each['core_seconds']:.0f}"] for each in figures["commands"]
    ]
    took.append(
        ["all", f"{figures['seconds']:.0f}", f"{sum(each['core_seconds'] for each in figures['commands']):.0f}"]
    )
    return "\n\n".join([markdown_table(header, rows), markdown_table(["command", "seconds", "of a core"], took)])


if __name__ == "__main__":
    main()

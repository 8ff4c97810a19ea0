"""Make a small folder of JPEGs in ImageNet's layout from Fashion-MNIST, to run the ImageNet tools on real files.

Twenty classes: the ten of Fashion-MNIST, and the ten as negatives. Each image is scaled to 256 x 256 and saved as JPEG
in FOLDER/train/CLASS and FOLDER/val/CLASS.

    python benchmarks/small_imagenet.py FOLDER
"""

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from isnas.base.errors import UserError, run_tool
from isnas.base.options import Component, build, option, parse
from isnas.data.data_options import DataOptions
from isnas.data.small.datasets import ImageSet, load_dataset

SIDE = 256


@dataclass(frozen=True)
class FolderOptions(Component):
    """What is made and where."""

    folder: str = option("", "where the images go", positional=True, path=True)
    train: int = option(100, "training images of each class", minimum=1, maximum=5000)
    val: int = option(20, "validation images of each class", minimum=1, maximum=900)
    quick: bool = option(False, "one image of each class, made from scikit-learn's digits instead")
    data: str = option(
        "", "folder that holds Fashion-MNIST; none means data/ in the repository or the system's", path=True
    )


def main(argv: list[str]) -> None:
    """Write the folder."""
    options = parse(FolderOptions, argv, "Make a small ImageNet from Fashion-MNIST.")
    if not options.folder or Path(options.folder).exists():
        raise UserError("give a FOLDER that does not exist yet")
    source = {"dataset": "fashion_mnist", "data": options.data}
    if options.quick:
        options, source = replace(options, train=1, val=1), {"dataset": "digits"}
    dataset = load_dataset(build(DataOptions, source))
    for name, images, count in (("train", dataset.train, options.train), ("val", dataset.test, options.val)):
        write(images, count, Path(options.folder) / name)


def write(images: ImageSet, count: int, folder: Path) -> None:
    """``count`` images of each class and, of the next ones, as many negatives."""
    for label, name in enumerate(tqdm(images.info.classes, folder.name)):
        chosen = images.images[images.labels == label][: 2 * count].squeeze(3)
        for kind, pixels in ((name, chosen[:count]), (f"negative {name}", 255 - chosen[count:])):
            place = folder / kind.replace("/", " ")
            place.mkdir(parents=True)
            for number, image in enumerate(pixels.numpy()):
                large = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
                large.save(place / f"{number:04d}.jpg", quality=90)


if __name__ == "__main__":
    run_tool(main)

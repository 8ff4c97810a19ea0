"""What a test says beyond the accuracy: which classes are taken for which, and which images are wrong, as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from isnas.base.files import write_text
from isnas.base.text import printable
from isnas.data.dataset_info import DatasetInfo
from isnas.data.large.reading import StreamedSet
from isnas.data.small.datasets import ImageSet
from isnas.data.small.folders import list_images
from isnas.data.sources import data_root
from isnas.draw.confusion import draw_confusion
from isnas.draw.contact_sheet import draw_contact_sheet

#: The sheet shows so many wrong images, those of which the network is surest.
_ON_SHEET = 48


class _Shown(NamedTuple):
    """A wrong image for the sheet: its number, and its pixels as the network saw them."""

    number: int
    pixels: np.ndarray


class Outcomes:
    """What a network says of each image of a test, in their order."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self._parts: list[Tensor] = []
        self._shown: list[tuple[float, _Shown]] = []
        self._count = 0

    def add(self, x: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Note a batch: normalised images (B, C, S, S), labels (B,) and class scores (B, K)."""
        probabilities = logits.float().softmax(1)
        found = logits.topk(min(5, logits.shape[1])).indices[:, 0]  # of equal scores, the one that counts
        of_found, of_label = (probabilities.gather(1, k[:, None])[:, 0] for k in (found, labels))
        self._parts.append(torch.stack([part.cpu().double() for part in (labels, found, of_found, of_label)]))
        wrong = (found != labels).nonzero()[:, 0].tolist()
        mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (self.info.mean, self.info.std))
        for place in wrong:
            sure = float(of_found[place])
            if len(self._shown) == _ON_SHEET and sure <= self._shown[-1][0]:
                continue
            pixels = ((x[place].float() * std + mean) * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
            self._shown.append((sure, _Shown(self._count + place, pixels)))
            self._shown.sort(key=lambda entry: -entry[0])
            del self._shown[_ON_SHEET:]
        self._count += len(labels)

    @property
    def labels(self) -> Tensor:
        """The class of each image, int64 (N,)."""
        return torch.cat(self._parts, 1)[0].long()

    @property
    def found(self) -> Tensor:
        """What each was taken for, int64 (N,)."""
        return torch.cat(self._parts, 1)[1].long()

    def confusion(self) -> np.ndarray:
        """How many images of each class (row) were taken for each (column), int64 (K, K)."""
        classes = self.info.num_classes
        return torch.bincount(self.labels * classes + self.found, minlength=classes**2).view(classes, classes).numpy()

    def class_accuracies(self) -> dict[int, float]:
        """The share, from 0 to 1, of the images of each class that were taken for it; of those that have images."""
        counts = self.confusion()
        right, images = counts.diagonal().tolist(), counts.sum(1).tolist()
        return {k: right[k] / images[k] for k in range(len(images)) if images[k]}

    def balanced_accuracy(self) -> float:
        """The mean, in percent, of the accuracies of the classes that have images."""
        return float(100.0 * np.mean(list(self.class_accuracies().values())))

    def write(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """Write confusion.csv, .png and .svg, wrong.csv and, when there are wrong images, wrong.png.

        ``names`` are those of the images. The surest mistakes come first. Returns the paths.
        """
        classes = self.info.classes
        counts = self.confusion()
        rows = [[name, *map(str, row)] for name, row in zip(classes, counts.tolist())]
        _write_csv(folder / "confusion.csv", ["class \\ taken for", *classes], rows)
        numbers = torch.cat(self._parts, 1)
        wrong = (numbers[0] != numbers[1]).nonzero()[:, 0].tolist()
        wrong.sort(key=lambda number: (-float(numbers[2, number]), number))
        rows = []
        for number in wrong:
            label, found, of_found, of_label = numbers[:, number].tolist()
            rows.append([names[number], classes[int(label)], classes[int(found)], f"{of_found:.4f}", f"{of_label:.4f}"])
        header = ["image", "class", "taken for", "probability of that", "probability of its class"]
        _write_csv(folder / "wrong.csv", header, rows)
        paths = [folder / "confusion.csv", *draw_confusion(counts, classes, folder), folder / "wrong.csv"]
        sheet = folder / "wrong.png"
        if not wrong:
            sheet.unlink(missing_ok=True)  # that of another test
            return paths
        captions = []
        for sure, shown in self._shown:
            label, found = (classes[int(numbers[row, shown.number])] for row in (0, 1))
            captions.append([label, f"{100 * sure:.0f} % {found}", Path(names[shown.number]).name])
        return [*paths, draw_contact_sheet([shown.pixels for _, shown in self._shown], captions, sheet)]


def names_of(images: ImageSet | StreamedSet, data: str, bad: Iterable[str] = ()) -> list[str]:
    """What to call the images of a test: their files, or else their numbers.

    Args:
        images: The images that were tested.
        data: The folder of the data.
        bad: Which of streamed images were left out, each with a reason in parentheses behind its name.
    """
    if isinstance(images, StreamedSet):
        numbers = range(len(images.source)) if images.chosen is None else images.chosen.tolist()
        known = list(bad)
        names = [images.source.name(number) for number in numbers]
        return [name for name in names if not any(each.startswith(f"{name} (") for each in known)]
    if images.info.name == "imagefolder":
        left_out = {each.path for each in images.left_out}
        return [str(path) for path, _ in list_images(data_root(data))[2] if path not in left_out]
    return [f"test image {number}" for number in range(len(images))]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([printable(cell) for cell in row] for row in [header, *rows])
    write_text(path, text.getvalue())

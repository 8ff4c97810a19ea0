"""Classify image files with a trained network: the most probable classes of each, as text or as JSON lines."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.base.errors import UserError, run_tool
from isnas.base.preemption import begin

if __name__ == "__main__":
    begin()

import torch

from isnas.base.options import option, parse
from isnas.base.text import printable
from isnas.data.decoding import MAX_MEGAPIXELS, limit_megapixels
from isnas.data.image_files import load_files
from isnas.data.small.folders import read_headers
from isnas.engine.run import find_device
from isnas.engine.trained import DIVERGED, TrainedOptions, load_trained


@dataclass(frozen=True)
class PredictOptions(TrainedOptions):
    """Which images are classified, and what is said of them."""

    images: tuple[str, ...] = option((), "image files of any size, grey or in colour", positional=True, path=True)
    top: int = option(3, "classes to print per image, the most probable ones", minimum=1, maximum=10**6)
    json: bool = option(False, "print a line of JSON per image")
    device: str = option("auto", "cpu, cuda, cuda:N, or auto: cuda if it is there")
    max_image_megapixels: int = option(MAX_MEGAPIXELS, "refuse images of more million pixels", minimum=1, maximum=10**6)
    batch_size: int = option(256, "images at a time", minimum=1, maximum=10**6)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not self.images:
            raise UserError(f"give one image file or more after {self.run}")


def main(argv: list[str]) -> None:
    """Classify the images that ``argv`` names; nothing is printed before all of them are."""
    options = parse(PredictOptions, argv, "Classify image files with a trained network.")
    device = find_device(options.device, options.threads)
    trained = load_trained(Path(options.run))
    network, info = trained.network.to(device), trained.info
    paths = [Path(name) for name in options.images]
    limit_megapixels(options.max_image_megapixels)
    read_headers(paths)
    lines = []
    for start in range(0, len(paths), options.batch_size):
        part = paths[start : start + options.batch_size]
        with torch.no_grad():
            logits = network(load_files(part, trained.geometry, info, trained.data.grey, device)).logits
        finite = logits.isfinite().all(1).tolist()
        if not all(finite):
            raise UserError(f"{options.run} gives {part[finite.index(False)]} scores that are not finite; {DIVERGED}")
        probabilities, ranked = logits.softmax(1).topk(min(options.top, info.num_classes))
        for name, row in zip(options.images[start:], zip(ranked.tolist(), probabilities.tolist())):
            best = [(info.classes[k], probability) for k, probability in zip(*row)]
            lines.append(json_line(name, best) if options.json else text_line(name, best))
    print("\n".join(lines))


def text_line(name: str, best: list[tuple[str, float]]) -> str:
    """``boot.jpg: ankle boot 97.03 %, sneaker 2.11 %``."""
    return printable(f"{name}: " + ", ".join(f"{label} {100.0 * probability:.2f} %" for label, probability in best))


def json_line(name: str, best: list[tuple[str, float]]) -> str:
    """``{"file": "boot.jpg", "classes": ["ankle boot", "sneaker"], "probabilities": [0.9703, 0.0211]}``."""
    classes, probabilities = zip(*best)
    return json.dumps({"file": name, "classes": classes, "probabilities": probabilities})


if __name__ == "__main__":
    run_tool(main)

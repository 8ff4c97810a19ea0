"""Use a trained network: the most probable classes of image files, as text or as JSON lines.

Or a language model: --prompt goes on from words, --text_file says the perplexity of a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from isnas.base.errors import UserError
from isnas.base.options import changed, option, parse
from isnas.base.text import printable
from isnas.data.decoding import MAX_MEGAPIXELS, limit_megapixels
from isnas.data.image_files import load_files
from isnas.data.small.folders import read_headers
from isnas.engine.language.trained import TrainedModel, load_any
from isnas.engine.language.using import continued, perplexity_of, read_file, words_of
from isnas.engine.run import find_device
from isnas.engine.trained import DIVERGED, Trained, TrainedOptions

#: The options that a network of images has, and those of a language model.
OF_IMAGES = ("images", "top", "json", "max_image_megapixels", "batch_size")
OF_TEXT = ("prompt", "text_file", "length", "temperature", "seed")


@dataclass(frozen=True)
class PredictOptions(TrainedOptions):
    """Which images are classified, and what is said of them; or what a language model is asked."""

    images: tuple[str, ...] = option((), "image files of any size, grey or in colour", positional=True, path=True)
    top: int = option(3, "classes to print per image, the most probable ones", minimum=1, maximum=10**6)
    json: bool = option(False, "print a line of JSON per image")
    device: str = option("auto", "cpu, cuda, cuda:N, or auto: cuda if it is there")
    max_image_megapixels: int = option(MAX_MEGAPIXELS, "refuse images of more million pixels", minimum=1, maximum=10**6)
    batch_size: int = option(256, "images at a time", minimum=1, maximum=10**6)
    prompt: str = option("", "words from which a language model goes on")
    text_file: str = option("", "a text, a sentence per line, of which it gives the perplexity", path=True)
    length: int = option(50, "words after the prompt", minimum=1, maximum=10**6)
    temperature: float = option(
        1.0, "divides the scores of the words that are drawn; 0: always the likeliest", minimum=0.0, maximum=1e6
    )
    seed: int = option(0, "decides what is drawn", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not (self.images or self.prompt or self.text_file):
            raise UserError(
                f"give one image file or more after {self.run}; of a language model, --prompt or --text_file"
            )
        drawing = changed(self, ("length", "temperature", "seed"))
        if drawing and not self.prompt:
            raise UserError(f"--{drawing[0]} is for what goes on from a --prompt; give one, or leave it out")


def main(argv: list[str]) -> None:
    """Answer what ``argv`` asks."""
    options = parse(PredictOptions, argv, "Classify image files with a trained network, or ask a language model.")
    device = find_device(options.device, options.threads)
    trained = load_any(Path(options.run))
    is_text = isinstance(trained, TrainedModel)
    if wrong := changed(options, OF_IMAGES if is_text else OF_TEXT):
        kind, other = ("a language model", "--prompt or --text_file") if is_text else ("of images", "image files")
        name = "images" if wrong[0] == "images" else f"--{wrong[0]}"
        raise UserError(f"{options.run} is {kind} and takes no {name}; give {other}")
    if isinstance(trained, TrainedModel):
        ask(trained, options, device)
    else:
        classify(trained, options, device)


def ask(model: TrainedModel, options: PredictOptions, device: torch.device) -> None:
    """Print the perplexity of a file, and what follows a prompt."""
    if options.text_file:
        words = read_file(model, Path(options.text_file))
        scores = perplexity_of(model, words.ids, 1, options.text_file, device)
        print(printable(f"{options.text_file}: {len(words.ids):,} words and ends of lines, {words.unknown:,} unknown"))
        print(scores)
    if options.prompt:
        words = words_of(model, options.prompt)
        text = continued(model, words.ids, options.length, options.temperature, options.seed, device)
        if words.unknown:
            print(f"WARNING: {words.unknown} of {len(words.ids)} words of the prompt are unknown")
        print("\n".join(map(printable, text.split("\n"))))


def classify(trained: Trained, options: PredictOptions, device: torch.device) -> None:
    """Print the classes of images; nothing is printed before all of them are classified."""
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

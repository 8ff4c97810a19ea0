"""What ``isnas predict`` does: answers of trained networks."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from isnas.apps.predict import OF_IMAGES, OF_TEXT, PredictOptions
from isnas.base.bars import SOON, bar
from isnas.base.errors import UserError
from isnas.base.files import write_text
from isnas.base.options import changed
from isnas.base.text import printable
from isnas.data.decoding import limit_megapixels
from isnas.data.image_files import find_images, load_files, load_readable
from isnas.data.small.folders import read_headers
from isnas.engine.language.trained import TrainedModel, load_any
from isnas.engine.language.using import continued, perplexity_of, read_file, words_of
from isnas.engine.run import find_device
from isnas.engine.trained import DIVERGED, Trained
from isnas.space.space import Network


def answer(options: PredictOptions) -> None:
    """Ask the network that the options name."""
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
    """Print the classes of images, or write them; nothing is printed before all of them are classified."""
    network, info, grey = trained.network.to(device), trained.info, trained.data.grey
    paths = list(map(Path, find_images(options.images)))
    limit_megapixels(options.max_image_megapixels)
    if not options.skip_bad:
        read_headers(paths)
    answers: list[tuple[str, list[tuple[str, float]]]] = []
    faults: dict[Path, str] = {}
    for start in bar(range(0, len(paths), options.batch_size), "predicting", delay=SOON):
        part = paths[start : start + options.batch_size]
        if options.skip_bad:
            x, bad = load_readable(part, trained.geometry, info, grey, device)
            part = [path for path in part if path not in bad]
            faults |= bad
        else:
            x = load_files(part, trained.geometry, info, grey, device)
        if not part:
            continue
        found = probabilities_of(network, x, options.run, list(map(str, part)))
        probabilities, ranked = found.topk(min(options.top, info.num_classes))
        for path, row in zip(part, zip(ranked.tolist(), probabilities.tolist())):
            answers.append((str(path), [(info.classes[k], probability) for k, probability in zip(*row)]))
    for fault in faults.values():
        print(printable(f"WARNING: left out: {fault}"), file=sys.stderr)
    if options.output:
        write_answers(Path(options.output), answers, min(options.top, info.num_classes))
        print(printable(f"{options.output}: {len(answers):,} images"))
    elif answers:
        print("\n".join(json_line(*answer) if options.json else text_line(*answer) for answer in answers))


def write_answers(path: Path, answers: Sequence[tuple[str, list[tuple[str, float]]]], top: int) -> None:
    """A table of files with their classes and probabilities, the most probable first."""
    further = [f"{word}_{k}" for k in range(2, top + 1) for word in ("class", "probability")]
    header = ["file", "class", "probability", *further]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for name, best in answers:
        cells = (cell for label, probability in best for cell in (label, f"{probability:.6f}"))
        writer.writerow([printable(cell) for cell in (name, *cells)])
    write_text(path, text.getvalue())


@torch.no_grad()
def probabilities_of(network: Network, x: Tensor, run: str, names: Sequence[str]) -> Tensor:
    """Those of the classes, float32 (N, K), for images as the network takes them, (N, C, S, S), which have ``names``.

    Raises:
        UserError: when scores are not finite.
    """
    logits = network(x).logits
    finite = logits.isfinite().all(1).tolist()
    if not all(finite):
        raise UserError(f"{run} gives {names[finite.index(False)]} scores that are not finite; {DIVERGED}")
    return logits.softmax(1)


def text_line(name: str, best: list[tuple[str, float]]) -> str:
    """``boot.jpg: ankle boot 97.03 %, sneaker 2.11 %``."""
    return printable(f"{name}: " + ", ".join(f"{label} {100.0 * probability:.2f} %" for label, probability in best))


def json_line(name: str, best: list[tuple[str, float]]) -> str:
    """``{"file": "boot.jpg", "classes": ["ankle boot", "sneaker"], "probabilities": [0.9703, 0.0211]}``."""
    classes, probabilities = zip(*best)
    return json.dumps({"file": name, "classes": classes, "probabilities": probabilities})

"""What ``isnas test`` does: the scores of trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from isnas.analysis.pages import renewed_page
from isnas.apps.tester import TestOptions
from isnas.base.bars import bar
from isnas.base.errors import UserError
from isnas.base.files import output_folder
from isnas.base.options import build, changed, to_dict
from isnas.base.text import printable
from isnas.data.catalogue import CATALOGUE
from isnas.data.data_options import ImageOptions
from isnas.data.epochs import EpochBatches
from isnas.data.image_files import geometry_of
from isnas.data.large.reading import StreamedSet
from isnas.data.large.streams import StreamedBatches
from isnas.data.opening import load_images, make_batches
from isnas.data.small.datasets import ImageSet
from isnas.engine.averages import Scores, evaluate
from isnas.engine.language.trained import TrainedModel, load_any
from isnas.engine.language.using import own_text, score_test
from isnas.engine.run import find_device
from isnas.engine.tested import Outcomes, names_of
from isnas.engine.trained import DIVERGED, Trained, weights_file
from isnas.train.stepping import Stepping
from isnas.train.train_options import StepOptions

#: The table shows so many classes, the worst ones.
_ROWS = 20


def test(options: TestOptions) -> None:
    """Test the network that the options name."""
    device = find_device(options.device, options.threads)
    trained = load_any(Path(options.run))
    if isinstance(trained, TrainedModel):
        test_model(trained, options, device)
    else:
        test_network(trained, options, device)


def test_model(model: TrainedModel, options: TestOptions, device: torch.device) -> None:
    """Print a language model's perplexity."""
    if wrong := changed(options, ("max_bad_images", "max_image_megapixels", "output")):
        raise UserError(f"{options.run} is a language model, for which there is no --{wrong[0]}; leave it out")
    text = own_text(model, options.data)
    scores = score_test(model, text, options.batch_size, device)
    print(f"{text}: on {device}")
    print(f"test {scores}")


class Tested(NamedTuple):
    """What a network makes of test images: its scores, and what it says of each.

    ``names`` gives what to call the images, ``left_out`` says what is wrong with those that were left out, and
    ``batches`` how many there were.
    """

    scores: Scores
    outcomes: Outcomes
    names: Callable[[], list[str]]
    left_out: list[str]
    batches: EpochBatches


def test_network(trained: Trained, options: TestOptions, device: torch.device) -> None:
    """Print a network's accuracies on images, and write which classes it takes for which and the wrong images.

    In the folder of its run they appear on the run's page as well.
    """
    scores, outcomes, names, left_out, batches = tested_network(trained, options, device)
    for fault in left_out:
        print(printable(f"WARNING: left out, {fault}"))
    print(f"{trained.info}: {batches.num_images} test images, on {device}")
    print(f"test {len(batches) - 1:03d} {scores}")
    print(f"test_acc {scores.top1:.6f}")
    print(f"test_error {100.0 - scores.top1:.6f}, top-5 accuracy {scores.top5:.6f}, loss {scores.loss:.6f}")
    print(f"balanced accuracy {outcomes.balanced_accuracy():.6f}, the mean of those of the classes")
    run = weights_file(Path(options.run)).parent
    folder = output_folder(options.output) if options.output else run
    paths = outcomes.write(folder, names())
    if folder.samefile(run):
        paths += renewed_page(run)
    print(printable(" ".join(map(str, paths))))
    print()
    print(class_table(trained.info.classes, outcomes.labels, outcomes.found))


def tested_network(trained: Trained, options: TestOptions, device: torch.device) -> Tested:
    """A network's accuracies on the images of its dataset.

    Raises:
        UserError: when there are none, or scores are not finite.
    """
    images = images_of(trained, options.data, options.max_bad_images, options.max_image_megapixels)

    computation = trained.computation
    stepping = Stepping(StepOptions(amp=computation.amp, channels_last=computation.channels_last), device)
    batch_size = options.batch_size or computation.batch_size
    how = build(ImageOptions, to_dict(trained.data) | {"max_bad_images": options.max_bad_images})
    batches = make_batches(images, None, batch_size, 0, "test", False, device, how)
    network = stepping.place(trained.network)
    outcomes = Outcomes(trained.info)
    present: list[tuple[Tensor, Tensor]] = []
    finite: list[Tensor] = []

    def watched() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in bar(batches.epoch(), "testing", len(batches)):
            present[:] = [batch]
            yield batch

    def predict(x: Tensor) -> Tensor:
        logits = stepping.forward(network, x).logits
        finite.append(logits.isfinite().all())
        outcomes.add(*present[0], logits)
        return logits

    scores = evaluate(predict, watched(), device)
    if not torch.stack(finite).all():
        raise UserError(f"{options.run} gives scores that are not finite; {DIVERGED}")
    bad = batches.share_bad_images() if isinstance(batches, StreamedBatches) else []
    left_out = [f"as {each.fault}" for each in images.left_out] if isinstance(images, ImageSet) else bad
    names = partial(names_of, images, options.data or trained.data.data, bad)
    return Tested(scores, outcomes, names, left_out, batches)


def images_of(
    trained: Trained, data: str, max_bad_images: int = 0, max_megapixels: int | None = None
) -> ImageSet | StreamedSet:
    """The test images of the dataset that the network was trained on, with the facts from then.

    At most ``max_bad_images`` of those that are in memory are left out, or as many as in the training.

    Raises:
        UserError: when they are not there, or of other classes or channels than in the training.
    """
    info = trained.info
    values = to_dict(trained.data) | {"image_size": info.image_size, "max_train_images": None}
    if CATALOGUE[trained.data.dataset].extra:
        values["svhn_extra"] = False  # training images that a test does not need
    if max_megapixels is not None:
        values["max_image_megapixels"] = max_megapixels
    values["max_bad_images"] = max(max_bad_images, trained.data.max_bad_images)
    if data:
        values["data"] = data
    elif trained.data.data and not Path(trained.data.data).expanduser().exists():
        raise UserError(f"the images of the training were in {trained.data.data}, which is not there; give --data")
    if geometry_of(trained.data.dataset) != trained.geometry:
        raise UserError(f"the network was tested on the {trained.geometry} of images, which test.py no longer cuts out")
    test = load_images(build(ImageOptions, values)).test
    if test.info.channels != info.channels:
        raise UserError(f"the images have {test.info.channels} channels, the network takes {info.channels}")
    if test.info.classes != info.classes:
        there, wanted = (printable(", ".join(classes)[:200]) for classes in (test.info.classes, info.classes))
        raise UserError(f"the images have the classes {there}, but the network tells apart {wanted}; give other --data")
    return replace(test, info=info)


def class_table(classes: tuple[str, ...], labels: Tensor, predictions: Tensor) -> str:
    """Lines with the accuracy of each class that has images (of the 20 worst, if there are more), the worst first."""
    images = torch.bincount(labels, minlength=len(classes)).tolist()
    right = torch.bincount(labels[predictions == labels], minlength=len(classes)).tolist()
    accuracy = {k: 100.0 * right[k] / images[k] for k in range(len(classes)) if images[k]}
    worst = sorted(accuracy, key=lambda k: accuracy[k])[:_ROWS]
    names = {k: printable(classes[k]) for k in worst}
    width = max(len("class"), *map(len, names.values()))
    lines = [f"{'class':{width}}  images  right  accuracy"]
    lines += [f"{names[k]:{width}}  {images[k]:6}  {right[k]:5}  {accuracy[k]:8.2f}" for k in worst]
    if len(worst) < len(accuracy):
        lines.append(f"and {len(accuracy) - len(worst)} classes with a higher accuracy")
    return "\n".join(lines)

"""What every training leaves behind: scores in the log, the trained network, pictures and, last, result.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from isnas.base.bars import SOON, bar
from isnas.base.distributed import copy_from_main, is_main
from isnas.base.options import fixed_values
from isnas.data.catalogue import CATALOGUE
from isnas.data.dataset_info import DatasetInfo
from isnas.data.epochs import EpochBatches
from isnas.data.large.streams import StreamedBatches
from isnas.data.opening import StreamedDataset
from isnas.data.small.datasets import Dataset
from isnas.engine.averages import Averages, Scores, above_guess, evaluate
from isnas.engine.harness_options import AnyRunOptions, NetworkTrainingOptions
from isnas.engine.loop import Loop, Stateful
from isnas.engine.records import read_rows
from isnas.engine.run import Run
from isnas.engine.trained import save_trained
from isnas.nets.count import count_built
from isnas.space.space import AnyGenotype, Network, Space
from isnas.train.stepping import Stepping

#: Options that do not decide how good a trained network is, or that its architecture's hash stands for.
_NO_SETTINGS = ("arch", "onestage", "seed", "seeds", "settings_suite")


def score(
    loop: Loop[Averages],
    network: nn.Module,
    predict: Callable[[Tensor], Tensor],
    images: EpochBatches,
    split: str,
    watch: bool = True,
) -> Scores:
    """Log and return the scores of ``predict`` (images -> class scores) on a split, with ``network`` in eval mode.

    Of several processes each has a part of the images and every image counts once; the running statistics are those
    of rank 0. With ``watch`` a signal may stop it.

    Raises:
        UserError: when the loss is not finite.
        PreemptedError: when a signal has come.
    """
    network.eval()
    copy_from_main(network.buffers())
    batches = bar(images.epoch(), split, len(images), delay=SOON)
    scores = evaluate(predict, loop.watch(batches) if watch else batches, loop.device)
    loop.run.log(f"{split} {len(images) - 1:03d} {scores}")
    loop.run.log(f"{split}_acc {scores.top1:.6f}")
    loop.check(scores)
    return scores


def guess_loss(options: AnyRunOptions, num_classes: int) -> float:
    """The training loss (nats) of a network whose scores are all equal, an auxiliary head's part included."""
    return options.loss_weight * math.log(num_classes)


def warn_of_divergence(loop: Loop[Averages], scores: Scores, num_classes: int) -> None:
    """Log that an epoch's training loss is finite but worse than a guess, when it is; the run goes on."""
    guess = guess_loss(loop.run.options, num_classes)
    if above_guess(scores.loss, guess, loop.epoch):
        loop.run.log(
            f"WARNING: the training loss of epoch {loop.epoch} is {scores.loss:.4g}, above the {guess:.4g} of a "
            f"uniform guess among {num_classes} classes: the training has diverged; start a new run with a smaller "
            "--learning_rate"
        )


def diverged_epochs(run: Run, num_classes: int) -> list[int]:
    """The epochs of which :func:`warn_of_divergence` has said so, for the file with the result."""
    guess = guess_loss(run.options, num_classes)
    rows = [row for row in read_rows(run.folder / "metrics.jsonl") if "train/loss" in row]
    return [row["epoch"] for row in rows if above_guess(row["train/loss"], guess, row["epoch"])]


def stream_parts(*batches: EpochBatches) -> dict[str, Stateful]:
    """What a checkpoint holds of streamed images: which of them were bad."""
    return {f"images_{each.purpose}": each for each in batches if isinstance(each, StreamedBatches)}


def log_left_out(run: Run, dataset: Dataset | StreamedDataset) -> None:
    """Log the images in memory that could not be read; of streamed ones that is known when they are needed."""
    if isinstance(dataset, Dataset):
        for split, images in (("train", dataset.train), ("test", dataset.test)):
            for bad in images.left_out:
                run.log(f"WARNING: {split}: left out, as {bad.fault}")


def log_images(run: Run, train: EpochBatches, test: EpochBatches, info: DatasetInfo) -> None:
    """Log what there is to train on and to test on, and how many processes read it."""
    run.log(f"{info}: {train.num_images} training images, {test.num_images} test images")
    if isinstance(train, StreamedBatches):
        run.log(f"images are read by {train.workers} workers of each process")


def report_data(loop: Loop[Averages], train: EpochBatches, *others: EpochBatches) -> dict[str, float]:
    """At the end of an epoch log how long its steps waited for streamed images, and which of these were bad.

    Returns the seconds by name; nothing for images in memory. Every process must call it.

    Raises:
        UserError: when more images than ``max_bad_images`` were bad.
    """
    if not isinstance(train, StreamedBatches):
        return {}
    for images in (train, *others):
        assert isinstance(images, StreamedBatches)
        for name in images.share_bad_images():
            loop.run.log(f"WARNING: {images.purpose}: left out {name}")
    loop.run.log(f"data time {train.data_seconds:.1f} s of {loop.step_seconds:.1f} s of the epoch's steps")
    values = {"time/data_seconds": train.data_seconds, "time/step_seconds": loop.step_seconds}
    train.data_seconds = 0.0
    return values


def log_cost(run: Run, stepping: Stepping) -> dict[str, float]:
    """Log what the run has cost so far; returns it by name, for metrics."""
    passes = stepping.cost.image_passes
    run.log(f"image passes {passes:,.0f}")
    return {"cost/image_passes": passes}


class Best:
    """The best test accuracy so far (percent) and its epoch; the last epoch's is the result, this one stands apart."""

    def __init__(self) -> None:
        self.test_acc, self.epoch = -1.0, -1

    def improves(self, test_acc: float, epoch: int) -> bool:
        """Take over an accuracy that is higher."""
        better = test_acc > self.test_acc
        if better:
            self.test_acc, self.epoch = test_acc, epoch
        return better

    def state_dict(self) -> dict[str, Any]:
        """Both as plain values."""
        return vars(self).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        vars(self).update(state)


def write_training(
    run: Run,
    options: NetworkTrainingOptions,
    space: Space,
    network: Network,
    genotype: AnyGenotype,
    sizes: dict[str, Any],
    info: DatasetInfo,
    arch: str,
    facts: Mapping[str, Any],
) -> None:
    """Write the trained network, the cells, the curves of the training, and result.json.

    ``facts`` are further entries of result.json; its ``settings`` are all options that decide the result. Rank 0
    writes.
    """
    if not is_main():
        return
    from isnas.draw.training_curves import draw_course  # matplotlib is slow to import

    rows = read_rows(run.folder / "metrics.jsonl")
    last, weights = rows[-1], run.folder / f"weights.{options.weights_format}"
    save_trained(weights, network, genotype, sizes, options, info)
    pictures = [*space.draw(genotype, run.folder), *draw_course(rows, run.folder)]
    counts = count_built(partial(space.target_network, genotype, **sizes), info.channels, info.image_size)
    settings = {key: value for key, value in fixed_values(options).items() if key not in _NO_SETTINGS}
    settings |= {"data": options.data} if CATALOGUE[options.dataset].own_folder else {}
    result: dict[str, Any] = {
        "arch": arch,
        "hash": genotype.hash(),
        "seed": options.seed,
        "epochs": options.epochs,
        "test_acc": last["test/acc"],
        "test_acc_top5": last["test/acc_top5"],
        "test_error": 100.0 - last["test/acc"],
        "valid_acc": last.get("valid/acc"),
        "params_millions": counts.params_millions,
        "multiply_adds_millions": counts.conv_linear_multiply_adds / 1e6,
        "seconds": last["time/seconds"],
        "image_passes": last["cost/image_passes"],
        "diverged_epochs": diverged_epochs(run, info.num_classes),
        "settings": settings,
    }
    run.write_json("result.json", result | dict(facts))
    run.log(f"test_error {result['test_error']:.6f} after the last epoch, {counts}")
    run.log(f"trained network {weights}")
    run.log(f"pictures {' '.join(map(str, pictures))}")

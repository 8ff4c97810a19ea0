"""The one training to the end, from images to result.json, whatever is trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isnas.base.distributed import check_same, is_main
from isnas.base.random import generator
from isnas.data.epochs import EpochBatches
from isnas.data.opening import StreamedDataset, load_images, make_batches
from isnas.data.small.datasets import Dataset
from isnas.data.splits import split_by_purpose
from isnas.engine.architectures import log_genotype, log_size
from isnas.engine.averages import Averages, Scores
from isnas.engine.harness_options import NetworkTrainingOptions
from isnas.engine.loop import Loop, SameData, Stateful
from isnas.engine.method import Setting, TrainingMethod
from isnas.engine.next_commands import after_training
from isnas.engine.results import (
    Best,
    log_cost,
    log_images,
    log_left_out,
    report_data,
    score,
    stream_parts,
    warn_of_divergence,
    write_training,
)
from isnas.engine.run import set_up, start_run
from isnas.engine.run_page import end_run
from isnas.engine.trained import save_trained
from isnas.space.connections import Connections
from isnas.train.fixed import draw_scales, mine
from isnas.train.mixing import Targets
from isnas.train.stepping import Stepping, StepResult


def train(kind: type[TrainingMethod[Any]], options: NetworkTrainingOptions) -> Path:
    """One training by the method ``kind``, in a run folder of its own, which it returns.

    Raises:
        UserError: for a mistake of the user's, before anything is written where that is possible.
    """
    device = set_up(options)
    kind.check(options)
    dataset = load_images(options)
    info, space = dataset.info, options.make_space()
    options.check_images(info.image_size, options.auxiliary)
    training, valid, test = training_images(options, dataset, device)
    num_steps = len(training)
    sizes, stepping = options.sizes(info.channels, info.num_classes), Stepping(options, device)
    method, best = kind.build(options, Setting(space, sizes, info, stepping, lambda epoch: num_steps)), Best()
    targets = make_targets(options, dataset, device)
    counts = info.facts(train=training.num_images, test=test.num_images)
    images = SameData("images", **counts, train_digest=dataset.train.digest, test_digest=dataset.test.digest)
    check_same(images.facts, "give every process the same images by --data")
    run = start_run(options, kind.folder, device)
    parts: dict[str, Stateful] = {"images": images, "method": method, "best": best, "cost": stepping.cost}
    parts |= stream_parts(training, valid, test)
    loop = Loop(run, 0, lambda epoch: num_steps, device, parts, partial(Averages, device))
    if loop.global_step == 0:
        for note in stepping.notes():
            run.log(note)
        method.describe(run)
        log_left_out(run, dataset)
        log_images(run, training, test, info)
        support = kind.heaviest(options, space)
        connections = None if support is None else Connections(support)
        log_size(run, options, partial(kind.make_network, options, space, sizes), connections, info)

    loop.num_epochs = method.num_epochs
    for epoch in loop.epochs():
        learning_rate, drop_path = method.begin_epoch(epoch)
        method.network.train()
        for step in loop.steps():
            method.before_step(loop.global_step, epoch, run)
            if step == 0:
                run.log(f"epoch {epoch} lr {learning_rate:e} drop_path_prob {drop_path:e}")
                if not method.settled:
                    log_genotype(run, method.genotype())
            result, labels = step_of(method, options, training, targets, epoch, step, drop_path)
            loop.averages.add(result.loss, result.logits, labels)
        scores = loop.averages.scores()
        run.log(f"train_acc {scores.top1:.6f}")
        warn_of_divergence(loop, scores, info.num_classes)
        values: dict[str, float | None] = {"lr": learning_rate, "drop_path_prob": drop_path, **scores.named("train")}
        for split, scored in (("valid", valid), ("test", test)):
            if scored.num_images:
                scores = score(loop, method.result, lambda x: method.predict(x).logits, scored, split)
                values |= scores.named(split)
        settled = method.settled
        values |= method.end_epoch(epoch, scores.top1, run)
        if settled and best.improves(scores.top1, epoch) and options.save_best and is_main():
            save_trained(run.folder / "weights_best.pt", method.plain(), method.genotype(), sizes, options, info)
        loop.num_epochs = method.num_epochs
        resources = loop.resources() | log_cost(run, stepping) | report_data(loop, training, valid, test)
        run.records.metrics(loop.global_step, epoch, values | resources)

    def score_test(network: nn.Module, predict: Callable[[Tensor], Tensor]) -> Scores:
        return score(loop, network, predict, test, "test", watch=False)

    network, arch, facts = method.finish(run, score_test)
    facts = {"best_test_acc": best.test_acc, "best_epoch": best.epoch, **facts}
    write_training(run, options, space, network, method.genotype(), sizes, info, arch, facts)
    end_run(run, after_training(run.folder))
    return run.folder


def training_images(
    options: NetworkTrainingOptions, dataset: Dataset | StreamedDataset, device: torch.device
) -> tuple[EpochBatches, EpochBatches, EpochBatches]:
    """The batches to train on, those held out, and those to test on."""
    used, held_out = None, torch.empty(0, dtype=torch.int64)
    if options.held_out_portion:
        portions = split_by_purpose(dataset.train.labels, 0.5, options.held_out_portion, options.seed)
        used, held_out = torch.cat([portions.train_w, portions.train_b]).sort().values, portions.held_out
    batches = partial(make_batches, options=options, batch_size=options.batch_size, seed=options.seed, device=device)
    training = batches(dataset.train, indices=used, purpose="train", augment=True)
    valid = batches(dataset.train, indices=held_out, purpose="valid", augment=False)
    return training, valid, batches(dataset.test, indices=None, purpose="test", augment=False)


def make_targets(options: NetworkTrainingOptions, dataset: Dataset | StreamedDataset, device: torch.device) -> Targets:
    """What mixes and weights the batches of a training on these images."""
    classes, labels = dataset.info.num_classes, dataset.train.labels
    return Targets(options, options.label_smooth, labels, classes, options.seed, device)


def step_of(
    method: TrainingMethod[Any],
    options: NetworkTrainingOptions,
    training: EpochBatches,
    targets: Targets,
    epoch: int,
    step: int,
    drop_path: float,
) -> tuple[StepResult, Tensor]:
    """Take a step of an epoch, with this probability of drop-path; what its accuracy is measured against too."""
    x, target, labels = targets.batch(*training.batch(epoch, step), epoch, step)

    def draw(purpose: str, probability: float, count: int) -> Tensor | None:
        rng = generator(options.seed, purpose, epoch, step)
        scales = draw_scales(probability, options.batch_size, count, rng)
        return None if scales is None else mine(scales, method.stepping.device)

    of_connections = draw("drop_path", drop_path, method.num_connections())
    dropout = options.dropout if method.settled else 0.0
    of_inputs = draw("dropout", dropout, method.network.classifier.in_features)
    return method.step(x, target, of_connections, of_inputs), labels

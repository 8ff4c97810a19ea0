"""Train the target network of an architecture and test it: the second stage, as the DARTS family does it.

Writes a run folder with the log, the trained network (weights.pt), its test error and curves; see docs/evaluate.md.
"""

import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from isnas.base.errors import UserError, run_tool
from isnas.base.files import write_json
from isnas.base.options import fixed_values, option, parse
from isnas.base.random import generator, initialising
from isnas.data.batches import AugmentOptions, Batches, augmentation
from isnas.data.datasets import DataOptions, DatasetInfo, load_dataset
from isnas.data.splits import split_by_purpose
from isnas.engine.architectures import log_size
from isnas.engine.averages import Scores, evaluate
from isnas.engine.loop import Loop, SameImages
from isnas.engine.optim import SgdOptions, cosine, make_sgd, set_learning_rate
from isnas.engine.run import RunOptions, set_up, start_run
from isnas.engine.seeds import SeedOptions, run_seeds
from isnas.engine.selection import report_evaluations
from isnas.engine.trained import save_trained
from isnas.methods.stepping import StepOptions, Stepping
from isnas.methods.training import Training, TrainingOptions, draw_drop_path, drop_path_probability
from isnas.nets.count import count_target
from isnas.nets.network import NetworkOptions, target_network
from isnas.space.genotype import Genotype
from isnas.space.published import PUBLISHED
from isnas.space.resolve import resolve_genotype


@dataclass(frozen=True)
class EvaluateOptions(
    AugmentOptions,
    TrainingOptions,
    NetworkOptions,
    SgdOptions,
    StepOptions,
    DataOptions,
    SeedOptions,
    RunOptions,
):
    """All settings of the training of a target network; the defaults are the papers' for CIFAR-10."""

    arch: str = option("", "published name, genotype.json, run folder of a search, Genotype(...) text, or random:SEED")
    onestage: bool = option(False, "insist on an architecture with BN after skips and pools; it says so itself")
    init_channels: int = option(36, "channels C of the first cells", minimum=1)
    layers: int = option(20, "number of cells", minimum=3)
    epochs: int = option(600, "passes over the training images", minimum=1)
    batch_size: int = option(96, "images per step", minimum=1)
    learning_rate: float = option(0.025, "SGD's learning rate in the first epoch", above=0.0, maximum=1e6)
    held_out_portion: float = option(
        0.0, "share of the training images kept from training, for valid_acc", minimum=0.0, below=1.0
    )


def main(argv: list[str]) -> None:
    """One training, or one per seed."""
    options = parse(EvaluateOptions, argv, "Train and test the target network of an architecture.")
    if not options.arch:
        raise UserError(
            f"give --arch: a published name ({', '.join(PUBLISHED)}), a genotype.json, a search's run folder, "
            "Genotype(...) text, or random:SEED"
        )
    genotype = resolve_genotype(options.arch)
    if options.onestage and genotype.extra_bn != "all":
        raise UserError(f"--onestage contradicts --arch {options.arch}, which has no BN after skips; leave it out")
    if options.arch not in PUBLISHED and not options.arch.startswith("random:"):
        # what was a file may be gone when the run is resumed
        options = replace(options, arch=str(genotype))
    if options.seeds:
        report_evaluations(run_seeds(options, "eval", train_and_test, result="result.json"))
    else:
        train_and_test(options)


def train_and_test(options: EvaluateOptions) -> None:
    """One training, in a run folder of its own."""
    device = set_up(options)
    genotype = resolve_genotype(options.arch)
    dataset = load_dataset(options)
    info = dataset.info
    if options.auxiliary and info.image_size < 16:
        raise UserError(f"--auxiliary needs images of 16 pixels or more, these have {info.image_size}; leave it out")
    parts = split_by_purpose(dataset.train.labels, 0.5, options.held_out_portion, options.seed)
    used = torch.cat([parts.train_w, parts.train_b]).sort().values
    batches = partial(Batches, batch_size=options.batch_size, seed=options.seed, device=device)
    train = batches(dataset.train, indices=used, purpose="train", augment=augmentation(options, info))
    valid = batches(dataset.train, indices=parts.held_out, purpose="valid", augment=None)
    test = batches(dataset.test, indices=None, purpose="test", augment=None)

    sizes = network_sizes(options, info)
    with initialising(options.seed, "weights"):
        network = target_network(genotype, **sizes, auxiliary=options.auxiliary)
    stepping = Stepping(options, device)
    stepping.place(network)
    training = Training(network, make_sgd(network.parameters(), options), stepping, options)
    run = start_run(options, "eval", device)
    images = SameImages(**info.facts(train=train.num_images, test=test.num_images))
    loop = Loop(run, options.epochs, len(train), device, {"images": images, "training": training})
    if loop.global_step == 0:
        for note in stepping.notes():
            run.log(note)
        write_json(run.folder / "genotype.json", {"genotype": genotype.to_json(), "text": str(genotype)})
        run.log(f"genotype = {genotype}")
        run.log(f"{info}: {len(used)} training images, {test.num_images} test images")
        build = partial(target_network, genotype, **sizes, auxiliary=options.auxiliary)
        log_size(run, build, None, -(-options.batch_size // options.grad_accum), info)

    for epoch in loop.epochs():
        learning_rate = cosine(epoch, options.epochs, options.learning_rate, options.learning_rate_min)
        set_learning_rate(training.optimizer, learning_rate)
        drop_path = drop_path_probability(epoch, options.epochs, options.drop_path_prob)
        network.train()
        for step in loop.steps():
            if step == 0:
                run.log(f"epoch {epoch} lr {learning_rate:e} drop_path_prob {drop_path:e}")
            x, labels = train.batch(epoch, step)
            rng = generator(options.seed, "drop_path", epoch, step)
            scales = draw_drop_path(drop_path, len(x), network.num_connections(), rng)
            result = training.step(x, labels, None if scales is None else scales.to(device, non_blocking=True))
            loop.averages.add(result.loss, result.logits, labels)
        trained = loop.averages.scores()
        run.log(f"train_acc {trained.top1:.6f}")
        values = {"lr": learning_rate, "drop_path_prob": drop_path, **trained.named("train")}
        for split, scored in (("valid", valid), ("test", test)):
            if scored.num_images:
                values |= score(loop, training, scored, split).named(split)
        run.records.metrics(loop.global_step, epoch, values | loop.resources())

    finish(loop, training, genotype, sizes, info)


def network_sizes(options: EvaluateOptions, info: DatasetInfo) -> dict[str, Any]:
    """What a target network wants to know besides its cells."""
    return {
        "stem": "cifar",
        "in_channels": info.channels,
        "num_classes": info.num_classes,
        "init_channels": options.init_channels,
        "layers": options.layers,
    }


def score(loop: Loop, training: Training, images: Batches, split: str) -> Scores:
    """Log and return the scores on the images of a split."""
    training.result.eval()
    scores = evaluate(lambda x: training.predict(x).logits, images.epoch(), loop.device)
    loop.run.log(f"{split} {len(images) - 1:03d} {scores}")
    loop.run.log(f"{split}_acc {scores.top1:.6f}")
    loop.check(scores)
    return scores


def finish(loop: Loop, training: Training, genotype: Genotype, sizes: dict[str, Any], info: DatasetInfo) -> None:
    """Write the trained network, the pictures and, last, the result: the run is done."""
    from isnas.draw.cells import draw_genotype  # matplotlib is slow to import, and only needed here
    from isnas.draw.training import draw_training

    run, options = loop.run, loop.run.options
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    save_trained(run.folder / "weights.pt", training.result, genotype, sizes, options, info)
    pictures = [*draw_genotype(genotype, run.folder), *draw_training(rows, run.folder)]
    counts = count_target(genotype, **sizes, image_size=info.image_size)
    last = rows[-1]
    settings = {key: value for key, value in fixed_values(options).items() if key not in ("arch", "seed", "seeds")}
    settings |= {"data": options.data} if options.dataset == "imagefolder" else {}
    result = {
        "arch": options.arch,
        "hash": genotype.hash(),
        "seed": options.seed,
        "epochs": options.epochs,
        "test_acc": last["test/acc"],
        "test_error": 100.0 - last["test/acc"],
        "valid_acc": last.get("valid/acc"),
        "params_millions": counts.params_millions,
        "multiply_adds_millions": counts.conv_linear_multiply_adds / 1e6,
        "seconds": last["time/seconds"],
        "settings": settings,
    }
    write_json(run.folder / "result.json", result)
    run.log(f"test_error {result['test_error']:.6f} after the last epoch, {counts}")
    run.log(f"trained network {run.folder / 'weights.pt'}")
    run.log(f"pictures {' '.join(map(str, pictures))}")
    run.records.close()


if __name__ == "__main__":
    run_tool(main)

"""Train the target network of an architecture and test it: the second stage, as the DARTS family does it.

Writes a run folder with the log, the trained network (weights.pt), its test error and curves; see docs/evaluate.md.
"""

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from isnas.analysis.selection import report_evaluations
from isnas.base.distributed import is_main
from isnas.base.errors import UserError, run_tool
from isnas.base.options import option, parse
from isnas.base.random import generator, initialising
from isnas.data.opening import ImageOptions, load_images, make_batches
from isnas.data.splits import split_by_purpose
from isnas.engine.architectures import check_auxiliary, log_size, network_sizes
from isnas.engine.loop import Loop, SameImages, Stateful
from isnas.engine.results import Best, digest, log_images, report_data, score, stream_parts, write_training
from isnas.engine.run import RunOptions, set_up, start_run
from isnas.engine.seeds import SeedOptions, run_seeds
from isnas.engine.trained import save_trained
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import NetworkOptions, target_network
from isnas.space.cells.published import PUBLISHED
from isnas.space.cells.resolve import resolve_genotype
from isnas.train.fixed import Training, TrainingOptions, draw_drop_path, drop_path_probability, mine
from isnas.train.optim import SgdOptions, learning_rate_of, make_sgd, set_learning_rate
from isnas.train.stepping import StepOptions, Stepping


@dataclass(frozen=True)
class EvaluateOptions(
    TrainingOptions,
    NetworkOptions,
    SgdOptions,
    StepOptions,
    ImageOptions,
    SeedOptions,
    RunOptions,
):
    """All settings of the training of a target network; the defaults are the papers' for CIFAR-10."""

    arch: str = option("", "published name, genotype.json, run folder of a search, Genotype(...) text, or random:SEED")
    onestage: bool | None = option(
        None, "insist on an architecture with BN after skips and pools, --no_onestage without; it says so itself"
    )
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
    train(parse(EvaluateOptions, argv, "Train and test the target network of an architecture."))


def train(options: EvaluateOptions) -> None:
    """One training, or one per seed."""
    if not options.arch:
        raise UserError(
            f"give --arch: a published name ({', '.join(PUBLISHED)}), a genotype.json, a search's run folder, "
            "Genotype(...) text, or random:SEED"
        )
    genotype_of(options)
    if options.arch not in PUBLISHED and not options.arch.startswith("random:"):
        # what was a file may be gone when the run is resumed
        options = replace(options, arch=str(resolve_genotype(options.arch)))
    if options.seeds:
        report_evaluations(run_seeds(options, "eval", train_and_test, result="result.json"))
    else:
        train_and_test(options)


def genotype_of(options: EvaluateOptions) -> Genotype:
    """The architecture to train; in the papers' ImageNet network a one-stage one has no extra BNs.

    Raises:
        UserError: when ``onestage`` contradicts it.
    """
    genotype = resolve_genotype(options.arch)
    if options.stem == "imagenet" and not options.onestage:
        return replace(genotype, extra_bn="none")
    if options.onestage is not None and options.onestage != (genotype.extra_bn == "all"):
        flag, found = ("--onestage", "no BN") if options.onestage else ("--no_onestage", "BN")
        raise UserError(f"{flag} contradicts --arch {options.arch}, which has {found} after skips; leave it out")
    return genotype


def train_and_test(options: EvaluateOptions) -> None:
    """One training, in a run folder of its own."""
    device = set_up(options)
    genotype = genotype_of(options)
    dataset = load_images(options)
    info = dataset.info
    check_auxiliary(options, info)
    portions = split_by_purpose(dataset.train.labels, 0.5, options.held_out_portion, options.seed)
    used = torch.cat([portions.train_w, portions.train_b]).sort().values
    batches = partial(make_batches, options=options, batch_size=options.batch_size, seed=options.seed, device=device)
    train = batches(dataset.train, indices=used, purpose="train", augment=True)
    valid = batches(dataset.train, indices=portions.held_out, purpose="valid", augment=False)
    test = batches(dataset.test, indices=None, purpose="test", augment=False)

    sizes = network_sizes(options, info)
    with initialising(options.seed, "weights"):
        network = target_network(genotype, **sizes, auxiliary=options.auxiliary)
    stepping = Stepping(options, device)
    stepping.place(network)
    optimizer = make_sgd(network.parameters(), options, fused=device.type == "cuda")
    training, best = Training(network, optimizer, stepping, options), Best()
    run = start_run(options, "eval", device)
    images = SameImages(**info.facts(train=train.num_images, test=test.num_images), digest=digest(dataset.train))
    parts: dict[str, Stateful] = {"images": images, "training": training, "best": best}
    parts |= stream_parts(train, valid, test)
    loop = Loop(run, options.epochs, len(train), device, parts)
    if loop.global_step == 0:
        for note in stepping.notes():
            run.log(note)
        run.write_json("genotype.json", {"genotype": genotype.to_json(), "text": str(genotype)})
        run.log(f"genotype = {genotype}")
        log_images(run, train, test, info)
        build = partial(target_network, genotype, **sizes, auxiliary=options.auxiliary)
        log_size(run, build, None, info)

    for epoch in loop.epochs():
        learning_rate = learning_rate_of(epoch, options.epochs, options)
        set_learning_rate(training.optimizer, learning_rate)
        drop_path = drop_path_probability(epoch, options.epochs, options.drop_path_prob)
        network.train()
        for step in loop.steps():
            if step == 0:
                run.log(f"epoch {epoch} lr {learning_rate:e} drop_path_prob {drop_path:e}")
            x, labels = train.batch(epoch, step)
            rng = generator(options.seed, "drop_path", epoch, step)
            scales = draw_drop_path(drop_path, options.batch_size, network.num_connections(), rng)
            result = training.step(x, labels, None if scales is None else mine(scales, device))
            loop.averages.add(result.loss, result.logits, labels)
        trained = loop.averages.scores()
        run.log(f"train_acc {trained.top1:.6f}")
        values = {"lr": learning_rate, "drop_path_prob": drop_path, **trained.named("train")}
        for split, scored in (("valid", valid), ("test", test)):
            if scored.num_images:
                scores = score(loop, training.result, lambda x: training.predict(x).logits, scored, split)
                values |= scores.named(split)
        if best.improves(values["test/acc"], epoch) and options.save_best and is_main():
            save_trained(run.folder / "weights_best.pt", training.result, genotype, sizes, options, info)
        run.records.metrics(loop.global_step, epoch, values | loop.resources() | report_data(loop, train, valid, test))

    facts = {"best_test_acc": best.test_acc, "best_epoch": best.epoch}
    write_training(run, training.result, genotype, sizes, info, options.arch, facts)
    run.records.close()


if __name__ == "__main__":
    run_tool(main)

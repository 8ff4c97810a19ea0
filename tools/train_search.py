"""Search a cell with two-stage ISTA-NAS (NeurIPS 2020, Algorithm 1).

Writes a run folder with the genotype, its picture, the log and checkpoints; see docs/two_stage.md.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from isnas.analysis.selection import select_best
from isnas.base.distributed import from_main
from isnas.base.errors import run_tool
from isnas.base.options import parse
from isnas.base.random import generator, initialising
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.small.batches import AugmentOptions, Batches, augmentation
from isnas.data.small.datasets import load_dataset
from isnas.data.splits import Splits, split_by_purpose
from isnas.engine.architectures import log_architecture, log_size, network_sizes, record, write_result
from isnas.engine.averages import Scores
from isnas.engine.loop import Loop, SameImages
from isnas.engine.results import score
from isnas.engine.run import Run, RunOptions, set_up, start_run
from isnas.engine.seeds import SeedOptions, run_seeds
from isnas.methods.sparse_architecture import ArchitectureOptions, RecoveryTally, SparseArchitecture
from isnas.methods.two_stage import TwoStage, TwoStageOptions, steps_between_recoveries
from isnas.nets.memory import heaviest_connections
from isnas.space.cells.network import NetworkOptions, super_net
from isnas.space.cells.operations import SEARCH_BN
from isnas.train.optim import SgdOptions, cosine, learning_rate_of, make_sgd, set_learning_rate
from isnas.train.stepping import StepOptions, Stepping


@dataclass(frozen=True)
class SearchOptions(
    AugmentOptions,
    TwoStageOptions,
    ArchitectureOptions,
    NetworkOptions,
    SgdOptions,
    StepOptions,
    DataOptions,
    SeedOptions,
    RunOptions,
):
    """All settings of a two-stage search."""


def main(argv: list[str]) -> None:
    """One search, or one per seed and the selection of the best."""
    options = parse(SearchOptions, argv, "Search a cell with two-stage ISTA-NAS.")
    if options.seeds:
        select_best(run_seeds(options, "search", train_search, result="genotype.json"))
    else:
        train_search(options)


def train_search(options: SearchOptions) -> None:
    """One search, in a run folder of its own."""
    device = set_up(options)
    if options.solver == "mosek":
        from isnas.sparse.convex import require_mosek

        from_main(require_mosek)

    dataset = load_dataset(options)
    info = dataset.info
    parts = split_by_purpose(dataset.train.labels, options.train_portion, options.held_out_portion, options.seed)
    batches = partial(Batches, dataset.train, batch_size=options.batch_size, seed=options.seed, device=device)
    train_w = batches(indices=parts.train_w, purpose="train_w", augment=augmentation(options, info))
    train_b = batches(indices=parts.train_b, purpose="train_b", augment=augmentation(options, info))
    valid = batches(indices=parts.train_b, purpose="valid", augment=None)
    held_out = batches(indices=parts.held_out, purpose="held_out", augment=None)

    search = build_search(options, info, len(train_w), device)
    run = start_run(options, "search", device)
    tally = RecoveryTally()
    images = SameImages(**info.facts(train_w=train_w.num_images, train_b=train_b.num_images))
    loop = Loop(run, options.epochs, len(train_w), device, {"images": images, "search": search, "tally": tally})
    if loop.global_step == 0:
        log_sizes(run, options, search, info, parts)

    for epoch in loop.epochs():
        learning_rate = learning_rate_of(epoch, options.epochs, options)
        set_learning_rate(search.w_optimizer, learning_rate)
        if options.arch_lr_schedule == "cosine":
            set_learning_rate(search.b_optimizer, cosine(epoch, options.epochs, options.arch_learning_rate, 0.0))
        search.network.train()
        for step in loop.steps():
            if search.recovery_due(loop.global_step):
                tally.add(search.recover())
            if step == 0:
                run.log(f"epoch {epoch} lr {learning_rate:e}")
                run.log(f"genotype = {search.genotype()}")
            batch = train_w.batch(epoch, step)
            result = search.step(batch, train_b.batch(*divmod(loop.global_step, len(train_b))))
            loop.averages.add(result.loss, result.logits, batch[1])
        trained = loop.averages.scores()
        run.log(f"train_acc {trained.top1:.6f}")
        validated = validate(loop, search, valid, "valid")
        for line in tally.lines():
            run.log(line)
        values = {"lr": learning_rate, **trained.named("train"), **validated.named("valid"), **tally.values()}
        record(loop, values | log_architecture(run, search.genotype(), info) | loop.resources(), search.genotype())
        tally.reset()

    finish(loop, search, valid, held_out, info)


def build_search(options: SearchOptions, info: DatasetInfo, steps_per_epoch: int, device: torch.device) -> TwoStage:
    """The super-net, the architecture and their optimisers, initialised from the seed."""
    with initialising(options.seed, "weights"):
        network = super_net(SEARCH_BN, options.steps, **network_sizes(options, info))
    stepping = Stepping(options, device)
    stepping.place(network)
    architecture = SparseArchitecture(options, generator(options.seed, "architecture")).to(device)
    w_optimizer = make_sgd(network.parameters(), options)
    b_optimizer = torch.optim.Adam(
        architecture.parameters(),
        options.arch_learning_rate,
        betas=(options.arch_beta1, options.arch_beta2),
        weight_decay=options.arch_weight_decay,
    )
    return TwoStage(
        network,
        architecture,
        w_optimizer,
        b_optimizer,
        stepping,
        grad_clip=options.grad_clip,
        recover_interval=steps_between_recoveries(options.recover_every, steps_per_epoch),
    )


def log_sizes(run: Run, options: SearchOptions, search: TwoStage, info: DatasetInfo, parts: Splits) -> None:
    """The images, the parameters of the super-net and the memory a step will need."""
    images = f"{len(parts.train_w)} for W, {len(parts.train_b)} for b, {len(parts.held_out)} held out"
    run.log(f"{info}: training images {images}")
    for note in search.stepping.notes():
        run.log(note)
    log_size(
        run,
        lambda: super_net(SEARCH_BN, options.steps, **network_sizes(options, info)),
        heaviest_connections(options.steps, options.sparseness),
        info,
    )


def validate(loop: Loop, search: TwoStage, images: Batches, split: str, watch: bool = True) -> Scores:
    """Scores of the current sub-network, on images that are not augmented."""
    return score(loop, search.network, lambda x: search.predict(x).logits, images, split, watch)


def finish(loop: Loop, search: TwoStage, valid: Batches, held_out: Batches, info: DatasetInfo) -> None:
    """Recover once more, validate that architecture, and write it with its picture and the weights."""
    run, tally = loop.run, RecoveryTally()
    tally.add(search.recover())
    genotype = search.genotype()
    run.log("after the last epoch:")
    run.log(f"genotype = {genotype}")
    validated = validate(loop, search, valid, "valid", watch=False)
    accuracies = {"valid_acc": validated.top1}
    values: dict[str, float | None] = {**validated.named("valid"), **tally.values()}
    if held_out.num_images:
        scores = validate(loop, search, held_out, "held_out", watch=False)
        accuracies["held_out_acc"] = scores.top1
        values |= scores.named("held_out")
    for line in tally.lines():
        run.log(line)
    values |= log_architecture(run, genotype, info) | loop.resources()
    record(loop, values, genotype, final=True)
    write_result(run, genotype, accuracies, {"network": search.network, "architecture": search.architecture})
    run.records.close()


if __name__ == "__main__":
    run_tool(main)

"""Search and train a network in one run with one-stage ISTA-NAS (NeurIPS 2020, Algorithm 2).

Leaves an ordinary trained network, its coefficients absorbed; see docs/one_stage.md.
"""

import copy
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from isnas.analysis.selection import report_evaluations
from isnas.base.distributed import from_main, is_main
from isnas.base.errors import run_tool
from isnas.base.options import option, parse
from isnas.base.random import generator, initialising
from isnas.data.dataset_info import DatasetInfo
from isnas.data.epochs import EpochBatches
from isnas.data.opening import ImageOptions, load_images, make_batches
from isnas.engine.architectures import check_auxiliary, log_architecture, log_size, network_sizes
from isnas.engine.loop import Loop, SameImages, Stateful
from isnas.engine.results import Best, digest, log_images, report_data, score, stream_parts, write_training
from isnas.engine.run import RunOptions, set_up, start_run
from isnas.engine.seeds import SeedOptions, run_seeds
from isnas.engine.trained import save_trained
from isnas.methods.one_stage import OneStage, OneStageOptions, interval_in_steps
from isnas.methods.sparse_architecture import ArchitectureOptions, RecoveryTally, SparseArchitecture
from isnas.nets.absorb import WeightedNetwork, absorb
from isnas.nets.count import count_target, num_params
from isnas.nets.memory import heaviest_connections
from isnas.space.cells.network import Network, NetworkOptions, super_net
from isnas.space.cells.operations import ONE_STAGE_BN
from isnas.train.fixed import TrainingOptions, draw_drop_path, drop_path_probability, mine
from isnas.train.optim import SgdOptions, cosine, learning_rate_of, make_sgd, set_learning_rate, warm_up
from isnas.train.stepping import StepOptions, Stepping


@dataclass(frozen=True)
class OneStageToolOptions(
    TrainingOptions,
    OneStageOptions,
    ArchitectureOptions,
    NetworkOptions,
    SgdOptions,
    StepOptions,
    ImageOptions,
    SeedOptions,
    RunOptions,
):
    """All settings of a one-stage run; the defaults are the paper's for CIFAR-10."""

    init_channels: int = option(36, "channels C of the first cells", minimum=1)
    layers: int = option(20, "number of cells", minimum=3)
    epochs: int = option(600, "passes over the training images after the search", minimum=1)
    batch_size: int = option(96, "images per step", minimum=1)
    learning_rate: float = option(
        0.025, "SGD's learning rate: fixed while searching, then it falls from here", above=0.0, maximum=1e6
    )


def main(argv: list[str]) -> None:
    """One run, or one per seed."""
    options = parse(OneStageToolOptions, argv, "Search and train a network with one-stage ISTA-NAS.")
    if options.seeds:
        report_evaluations(run_seeds(options, "onestage", search_and_train, result="result.json"))
    else:
        search_and_train(options)


def search_and_train(options: OneStageToolOptions) -> None:
    """Search, terminate, train, absorb, in a run folder of its own."""
    device = set_up(options)
    if options.solver == "mosek":
        from isnas.sparse.convex import require_mosek

        from_main(require_mosek)
    dataset = load_images(options)
    info = dataset.info
    check_auxiliary(options, info)
    batches = partial(
        make_batches, options=options, indices=None, batch_size=options.batch_size, seed=options.seed, device=device
    )
    train = batches(dataset.train, purpose="train", augment=True)
    test = batches(dataset.test, purpose="test", augment=False)
    one_stage = build(options, info, len(train), device)
    run = start_run(options, "onestage", device)
    tally, best = RecoveryTally(), Best()
    images = SameImages(**info.facts(train=train.num_images, test=test.num_images), digest=digest(dataset.train))
    parts: dict[str, Stateful] = {"images": images, "one_stage": one_stage, "tally": tally, "best": best}
    parts |= stream_parts(train, test)
    loop = Loop(run, 0, len(train), device, parts)
    if loop.global_step == 0:
        for note in one_stage.stepping.notes():
            run.log(note)
        log_images(run, train, test, info)
        sizes = one_stage.sizes | {"auxiliary": options.auxiliary}
        heaviest = heaviest_connections(options.steps, options.sparseness)
        log_size(run, lambda: super_net(ONE_STAGE_BN, options.steps, **sizes), heaviest, info)

    loop.num_epochs = total_epochs(one_stage)
    for epoch in loop.epochs():
        learning_rate, drop_path = schedule(one_stage, epoch)
        one_stage.network.train()
        for step in loop.steps():
            if one_stage.recovery_due(loop.global_step):
                recover(loop, one_stage, tally, info)
            if step == 0:
                run.log(f"epoch {epoch} lr {learning_rate:e} drop_path_prob {drop_path:e}")
                run.log(f"genotype = {one_stage.genotype()}")
            x, labels = train.batch(epoch, step)
            rng = generator(options.seed, "drop_path", epoch, step)
            running = one_stage.network.num_connections(one_stage.connections())
            scales = draw_drop_path(drop_path, options.batch_size, running, rng)
            result = one_stage.step(x, labels, None if scales is None else mine(scales, device))
            loop.averages.add(result.loss, result.logits, labels)
        trained = loop.averages.scores()
        run.log(f"train_acc {trained.top1:.6f}")
        tested = score(loop, one_stage.network, lambda x: one_stage.predict(x).logits, test, "test")
        values: dict[str, float | None] = {"lr": learning_rate, "drop_path_prob": drop_path}
        values |= trained.named("train") | tested.named("test")
        values |= {"searching": float(one_stage.searching), "terminated": len(one_stage.architecture.terminated_nodes)}
        if one_stage.searching:
            for line in tally.lines():
                run.log(line)
            values |= tally.values() | log_architecture(run, one_stage.genotype(), info) | distances(one_stage)
            tally.reset()
            row = {"epoch": epoch, "test_acc": tested.top1, "genotype": one_stage.genotype().to_json()}
            run.records.row("genotypes.jsonl", row)
            end_search(loop, one_stage, epoch + 1)
        elif best.improves(tested.top1, epoch) and options.save_best and is_main():
            plain = absorb(one_stage.weighted())
            save_trained(run.folder / "weights_best.pt", plain, one_stage.genotype(), one_stage.sizes, options, info)
        run.records.metrics(loop.global_step, epoch, values | loop.resources() | report_data(loop, train, test))

    finish(loop, one_stage, test, info, best)


def build(options: OneStageToolOptions, info: DatasetInfo, steps_per_epoch: int, device: torch.device) -> OneStage:
    """The super-net, the architecture and their optimisers, initialised from the seed."""
    sizes = network_sizes(options, info)
    with initialising(options.seed, "weights"):
        network = super_net(ONE_STAGE_BN, options.steps, **sizes, auxiliary=options.auxiliary)
    stepping = Stepping(options, device)
    stepping.place(network)
    architecture = SparseArchitecture(options, generator(options.seed, "architecture")).to(device)
    b_optimizer = torch.optim.Adam(
        architecture.parameters(),
        options.arch_learning_rate,
        betas=(options.arch_beta1, options.arch_beta2),
        weight_decay=options.arch_weight_decay,
    )
    w_optimizer = make_sgd(network.parameters(), options)
    interval = interval_in_steps(options.termination_interval, steps_per_epoch)
    return OneStage(network, architecture, w_optimizer, b_optimizer, stepping, options, sizes, interval)


def total_epochs(one_stage: OneStage) -> int:
    """Epochs of the search, at most, and of the training after it."""
    options = one_stage.options
    return (one_stage.search_epochs or options.max_search_epochs) + options.epochs


def schedule(one_stage: OneStage, epoch: int) -> tuple[float, float]:
    """Set the learning rates of an epoch; returns that of the weights and drop-path's probability."""
    options = one_stage.options
    if one_stage.search_epochs is None:
        learning_rate, drop_path = warm_up(epoch, options), 0.0
        if options.arch_lr_schedule == "cosine":
            arch_learning_rate = cosine(epoch, options.max_search_epochs, options.arch_learning_rate, 0.0)
            set_learning_rate(one_stage.b_optimizer, arch_learning_rate)
    else:
        done = epoch - one_stage.search_epochs
        learning_rate = learning_rate_of(done, options.epochs, replace(options, warmup_epochs=0))
        drop_path = drop_path_probability(done, options.epochs, options.drop_path_prob)
    set_learning_rate(one_stage.w_optimizer, learning_rate)
    return learning_rate, drop_path


def recover(loop: Loop, one_stage: OneStage, tally: RecoveryTally, info: DatasetInfo) -> None:
    """Recover z, log every node's distance in units of epsilon, and what terminated."""
    options = one_stage.options
    too_large = False
    if options.max_params and one_stage.architecture.recovered:
        size = count_target(one_stage.genotype(), **one_stage.sizes, image_size=info.image_size)
        too_large = size.params_millions >= options.max_params
    recovery, terminated = one_stage.recover(loop.global_step, too_large)
    tally.add(recovery)
    row: dict[str, Any] = {"step": loop.global_step, "epoch": loop.epoch, "changed": recovery.changed}
    row |= {"distances": recovery.distances, "distances_full": recovery.distances_full}
    row |= {"terminated": sorted(one_stage.architecture.terminated_nodes), "hash": one_stage.genotype().hash()}
    loop.run.records.row("distances.jsonl", row)
    if one_stage.distances is not None:
        ratios = [
            "done" if node in one_stage.architecture.terminated_nodes else f"{distance / options.epsilon:.3g}"
            for node, distance in enumerate(one_stage.distances)
        ]
        half = options.steps
        loop.run.log(f"distance / epsilon: normal {' '.join(ratios[:half])}, reduction {' '.join(ratios[half:])}")
    for node in terminated:
        loop.run.log(f"{one_stage.node_name(node)} terminates at step {loop.global_step}")
    if too_large:
        loop.run.log(f"no node may terminate: the network has {options.max_params} million parameters or more")


def distances(one_stage: OneStage) -> dict[str, float | None]:
    """The last distance of each node that is open, by name, for metrics."""
    return {
        f"distance/{one_stage.node_name(node).replace(' node ', '_')}": distance
        for node, distance in enumerate(one_stage.distances or [])
        if node not in one_stage.architecture.terminated_nodes
    }


def end_search(loop: Loop, one_stage: OneStage, search_epochs: int) -> None:
    """Fix the architecture when all nodes have terminated, or when the search has lasted as long as it may."""
    if not one_stage.all_terminated and search_epochs < one_stage.options.max_search_epochs:
        return
    if one_stage.all_terminated:
        loop.run.log(f"all nodes have terminated: the architecture is fixed after epoch {search_epochs - 1}")
    else:
        left = len(one_stage.architecture.sizes) - len(one_stage.architecture.terminated_nodes)
        reason = f"max_search_epochs {search_epochs} reached with {left} nodes not terminated"
        loop.run.log(f"{reason}: the architecture is fixed as it is")
    loop.run.write_json(
        "genotype.json",
        {
            "genotype": one_stage.genotype().to_json(),
            "text": str(one_stage.genotype()),
            "search_epochs": search_epochs,
            "all_terminated": one_stage.all_terminated,
            "terminations": one_stage.terminations,
        },
    )
    before = num_params(one_stage.network)
    one_stage.fix(search_epochs)
    loop.run.log(f"param size = {num_params(one_stage.network) / 1e6:.6f}MB, of the super-net {before / 1e6:.6f}MB")
    loop.num_epochs = total_epochs(one_stage)


def finish(loop: Loop, one_stage: OneStage, test: EpochBatches, info: DatasetInfo, best: Best) -> None:
    """Absorb the coefficients, see that nothing changed, and write the plain network; the result comes last."""
    run, options = loop.run, loop.run.options
    weighted = copy.deepcopy(one_stage.weighted())  # a copy is not compiled, and the absorbed network is one
    plain = absorb(weighted)

    def scores_of(network: Network | WeightedNetwork, x: torch.Tensor) -> torch.Tensor:
        return one_stage.stepping.forward(network, x).logits

    before = score(loop, weighted.network, partial(scores_of, weighted), test, "test", watch=False)
    after = score(loop, plain, partial(scores_of, plain), test, "test", watch=False)
    rng = generator(options.seed, "absorption")
    x = torch.randn(16, info.channels, info.image_size, info.image_size, generator=rng).to(loop.device)
    with torch.no_grad():
        difference = (scores_of(weighted, x) - scores_of(plain, x)).abs().max().item()
    accuracies = f"test_acc {before.top1:.6f} before, {after.top1:.6f} after"
    run.log(f"absorbed: {accuracies}; scores of random images {difference:g} apart")
    assert before == after and difference == 0.0, "absorption has changed the network"
    facts: dict[str, Any] = {"best_test_acc": best.test_acc, "best_epoch": best.epoch}
    facts |= {"search_epochs": one_stage.search_epochs, "all_terminated": None not in one_stage.terminations}
    write_training(run, plain, one_stage.genotype(), one_stage.sizes, info, "one-stage", facts)
    run.records.close()


if __name__ == "__main__":
    run_tool(main)

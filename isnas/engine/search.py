"""The one search, from images to genotype.json, whatever the method and the space."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from isnas.base.distributed import check_same, copy_from_main, is_main
from isnas.data.small.batches import Batches
from isnas.data.small.datasets import load_dataset
from isnas.data.splits import Splits
from isnas.engine.architectures import log_architecture, log_genotype, log_size, record, write_result
from isnas.engine.averages import Averages, Scores
from isnas.engine.harness_options import SearchOptions
from isnas.engine.loop import Loop, SameData, Stateful
from isnas.engine.method import SearchMethod, Setting
from isnas.engine.next_commands import after_search
from isnas.engine.preparing import Prepared, judge_of, prepare
from isnas.engine.records import MEASUREMENTS
from isnas.engine.results import diverged_epochs, log_cost, log_left_out, score, warn_of_divergence
from isnas.engine.run import Run, set_up, start_run
from isnas.engine.run_page import end_run
from isnas.space.connections import Connections

#: A search of fewer steps says so.
FEW_STEPS = 300


def search(kind: type[SearchMethod[Any]], options: SearchOptions) -> Path:
    """One search by the method ``kind``, in a run folder of its own, which it returns.

    Raises:
        UserError: for a mistake of the user's, before anything is written where that is possible.
    """
    device = set_up(options)
    kind.check(options)
    dataset = load_dataset(options)
    prepared = prepare(kind, options, dataset, device)
    parts, valid, setting, method = prepared.parts, prepared.valid, prepared.setting, prepared.method
    info, space, stepping = setting.info, setting.space, setting.stepping
    counts = info.facts(train_w=len(parts.train_w), train_b=len(parts.train_b))
    images = SameData("images", **counts, train_digest=dataset.train.digest)
    check_same(images.facts, "give every process the same images by --data")
    run = start_run(options, "search", device)
    states: dict[str, Stateful] = {"images": images, "method": method, "cost": stepping.cost}
    loop = Loop(run, method.num_epochs, setting.steps_in, device, states, partial(Averages, device))
    if loop.global_step == 0:
        log_left_out(run, dataset)
        describe(run, method, parts, prepared.options, setting)

    for epoch in loop.epochs():
        learning_rate = method.begin_epoch(epoch)
        method.network.train()
        for step in loop.steps():
            method.before_step(loop.global_step)
            if step == 0:
                run.log(f"epoch {epoch} lr {learning_rate:e}")
                log_genotype(run, method.genotype())
            drawn = prepared.drawn(loop.global_step)
            result = method.step(*drawn)
            loop.averages.add(result.loss, result.logits, drawn[0][1])
        method.end_epoch()
        scores = loop.averages.scores()
        run.log(f"train_acc {scores.top1:.6f}")
        warn_of_divergence(loop, scores, info.num_classes)
        validated = validate(loop, method, valid, "valid")
        if method.validated(validated):
            stepping.cost.add_scored(valid.num_images)
        lines, reported = method.report()
        for line in lines:
            run.log(line)
        values = {"lr": learning_rate, **scores.named("train"), **validated.named("valid"), **reported}
        genotype = method.genotype()
        resources = loop.resources() | log_cost(run, stepping)
        record(loop, values | log_architecture(run, space, genotype, info) | resources, genotype)

    finish(loop, prepared)
    return run.folder


def describe(run: Run, method: SearchMethod[Any], parts: Splits, options: SearchOptions, setting: Setting) -> None:
    """Log the images, the parameters of the network, and the memory and the cost of a step."""
    images = f"{len(parts.train_w)} for W, {len(parts.train_b)} for b, {len(parts.held_out)} held out"
    run.log(f"{setting.info}: training images {images}")
    for note in method.stepping.notes():
        run.log(note)
    support = method.heaviest(options, setting.space)
    connections = None if support is None else Connections(support)
    log_size(
        run, options, partial(method.make_network, options, setting.space, setting.sizes), connections, setting.info
    )
    costs = {method.passes_of_step(options, epoch) for epoch in range(options.epochs)}
    cost = " to ".join(f"{passes * options.batch_size:g}" for passes in sorted({min(costs), max(costs)}))
    run.log(f"a step costs {cost} image passes")
    steps = sum(map(setting.steps_in, range(method.num_epochs)))
    if steps < FEW_STEPS:
        longer = f"--epochs {-(-FEW_STEPS // setting.steps_in(0))} or more, or a smaller --batch_size"
        run.log(
            f"WARNING: the whole search has {steps} steps, too few to tell candidates apart; give "
            f"{'a larger --budget' if options.budget else longer}"
        )
    if options.budget:
        run.log(f"--budget {options.budget:g} image passes are enough for {steps} steps in {method.num_epochs} epochs")


def validate(
    loop: Loop[Averages], method: SearchMethod[Any], images: Batches, split: str, watch: bool = True
) -> Scores:
    """Scores of the present sub-network, on images that are not augmented."""
    return score(loop, method.network, lambda x: method.predict(x).logits, images, split, watch)


def finish(loop: Loop[Averages], prepared: Prepared) -> None:
    """Let the method choose, validate what it has chosen, and write it with pictures and weights."""
    run, method, setting = loop.run, prepared.method, prepared.setting
    valid, held_out = prepared.valid, prepared.held_out
    space, info = setting.space, setting.info
    copy_from_main(method.network.buffers())
    for row in loop.stages(method.choose(judge_of(prepared))):
        if row is not None:
            run.records.row(MEASUREMENTS, row)
    genotype = method.genotype()
    run.log("after the last epoch:")
    log_genotype(run, genotype)
    validated = validate(loop, method, valid, "valid", watch=False)
    facts: dict[str, Any] = {"valid_acc": validated.top1, "image_passes": setting.stepping.cost.image_passes}
    lines, reported = method.report()
    values: dict[str, float | None] = {**validated.named("valid"), **reported}
    if held_out.num_images:
        scores = validate(loop, method, held_out, "held_out", watch=False)
        facts["held_out_acc"] = scores.top1
        values |= scores.named("held_out")
    for line in lines:
        run.log(line)
    values |= log_architecture(run, space, genotype, info) | loop.resources() | log_cost(run, setting.stepping)
    record(loop, values, genotype, final=True)
    if is_main() and (diverged := diverged_epochs(run, info.num_classes)):
        facts["diverged_epochs"] = diverged
    write_result(run, space, genotype, facts, method.weights(), method.beside())
    end_run(run, after_search(run.folder, prepared.options))

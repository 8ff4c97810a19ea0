"""The peak memory of a training step on a GPU, by its parts, without a GPU; see docs/memory.md."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any, NamedTuple

from isnas.analysis.options.memory import MemoryOptions
from isnas.base.bars import bar
from isnas.base.errors import UserError
from isnas.base.files import markdown_table
from isnas.base.options import build, to_dict
from isnas.base.random import generator
from isnas.base.text import shown
from isnas.data.catalogue import CATALOGUE
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.harness_options import NetworkTrainingOptions, SearchOptions
from isnas.engine.method import Method
from isnas.methods.options.evaluation import EvaluationOptions
from isnas.methods.registry import METHODS
from isnas.nets.memory import estimate_peak_memory
from isnas.space.connections import Connections, Support
from isnas.train.stepping import PRECISIONS


class Facts(NamedTuple):
    """A dataset's side, channels and classes, its numbers of images, and whether they may be mirrored."""

    image_size: int
    channels: int
    num_classes: int
    num_train: int = 0
    num_test: int = 0
    flip: bool = True


HEADER = ["architecture", "batch", "per GPU", "weights", "momentum", "gradients", "activations", "images", "sum, GiB"]


def report(method: str, options: MemoryOptions) -> str:
    """A table with a line per batch size and architecture, and what is not in it; ``options`` are the method's too."""
    kind, facts = METHODS[method], facts_of(options)
    statistics = (0.0,) * facts.channels, (1.0,) * facts.channels
    info = DatasetInfo(options.dataset, ("",) * facts.num_classes, *statistics, facts.image_size, facts.flip)
    options.check_images(info.image_size, options.with_auxiliary)
    rows = []
    for batch_size in options.batch_sizes or (options.batch_size,):
        if batch_size % options.gpus:
            raise UserError(
                f"a batch of {shown(batch_size)} cannot be divided among {options.gpus} GPUs; give a multiple"
            )
        each = batch_size // options.gpus
        own = build(type(options), to_dict(options) | {"batch_size": each})
        for name, support in bar(architectures(kind, own).items(), f"batch {batch_size}"):
            try:
                parts = step_bytes(kind, own, support, info)
            except (RuntimeError, OverflowError, TypeError):  # torch's, of sizes beyond 64 bits
                raise UserError(f"a batch of {shown(batch_size)} of such networks is beyond any memory") from None
            cells = (f"{part / 2**20:,.1f}" for part in parts)
            rows.append([name, f"{batch_size}", f"{each}", *cells, f"{sum(parts) / 2**30:.2f}"])
    title = f"A step of {method} on each GPU at its worst moment, MiB, estimated for --amp {options.amp}:"
    return "\n\n".join([title, markdown_table(HEADER, rows), *notes(kind, options, facts)])


def facts_of(options: MemoryOptions) -> Facts:
    """What the estimate needs to know of the images, whose files are not read.

    Raises:
        UserError: when only the files could tell.
    """
    record = CATALOGUE[options.dataset]
    size, num_classes = options.image_size or record.image_size, options.num_classes or record.num_classes
    if not size or not num_classes:
        raise UserError(f"--dataset {options.dataset} can be of any kind; give its --image_size and --num_classes")
    channels = 1 if options.grey else record.channels or 3
    flip = record.flip
    if isinstance(options, SearchOptions | NetworkTrainingOptions) and options.flip != "auto":
        flip = options.flip == "random"
    if record.streamed or record.num_train is None or record.num_test is None:
        return Facts(size, channels, num_classes, flip=flip)
    extra = record.extra.num_images if record.extra and options.svhn_extra else 0
    num_train = min(record.num_train + extra, options.max_train_images or sys.maxsize)
    return Facts(size, channels, num_classes, num_train, record.num_test, flip)


def architectures(kind: type[Method[Any]], options: MemoryOptions) -> dict[str, Support | None]:
    """The architectures of the table: the heaviest and random ones, or None for the one that is trained."""
    if isinstance(options, EvaluationOptions) and options.arch:
        return {options.arch[:40]: None}
    space = options.make_space()
    heaviest = kind.heaviest(options, space)
    if heaviest is None and not isinstance(options, EvaluationOptions):
        return {"heaviest": None}
    heaviest = heaviest or space.heaviest(2, options.value_bytes)
    found: dict[str, Support | None] = {"heaviest": heaviest}
    for topology in range(options.topologies):
        found[f"random {topology}"] = space.random(generator(topology, "memory"), len(heaviest[0]))
    return found


def step_bytes(
    kind: type[Method[Any]], options: MemoryOptions, support: Support | None, info: DatasetInfo
) -> list[int]:
    """Bytes of weights, momentum, gradients, activations and batches in a step; ``options.batch_size`` is per GPU.

    With ``grad_accum`` only a part of the batch is computed at a time, but from the second part on all gradients are
    there. A step of the two-stage search has two batches; of its two backward passes each keeps at most what is counted
    here, where the gradient reaches both W and b.
    """
    space, sizes = options.make_space(), options.sizes(info.channels, info.num_classes)
    part = -(-options.batch_size // options.grad_accum)
    weights_kept, connections, drop_path = 1, None, False
    if isinstance(options, EvaluationOptions):
        drop_path = options.drop_path_prob > 0.0
        weights_kept = 2 if options.ema_decay else 1
        if support is not None:
            genotype = space.genotype(support, one_stage=bool(options.onestage))
            options = build(type(options), to_dict(options) | {"arch": str(genotype)})
    elif support is not None:
        connections = Connections(support)
    peak = estimate_peak_memory(
        partial(kind.make_network, options, space, sizes),
        connections,
        train_coefficients=True,
        drop_path=drop_path,
        batch_size=part,
        in_channels=info.channels,
        image_size=info.image_size,
        momentum=options.momentum > 0.0,
        amp=PRECISIONS[options.amp],
        recompute=options.recompute,
    )
    image_bytes = 4 * info.channels * info.image_size**2
    num_images = options.batch_size * len(kind.splits)
    gradients = peak.gradients if options.grad_accum == 1 else peak.gradients_in_all
    activations = peak.activations - part * image_bytes
    return [peak.parameters * weights_kept, peak.momentum, gradients, activations, num_images * image_bytes]


def dataset_bytes(kind: type[Method[Any]], options: MemoryOptions, facts: Facts) -> int:
    """Bytes of all images as :class:`isnas.data.small.batches.Batches` keeps them on a device, all of them on each."""
    assert isinstance(options, SearchOptions | NetworkTrainingOptions)
    plain = facts.image_size**2 * facts.channels
    padded = (facts.image_size + 2 * options.padding(facts.image_size)) ** 2 * facts.channels * (1 + facts.flip)
    held_out = round(facts.num_train * options.held_out_portion)
    trained: float = facts.num_train - held_out
    chosen_on = trained * (1.0 - options.train_portion) if isinstance(options, SearchOptions) else facts.num_test
    scored = held_out + chosen_on
    if isinstance(options, SearchOptions) and "train_b" not in kind.splits:
        trained *= options.train_portion
    return round(scored) * plain + (round(trained) * padded if options.autoaugment == "off" else 0)


def notes(kind: type[Method[Any]], options: MemoryOptions, facts: Facts) -> list[str]:
    """What the figures leave out."""
    exchanged = ", NCCL's buffers and the copies of gradients that travel" if options.gpus > 1 else ""
    lines = [
        f"Not in it: the CUDA context, workspaces of cuDNN and cuBLAS, what the allocator cannot use{exchanged}. Types "
        "and sizes are torch's own, found without computing anything; none of it was compared with a GPU."
    ]
    if facts.num_train:
        lines.append(f"The dataset's images, on each GPU: {dataset_bytes(kind, options, facts) / 2**20:,.1f} MiB more.")
    elif not CATALOGUE[options.dataset].streamed:
        lines.append("All images of the dataset, as bytes, are on each GPU as well.")
    if options.compile:
        lines.append("Counted without --compile, which may keep less.")
    if options.sync_bn:
        lines.append("Counted without --sync_bn, which keeps more.")
    return lines

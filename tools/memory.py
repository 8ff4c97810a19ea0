"""Print the peak memory of a training step on a GPU, by its parts, without a GPU; see docs/memory.md.

The config and the flags are those of train_search.py, train_onestage.py or evaluate.py.
"""

import argparse
import importlib
import sys
from dataclasses import dataclass, make_dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from isnas.base.errors import UserError, run_tool
from isnas.base.files import markdown_table
from isnas.base.options import build, option, parse, to_dict
from isnas.base.random import generator
from isnas.data.catalogue import CATALOGUE
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.architectures import check_auxiliary, network_sizes
from isnas.nets.memory import estimate_peak_memory, heaviest_connections
from isnas.space.cells.candidates import num_candidates
from isnas.space.cells.network import super_net, target_network
from isnas.space.cells.operations import ONE_STAGE_BN, SEARCH_BN
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.connections import CellConnections, Connections
from isnas.train.stepping import PRECISIONS

#: The tools whose steps are estimated, and the classes of their options.
TOOLS = {"train_search": "SearchOptions", "train_onestage": "OneStageToolOptions", "evaluate": "EvaluateOptions"}


class Facts(NamedTuple):
    """A dataset's side, channels and classes, its numbers of images on the device, and whether they may be mirrored."""

    image_size: int
    channels: int
    num_classes: int
    num_train: int = 0
    num_test: int = 0
    flip: bool = True


HEADER = ["architecture", "batch", "per GPU", "weights", "momentum", "gradients", "activations", "images", "sum, GiB"]


@dataclass(frozen=True)
class MemoryOptions:
    """What is estimated, beside the tool's own settings."""

    tool: str = option("auto", "whose step; auto: by the config's name, as in configs/", choices=("auto", *TOOLS))
    batch_sizes: tuple[int, ...] = option((), "sizes of a batch over all GPUs; none means the config's")
    gpus: int = option(1, "GPUs among which a batch is divided", minimum=1)
    topologies: int = option(1, "random architectures beside the heaviest", minimum=0)
    num_classes: int | None = option(None, "classes of images of one's own", minimum=1)


def main(argv: list[str]) -> None:
    """Estimate what ``argv`` asks for."""
    tool = tool_of(argv)
    own = getattr(importlib.import_module(f"tools.{tool}"), TOOLS[tool])
    both = make_dataclass("Options", (), bases=(MemoryOptions, own), frozen=True)
    print(report(tool, parse(both, argv, f"Peak memory of a step of {tool}.py, by its parts, without a GPU.")))


def tool_of(argv: list[str]) -> str:
    """The tool that ``argv`` names, or the one that its config is for."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--tool", "--config"):
        parser.add_argument(flag, nargs="?", default="")
    given, _ = parser.parse_known_args(argv)
    if given.tool in TOOLS:
        return given.tool
    method = Path(given.config or "").stem.rpartition("_")[2]
    return {"onestage": "train_onestage", "evaluate": "evaluate"}.get(method, "train_search")


def report(tool: str, options: Any) -> str:
    """A table with a line per batch size and architecture, and what is not in it."""
    facts = facts_of(options)
    statistics = (0.0,) * facts.channels, (1.0,) * facts.channels
    info = DatasetInfo(options.dataset, ("",) * facts.num_classes, *statistics, facts.image_size, facts.flip)
    check_auxiliary(options, info)
    rows = []
    for batch_size in options.batch_sizes or (options.batch_size,):
        if batch_size % options.gpus:
            raise UserError(f"a batch of {batch_size} cannot be divided among {options.gpus} GPUs; give a multiple")
        each = batch_size // options.gpus
        own = build(type(options), to_dict(options) | {"batch_size": each})
        for name, connections in architectures(tool, own).items():
            parts = step_bytes(tool, own, connections, info)
            cells = (f"{part / 2**20:,.1f}" for part in parts)
            rows.append([name, f"{batch_size}", f"{each}", *cells, f"{sum(parts) / 2**30:.2f}"])
    title = f"A step of {tool}.py on each GPU at its worst moment, MiB, estimated for --amp {options.amp}:"
    return "\n\n".join([title, markdown_table(HEADER, rows), *notes(tool, options, facts)])


def facts_of(options: Any) -> Facts:
    """What the estimate needs to know of the images, whose files are not read.

    Raises:
        UserError: when only the files could tell.
    """
    record = CATALOGUE[options.dataset]
    size, num_classes = options.image_size or record.image_size, options.num_classes or record.num_classes
    if not size or not num_classes:
        raise UserError(f"--dataset {options.dataset} can be of any kind; give its --image_size and --num_classes")
    channels = 1 if options.grey else record.channels or 3
    flip = record.flip if options.flip == "auto" else options.flip == "random"
    if record.streamed or record.num_train is None or record.num_test is None:
        return Facts(size, channels, num_classes, flip=flip)
    extra = record.extra.num_images if record.extra and options.svhn_extra else 0
    num_train = min(record.num_train + extra, options.max_train_images or sys.maxsize)
    return Facts(size, channels, num_classes, num_train, record.num_test, flip)


def architectures(tool: str, options: Any) -> dict[str, Connections | str]:
    """The architectures of the table: the one that is trained, or else the heaviest and random ones."""
    num_nodes, kept = (4, 2) if tool == "evaluate" else (options.steps, options.sparseness)
    if getattr(options, "arch", ""):
        return {options.arch[:40]: options.arch}
    found: dict[str, Connections | str] = {"heaviest": heaviest_connections(num_nodes, kept, PRECISIONS[options.amp])}
    for topology in range(options.topologies):
        rng = generator(topology, "memory")
        cells = []
        for _ in range(2):
            nodes = (torch.randperm(num_candidates(j), generator=rng)[:kept].sort().values for j in range(num_nodes))
            cells.append(CellConnections.ones(tuple(tuple(node.tolist()) for node in nodes)))
        found[f"random {topology}"] = Connections(*cells)
    return found


def step_bytes(tool: str, options: Any, architecture: Connections | str, info: DatasetInfo) -> list[int]:
    """Bytes of weights, momentum, gradients, activations and batches in a step; ``options.batch_size`` is per GPU.

    With ``grad_accum`` only a part of the batch is computed at a time, but from the second part on all gradients are
    there. A step of the two-stage search has two batches; of its two backward passes each keeps at most what is counted
    here, where the gradient reaches both W and b.
    """
    sizes = network_sizes(options, info) | {"auxiliary": getattr(options, "auxiliary", False)}
    part = -(-options.batch_size // options.grad_accum)
    estimate = partial(
        estimate_peak_memory,
        batch_size=part,
        in_channels=info.channels,
        image_size=info.image_size,
        momentum=options.momentum > 0.0,
        amp=PRECISIONS[options.amp],
    )
    if tool == "evaluate":
        genotype = resolve_genotype(architecture) if isinstance(architecture, str) else architecture.genotype()
        drop_path = options.drop_path_prob > 0.0
        peak = estimate(lambda: target_network(genotype, **sizes), None, drop_path=drop_path)
    else:
        assert isinstance(architecture, Connections)
        bn = SEARCH_BN if tool == "train_search" else ONE_STAGE_BN
        peak = estimate(lambda: super_net(bn, options.steps, **sizes), architecture, train_coefficients=True)
    image_bytes = 4 * info.channels * info.image_size**2
    num_images = options.batch_size * (2 if tool == "train_search" else 1)
    weights = peak.parameters * (2 if getattr(options, "ema_decay", 0.0) else 1)
    gradients = peak.gradients if options.grad_accum == 1 else peak.gradients_in_all
    return [weights, peak.momentum, gradients, peak.activations - part * image_bytes, num_images * image_bytes]


def dataset_bytes(tool: str, options: Any, facts: Facts) -> int:
    """Bytes of all images as :class:`isnas.data.small.batches.Batches` keeps them on a device, all of them on each."""
    plain = facts.image_size**2 * facts.channels
    padded = (facts.image_size + 2 * (facts.image_size // 8)) ** 2 * facts.channels * (1 + facts.flip)
    held_out = round(facts.num_train * getattr(options, "held_out_portion", 0.0))
    trained = facts.num_train - held_out
    scored = held_out + (trained * (1.0 - options.train_portion) if tool == "train_search" else facts.num_test)
    return round(scored) * plain + (trained * padded if options.autoaugment == "off" else 0)


def notes(tool: str, options: Any, facts: Facts) -> list[str]:
    """What the figures leave out."""
    exchanged = ", NCCL's buffers and the copies of gradients that travel" if options.gpus > 1 else ""
    lines = [
        f"Not in it: the CUDA context, workspaces of cuDNN and cuBLAS, what the allocator cannot use{exchanged}. Types "
        "and sizes are torch's own, found without computing anything; none of it was compared with a GPU."
    ]
    if facts.num_train:
        lines.append(f"The dataset's images, on each GPU: {dataset_bytes(tool, options, facts) / 2**20:,.1f} MiB more.")
    elif not CATALOGUE[options.dataset].streamed:
        lines.append("All images of the dataset, as bytes, are on each GPU as well.")
    if options.compile:
        lines.append("Counted without --compile, which may keep less.")
    if options.sync_bn:
        lines.append("Counted without --sync_bn, which keeps more.")
    return lines


if __name__ == "__main__":
    run_tool(main)

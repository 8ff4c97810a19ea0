"""What a search says about the architectures it passes, and what it leaves at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from isnas.base.distributed import is_main, world_size
from isnas.base.errors import UserError
from isnas.base.files import write_json, write_tensors
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.loop import Loop
from isnas.engine.run import Run
from isnas.nets.count import Counts, count_target, num_params
from isnas.nets.memory import estimate_peak_memory
from isnas.space.cells.genotype import DARTS_OPERATIONS, Genotype
from isnas.space.cells.network import Network, NetworkOptions
from isnas.space.connections import Connections


def network_sizes(options: NetworkOptions, info: DatasetInfo) -> dict[str, Any]:
    """What a network wants to know besides its cells."""
    return {
        "stem": options.stem,
        "in_channels": info.channels,
        "num_classes": info.num_classes,
        "init_channels": options.init_channels,
        "layers": options.layers,
    }


def check_auxiliary(options: NetworkOptions, info: DatasetInfo) -> None:
    """See that the images are large enough for the auxiliary head, if there is to be one.

    Raises:
        UserError: when they are not.
    """
    least = 16 if options.stem == "cifar" else 128
    if getattr(options, "auxiliary", False) and info.image_size < least:
        raise UserError(
            f"--auxiliary needs images of {least} pixels or more, these have {info.image_size}; leave it out"
        )


@cache
def derived_size(genotype: Genotype, info: DatasetInfo) -> Counts:
    """Size of the papers' network of 20 cells and 36 channels made of a genotype, on this dataset."""
    return count_target(genotype, in_channels=info.channels, num_classes=info.num_classes, image_size=info.image_size)


def log_architecture(run: Run, genotype: Genotype, info: DatasetInfo) -> dict[str, float]:
    """Log how often each operation occurs and the size of the derived network; returns both as numbers by name."""
    operations = Counter(operation for node in genotype.normal + genotype.reduce for operation, _ in node)
    size = derived_size(genotype, info)
    run.log("operations " + ", ".join(f"{name} {number}" for name, number in operations.most_common()))
    run.log(f"derived network (20 cells, C = 36) {size}")
    counts: dict[str, float] = {f"operations/{name}": operations[name] for name in DARTS_OPERATIONS}
    multiply_adds = size.conv_linear_multiply_adds / 1e6
    return counts | {"derived/params_millions": size.params_millions, "derived/multiply_adds_millions": multiply_adds}


def log_size(run: Run, build: Callable[[], Network], connections: Connections | None, info: DatasetInfo) -> None:
    """Log the parameters of the network that ``build`` makes, and the memory that a step will need in each process."""
    batch_size = math.ceil(run.options.batch_size / (run.options.grad_accum * world_size()))
    with torch.device("meta"):
        run.log(f"param size = {num_params(build()) / 1e6:.6f}MB")
    memory = estimate_peak_memory(
        build, connections, batch_size=batch_size, in_channels=info.channels, image_size=info.image_size
    )
    run.log(
        f"memory of a step at most {memory.total_gib:.2f} GiB (estimated in float32; images, library workspaces and "
        "the device's context come on top)"
    )


def record(loop: Loop, values: Mapping[str, float | None], genotype: Genotype, **marks: bool) -> None:
    """A row of metrics.jsonl and one of genotypes.jsonl."""
    loop.run.records.metrics(loop.global_step, loop.epoch, {**values, **marks})
    row = {"epoch": loop.epoch, "valid_acc": values["valid/acc"], "genotype": genotype.to_json()}
    loop.run.records.row("genotypes.jsonl", {**row, **marks})


def write_result(run: Run, genotype: Genotype, accuracies: Mapping[str, float], parts: Mapping[str, nn.Module]) -> None:
    """Write the weights of ``parts``, the pictures of the cells and, last, genotype.json: the run is done.

    Rank 0 writes.
    """
    if not is_main():
        return
    from isnas.space.cells.picture import draw_genotype  # matplotlib is only needed here, and slow to import

    weights = {name: {key: t.cpu() for key, t in part.state_dict().items()} for name, part in parts.items()}
    write_tensors(run.folder / "weights.pt", weights)
    pictures = draw_genotype(genotype, run.folder)
    result: dict[str, Any] = {"genotype": genotype.to_json(), "text": str(genotype), **accuracies}
    write_json(run.folder / "genotype.json", result)
    run.log(f"genotype file {run.folder / 'genotype.json'}")
    run.log(f"pictures {' '.join(map(str, pictures))}")

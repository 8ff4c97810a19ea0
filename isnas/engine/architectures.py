"""What a search says about the architectures it passes, and what it leaves at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from isnas.base.distributed import is_main, world_size
from isnas.base.files import write_json, write_tensors
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.harness_options import HarnessOptions
from isnas.engine.loop import Loop
from isnas.engine.records import METRICS, read_rows
from isnas.engine.run import Run
from isnas.nets.count import Counts, count_built, num_params
from isnas.nets.memory import estimate_peak_memory
from isnas.space.connections import Connections
from isnas.space.space import AnyGenotype, Network, Space
from isnas.train.stepping import PRECISIONS


@cache
def derived_size(space: Space, genotype: Any, info: DatasetInfo) -> Counts:
    """Size of the network in which papers compare architectures of the space, for this dataset."""
    sizes = space.derived_sizes | {"in_channels": info.channels, "num_classes": info.num_classes}
    build = partial(space.target_network, genotype, **sizes)
    return count_built(build, info.channels, info.image_size)


def log_genotype(run: Run, genotype: AnyGenotype) -> None:
    """Log an architecture such that the line pastes into the code of DARTS."""
    for line in genotype.lines():
        run.log(line)


def log_architecture(run: Run, space: Space, genotype: Any, info: DatasetInfo) -> dict[str, float]:
    """Log how often each operation occurs and the size of the derived network; returns both as numbers by name."""
    operations = space.operation_counts(genotype)
    size = derived_size(space, genotype, info)
    occurring = [f"{name} {number}" for name, number in Counter(operations).most_common() if number]
    run.log(f"operations {', '.join(occurring)}")
    run.log(f"derived network ({space.derived_name}) {size}")
    counts: dict[str, float] = {f"operations/{name}": number for name, number in operations.items()}
    multiply_adds = size.conv_linear_multiply_adds / 1e6
    return counts | {"derived/params_millions": size.params_millions, "derived/multiply_adds_millions": multiply_adds}


def log_size(
    run: Run, options: HarnessOptions, build: Callable[[], Network], connections: Connections | None, info: DatasetInfo
) -> None:
    """Log the parameters of the network that ``build`` makes, and the memory that a step will need in each process."""
    batch_size = math.ceil(options.batch_size / (options.grad_accum * world_size()))
    with torch.device("meta"):
        run.log(f"param size = {num_params(build()) / 1e6:.6f}MB")
    amp = options.amp
    memory = estimate_peak_memory(
        build,
        connections,
        batch_size=batch_size,
        in_channels=info.channels,
        image_size=info.image_size,
        amp=PRECISIONS[amp],
        recompute=options.recompute,
    )
    precision = "in float32" if amp == "off" else f"for --amp {amp}"
    run.log(
        f"memory of a step at most {memory.total_gib:.2f} GiB (estimated {precision}; images, library workspaces and "
        "the device's context come on top)"
    )


def record(loop: Loop[Any], values: Mapping[str, float | None], genotype: AnyGenotype, **marks: bool) -> None:
    """A row of metrics.jsonl and one of genotypes.jsonl."""
    loop.run.records.metrics(loop.global_step, loop.epoch, {**values, **marks})
    row: dict[str, Any] = {"epoch": loop.epoch, "valid_acc": values["valid/acc"], "hash": genotype.hash()}
    row["genotype"] = genotype.to_json()
    loop.run.records.row("genotypes.jsonl", {**row, **marks})


def write_result(
    run: Run,
    space: Space,
    genotype: AnyGenotype,
    facts: Mapping[str, Any],
    parts: Mapping[str, nn.Module],
    beside: Mapping[str, AnyGenotype] | None = None,
) -> None:
    """Write the weights of ``parts``, pictures of cells and curves and, last, genotype.json: the run is done.

    ``facts`` are entries of genotype.json beside the architecture; each of ``beside`` gets a file of its own.

    Rank 0 writes.
    """
    if not is_main():
        return
    weights = {name: {key: t.cpu() for key, t in part.state_dict().items()} for name, part in parts.items()}
    write_tensors(run.folder / "weights.pt", weights)
    from isnas.draw.training_curves import draw_course  # matplotlib is slow to import

    pictures = [*space.draw(genotype, run.folder), *draw_course(read_rows(run.folder / METRICS), run.folder)]
    for name, other in (beside or {}).items():
        write_json(run.folder / f"{name}.json", {"genotype": other.to_json(), "text": str(other)})
    result: dict[str, Any] = {"genotype": genotype.to_json(), "text": str(genotype), **facts}
    write_json(run.folder / "genotype.json", result)
    run.log(f"genotype file {run.folder / 'genotype.json'}")
    run.log(f"pictures {' '.join(map(str, pictures))}")

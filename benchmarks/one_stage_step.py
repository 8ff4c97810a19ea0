"""What a step of the one-stage search costs, and its memory, against a training step of the target network.

The search step updates W and b from one backward pass, before any node has terminated: gamma and beta of the candidates
are frozen and coefficients carry a gradient. The target network has the same cells, weights and batch normalisations,
with a trainable gamma and beta. C = 16, 8 cells, 32 x 32 images, 2 threads, for random architectures; the steps of the
two are interleaved. Memory is estimated at this size and at the paper's (C = 36, 20 cells, batch 96, auxiliary head).
"""

import statistics
import sys
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from common import SEARCH_SIZES, TINY_SIZES, make_steps_parser, random_batch, seconds_in_turn, setting, write_figures

from isnas.base.files import markdown_table
from isnas.engine.method import Setting
from isnas.methods.evaluation import Evaluation
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import make_options
from isnas.nets.memory import PeakMemory, estimate_peak_memory
from isnas.space.batch_norm import BatchNorm
from isnas.space.space import Network

PAPER = {"init_channels": 36, "layers": 20}
PAPER_BATCH = 96
MOST_RATIO = 1.05


def make_both(topology: int, sizes: dict[str, Any], image_size: int) -> tuple[OneStage, Evaluation]:
    """A one-stage search with a random support, and the training of the same cells with the same weights.

    b is as large as it is after some thousand steps.
    """
    options = make_options("one_stage", seed=topology, arch_init_scale=1.0, **sizes)
    search = OneStage.build(options, setting(options, image_size))
    search.recover(0)
    trained = make_options("evaluation", arch=str(search.genotype()), **sizes)
    training = Evaluation.build(trained, setting(trained, image_size))
    state, support = search.network.state_dict(), search.connections().support
    training.network.load_state_dict(search.network.extract_state(state, support))
    return search, training


def measure(
    topology: int, batch_size: int, repeats: int, sizes: dict[str, Any], image_size: int, with_paper: bool
) -> dict[str, Any]:
    """Median seconds of a step of each, bytes of momentum, and the estimates of memory, for a random architecture."""
    search, training = make_both(topology, sizes, image_size)
    x, labels = random_batch(batch_size, image_size, torch.Generator().manual_seed(topology))
    steps = {"search": partial(search.step, x, labels), "target": partial(training.step, x, labels)}
    result: dict[str, Any] = {
        name: {"seconds": statistics.median(values)} for name, values in seconds_in_turn(steps, repeats).items()
    }
    result["ratio"] = result["search"]["seconds"] / result["target"]["seconds"]
    for name, optimizer in (("search", search.w_optimizer), ("target", training.training.optimizer)):
        buffers = [state["momentum_buffer"] for state in optimizer.state.values()]
        result[name]["momentum_bytes"] = sum(buffer.nbytes for buffer in buffers)
    result["memory"] = memory(search, batch_size, setting(search.options, image_size))
    if with_paper:
        large = replace(search.options, auxiliary=True, **PAPER)
        result["memory_paper"] = memory(search, PAPER_BATCH, setting(large), auxiliary=True)
    return result


def memory(search: OneStage, batch_size: int, place: Setting, auxiliary: bool = False) -> dict[str, dict[str, int]]:
    """Bytes by part of a step of each, in networks of these sizes."""
    estimate = partial(estimate_peak_memory, batch_size=batch_size, in_channels=3, image_size=place.info.image_size)
    sizes = place.sizes | {"auxiliary": auxiliary}
    connections = search.connections()
    found = estimate(partial(frozen_super_net, place, sizes), connections, train_coefficients=True)
    target = estimate(partial(place.space.target_network, search.genotype(), **sizes), None)
    return {"search": asdict(found), "target": asdict(target)}


def frozen_super_net(place: Setting, sizes: dict[str, Any]) -> Network:
    """The super-net as no node has terminated yet: gamma and beta of its candidates do not train."""
    network = place.space.super_net(one_stage=True, **sizes)
    for node in range(len(place.space.sizes)):
        for operations in network.operations(node):
            for part in operations.modules():
                if isinstance(part, BatchNorm):
                    part.requires_grad_(False)
    return network


def over_target(row: dict[str, dict[str, int]], part: str) -> float:
    """A part of the search step's memory in units of the training step's."""
    return row["search"][part] / row["target"][part]


def table(rows: list[dict[str, Any]], key: str) -> str:
    """MiB by part, for each architecture and network."""
    header = ["topology", "network", "weights", "momentum", "gradients", "activations", "at the worst moment"]
    lines = []
    for topology, row in enumerate(rows):
        for name, parts in row[key].items():
            peak = PeakMemory(**parts)
            held = (
                peak.parameters,
                peak.momentum,
                peak.gradients_in_all,
                peak.activations,
                peak.parameters + peak.step,
            )
            lines.append([str(topology), name, *(f"{size / 2**20:,.1f}" for size in held)])
    return markdown_table(header, lines, num_words=2)


def main() -> None:
    arguments = make_steps_parser(__doc__).parse_args()
    sizes, image_size, names = SEARCH_SIZES, 32, {"memory": "as timed", "memory_paper": "of the paper's size"}
    if arguments.quick:
        arguments.batch_size, arguments.topologies, arguments.repeats = 16, 1, 1
        sizes, image_size, names = TINY_SIZES, 16, {"memory": "as timed"}
    torch.set_num_threads(1 if arguments.quick else 2)
    rows = []
    for topology in range(arguments.topologies):
        row = measure(
            topology, arguments.batch_size, arguments.repeats, sizes, image_size, with_paper=not arguments.quick
        )
        milliseconds = (f"{name} {1e3 * row[name]['seconds']:.0f} ms" for name in ("search", "target"))
        print(f"topology {topology}: {', '.join(milliseconds)}, ratio {row['ratio']:.3f}", flush=True)
        rows.append(row)
    figures = {"time": statistics.median(row["ratio"] for row in rows)}
    for key, size in names.items():
        figures[f"activations, {size}"] = max(over_target(row[key], "activations") for row in rows)
        print(f"\nMiB of a step, {size}:")
        print(table(rows, key))
    figures["momentum"] = max(row["search"]["momentum_bytes"] / row["target"]["momentum_bytes"] for row in rows)
    print(f"\nsearch / target, at most {MOST_RATIO}; the largest, but for the time, which is the median:")
    for name, value in figures.items():
        print(f"{name} {value:.4f}")
    write_figures(arguments.output, {"batch_size": arguments.batch_size, "ratios": figures, "topologies": rows})
    bounded = {name: value for name, value in figures.items() if not (arguments.quick and name == "time")}
    if max(bounded.values()) > MOST_RATIO:
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()

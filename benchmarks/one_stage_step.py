"""What a step of the one-stage search costs, and its memory, against a training step of the target network.

The search step updates W and b from one backward pass, before any node has terminated: gamma and beta of the candidates
are frozen and coefficients carry a gradient. The target network has the same cells, weights and batch normalisations,
with a trainable gamma and beta. C = 16, 8 cells, 32 x 32 images, 2 threads, for random architectures; the steps of the
two are interleaved. Memory is estimated at this size and at the paper's (C = 36, 20 cells, batch 96, auxiliary head).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from isnas.base.files import markdown_table, write_json
from isnas.base.random import generator, initialising
from isnas.engine.run import environment
from isnas.methods.one_stage import OneStage, OneStageOptions
from isnas.methods.sparse_architecture import ArchitectureOptions, SparseArchitecture
from isnas.nets.memory import PeakMemory, estimate_peak_memory
from isnas.space.cells.network import Network, extract_state, super_net, target_network
from isnas.space.cells.operations import ONE_STAGE_BN, BatchNorm
from isnas.space.connections import Connections
from isnas.train.fixed import Training, TrainingOptions
from isnas.train.optim import SgdOptions, make_sgd
from isnas.train.stepping import StepOptions, Stepping

SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 16, "layers": 8}
PAPER = SIZES | {"init_channels": 36, "layers": 20, "auxiliary": True}
PAPER_BATCH = 96
MOST_RATIO = 1.05


@dataclass(frozen=True)
class Options(OneStageOptions, ArchitectureOptions, TrainingOptions, SgdOptions, StepOptions):
    """The settings of both; b as large as it is after some thousand steps."""

    arch_init_scale: float = 1.0


def make_search(topology: int, options: Options) -> OneStage:
    """A one-stage search with a random support."""
    with initialising(topology, "benchmark"):
        network = super_net(ONE_STAGE_BN, **SIZES)
    stepping = Stepping(options, torch.device("cpu"))
    stepping.place(network)
    architecture = SparseArchitecture(options, generator(topology, "architecture"))
    b_optimizer = torch.optim.Adam(architecture.parameters(), 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    w_optimizer = make_sgd(network.parameters(), options)
    search = OneStage(network, architecture, w_optimizer, b_optimizer, stepping, options, SIZES, interval=1)
    search.recover(0)
    return search


def make_training(search: OneStage, options: Options) -> Training:
    """The training of a target network with the cells and the weights that run in a search."""
    network = target_network(search.genotype(), **SIZES)
    network.load_state_dict(extract_state(search.network.state_dict(), search.connections(), SIZES["layers"]))
    stepping = Stepping(options, torch.device("cpu"))
    stepping.place(network)
    return Training(network, make_sgd(network.parameters(), options), stepping, options)


def measure(topology: int, batch_size: int, repeats: int) -> dict[str, Any]:
    """Median seconds of a step of each, bytes of momentum, and the estimates of memory, for a random architecture."""
    options = Options()
    search = make_search(topology, options)
    training = make_training(search, options)
    drawn = torch.Generator().manual_seed(topology)
    labels = torch.randint(10, (batch_size,), generator=drawn)
    x = torch.randn(batch_size, 3, 32, 32, generator=drawn).to(memory_format=torch.channels_last)
    steps = {"search": search.step, "target": training.step}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-3, repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step(x, labels)
            if turn >= 0:  # the first touches of memory are slow
                seconds[name].append(time.perf_counter() - start)
    result: dict[str, Any] = {name: {"seconds": statistics.median(values)} for name, values in seconds.items()}
    result["ratio"] = result["search"]["seconds"] / result["target"]["seconds"]
    for name, optimizer in (("search", search.w_optimizer), ("target", training.optimizer)):
        buffers = [state["momentum_buffer"] for state in optimizer.state.values()]
        result[name]["momentum_bytes"] = sum(buffer.nbytes for buffer in buffers)
    result["memory"] = memory(search.connections(), batch_size, SIZES)
    result["memory_paper"] = memory(search.connections(), PAPER_BATCH, PAPER)
    return result


def memory(connections: Connections, batch_size: int, sizes: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Bytes by part of a step of each."""
    estimate = partial(estimate_peak_memory, batch_size=batch_size, in_channels=3, image_size=32)
    genotype = connections.genotype(extra_bn="all")
    search = estimate(partial(frozen_super_net, sizes), connections, train_coefficients=True)
    target = estimate(partial(target_network, genotype, **sizes), None)
    return {"search": asdict(search), "target": asdict(target)}


def frozen_super_net(sizes: dict[str, Any]) -> Network:
    """The super-net as no node has terminated yet: gamma and beta of its candidates do not train."""
    network = super_net(ONE_STAGE_BN, **sizes)
    for cell in network.cells:
        for part in cell.nodes.modules():
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--topologies", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20, help="steps per topology")
    parser.add_argument(
        "--quick", action="store_true", help="2 topologies, 5 steps of batch 16: for a try, not to quote"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.batch_size, arguments.topologies, arguments.repeats = 8, 2, 3
    torch.set_num_threads(1 if arguments.quick else 2)
    rows = []
    for topology in range(arguments.topologies):
        row = measure(topology, arguments.batch_size, arguments.repeats)
        milliseconds = (f"{name} {1e3 * row[name]['seconds']:.0f} ms" for name in ("search", "target"))
        print(f"topology {topology}: {', '.join(milliseconds)}, ratio {row['ratio']:.3f}", flush=True)
        rows.append(row)
    figures = {"time": statistics.median(row["ratio"] for row in rows)}
    for key, size in (("memory", "as timed"), ("memory_paper", "of the paper's size")):
        figures[f"activations, {size}"] = max(over_target(row[key], "activations") for row in rows)
        print(f"\nMiB of a step, {size}:")
        print(table(rows, key))
    figures["momentum"] = max(row["search"]["momentum_bytes"] / row["target"]["momentum_bytes"] for row in rows)
    print(f"\nsearch / target, at most {MOST_RATIO}; the largest, but for the time, which is the median:")
    for name, value in figures.items():
        print(f"{name} {value:.4f}")
    if arguments.output:
        facts = environment(torch.device("cpu"))
        facts = {key: facts[key] for key in ("packages", "processor", "threads", "commit")}
        write_json(
            arguments.output, facts | {"batch_size": arguments.batch_size, "ratios": figures, "topologies": rows}
        )
    if max(figures.values()) > MOST_RATIO:
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()

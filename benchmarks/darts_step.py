"""What a search step of DARTS and of PC-DARTS costs here, and its memory.

Each against a straightforward one: contiguous tensors, a ReLU in front of every convolution, every output multiplied by
its weight, every edge split, concatenated and shuffled by itself, gradients of everything in both passes. DARTS at
batch 64 stands beside a step of ISTA-NAS, too. C = 16, 8 cells, 32 x 32 images, 2 threads; steps are interleaved.
"""

import statistics
import sys
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from common import SEARCH_SIZES, TINY_SIZES, make_parser, random_batch, seconds_in_turn, setting, write_figures
from search_step import PlainReduce, PlainSuperNet
from torch import Tensor, nn

from isnas.base.random import initialising
from isnas.methods.mixed import MixedSearch
from isnas.methods.registry import SEARCHES, make_options
from isnas.nets.memory import estimate_peak_memory
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections
from isnas.train.optim import make_sgd

Batch = tuple[Tensor, Tensor]

LEAST_SPEED_UP, MOST_MEMORY = 1.3, 0.8


class PlainPartialSuperNet(PlainSuperNet):
    """That of PC-DARTS: operations see the first of ``parts`` of the channels."""

    def __init__(self, space: CellSpace, channels: int, layers: int, parts: int) -> None:
        super().__init__(space, channels // parts, layers)
        self.parts = parts
        previous, after = (3 * channels, 3 * channels), False
        self.stem = nn.Sequential(nn.Conv2d(3, previous[0], 3, padding=1, bias=False), nn.BatchNorm2d(previous[0]))
        for layer, cell in enumerate(self.cells):
            channels *= 1 + (layer in self.reductions)
            cell[0] = PlainReduce(previous[0], channels) if after else self.preprocess(previous[0], channels)
            cell[1] = self.preprocess(previous[1], channels)
            previous, after = (previous[1], 4 * channels), layer in self.reductions
        self.classifier = nn.Linear(previous[1], 10)

    def sum_of(self, operations: nn.ModuleList, node: int, states: list[Tensor], connections: Connections) -> Tensor:
        weights, of_edges = (each[node].to(states[0].dtype) for each in (connections.coefficients, connections.passed))
        terms = []
        for edge, of_edge in enumerate(of_edges):
            own = range(edge * self.num_operations, (edge + 1) * self.num_operations)
            first, rest = states[edge].tensor_split([states[edge].shape[1] // self.parts], dim=1)
            mixed = sum(weights[k] / of_edge * operations[k](first) for k in own)
            both = torch.cat([mixed, rest if rest.shape[2:] == mixed.shape[2:] else F.max_pool2d(rest, 2)], dim=1)
            terms.append(of_edge * both.unflatten(1, (self.parts, -1)).transpose(1, 2).flatten(1, 2))
        return sum(terms[1:], terms[0])


def plain_search_step(network: nn.Module, search: MixedSearch[Any], batches: list[Batch]) -> None:
    """A step of the variables of ``search``, and one of the network's weights, every gradient taken in both."""
    for (x, labels), optimizer in zip(reversed(batches), (search.arch_optimizer, search.w_optimizer)):
        search.arch_optimizer.zero_grad()
        search.w_optimizer.zero_grad()
        F.cross_entropy(network(x, search.connections()).logits, labels).backward()
        if optimizer is search.w_optimizer:
            nn.utils.clip_grad_norm_(network.parameters(), search.options.grad_clip)
        optimizer.step()


def measure(name: str, batch_size: int, repeats: int, sizes: dict[str, int], image_size: int) -> dict[str, float]:
    """Median seconds of a whole step here, of a straightforward one and of ISTA-NAS's, and GiB of their passes."""
    options = make_options(name, **sizes | ({"arch_start_epoch": 0} if name == "pc_darts" else {}))
    place = setting(options, image_size)
    ours, other = (SEARCHES[name].build(options, place) for _ in range(2))
    parts = {"partial": options.partial_channels} if name == "pc_darts" else {}
    kind = partial(PlainPartialSuperNet, parts=options.partial_channels) if parts else PlainSuperNet
    build_plain = partial(kind, place.space, options.init_channels, options.layers)
    with initialising(0, "benchmark"):
        plain = build_plain()
    other.w_optimizer = make_sgd(plain.parameters(), options)
    ista_options = make_options("two_stage", **sizes)
    ista = SEARCHES["two_stage"].build(ista_options, setting(ista_options, image_size))
    ista.before_step(0)
    rng = torch.Generator().manual_seed(0)
    batches = [random_batch(batch_size, image_size, rng) for _ in range(2)]
    contiguous = [(x.contiguous(), labels) for x, labels in batches]
    steps = {
        name: partial(ours.step, *batches),
        "straightforward": partial(plain_search_step, plain, other, contiguous),
        "two_stage": partial(ista.step, *batches),
    }
    result = {step: statistics.median(values) for step, values in seconds_in_turn(steps, repeats, 1).items()}
    with torch.no_grad():
        connections, sparse = ours.connections(), ista.connections()
    memory = {
        name: (partial(place.space.super_net, **parts, **place.sizes), connections),
        "straightforward": (build_plain, connections),
        "two_stage": (partial(place.space.super_net, **place.sizes), sparse),
    }
    for step, (build, active) in memory.items():
        peak = estimate_peak_memory(
            build, active, batch_size=batch_size, in_channels=3, image_size=image_size, train_coefficients=True
        )
        result[f"{step}_gib"] = peak.total_gib
    return result


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    sizes, image_size = SEARCH_SIZES, 32
    if arguments.quick:
        arguments.batch_size, arguments.repeats, sizes, image_size = 4, 1, TINY_SIZES, 8
    torch.set_num_threads(1 if arguments.quick else 2)
    figures, short = {}, False
    for name in ("darts", "pc_darts"):
        row = measure(name, arguments.batch_size, arguments.repeats, sizes, image_size)
        steps = (name, "straightforward", "two_stage")
        print("; ".join(f"{step} {1e3 * row[step]:.0f} ms, {row[f'{step}_gib']:.2f} GiB" for step in steps), flush=True)
        speed_up, memory = row["straightforward"] / row[name], row[f"{name}_gib"] / row["straightforward_gib"]
        print(
            f"straightforward / {name} {speed_up:.2f} (at least {LEAST_SPEED_UP}), its memory {memory:.2f} of it "
            f"(at most {MOST_MEMORY}); {name} / two_stage {row[name] / row['two_stage']:.1f}, its memory "
            f"{row[f'{name}_gib'] / row['two_stage_gib']:.1f} times"
        )
        figures[name] = row
        short = short or speed_up < LEAST_SPEED_UP or memory > MOST_MEMORY
    write_figures(arguments.output, {"batch_size": arguments.batch_size, **figures})
    if short and not arguments.quick:
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()

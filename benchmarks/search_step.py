"""What a W step of the search super-net costs, and its memory.

Against a target network with the same cells, weights and batch normalisations (what the active operations must cost),
and against a straightforward super-net: contiguous tensors, a ReLU in front of every convolution, every output
multiplied by its coefficient, all candidates' parameters in the optimiser. C = 16, 8 cells, 32 x 32 images, 2 threads,
SGD with momentum and gradient clipping; steps of the three are interleaved.
"""

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from common import SEARCH_SIZES, TINY_SIZES, make_steps_parser, random_batch, seconds_in_turn, setting, write_figures
from torch import Tensor, nn

from isnas.base.random import initialising
from isnas.methods.registry import make_options
from isnas.methods.two_stage import TwoStage
from isnas.nets.memory import estimate_peak_memory
from isnas.space.cells.network import CellNetwork
from isnas.space.cells.operations import SEARCH_BN
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Connections
from isnas.space.space import Output
from isnas.train.optim import make_sgd
from isnas.train.train_options import SgdOptions

MOST_RATIO, LEAST_SPEED_UP = 1.05, 1.5


class PlainOperation(nn.Module):
    """An operation as a sequence of torch's own layers, ReLU first, ending in a BN but for the stride-1 skip."""

    def __init__(self, name: str, channels: int, stride: int) -> None:
        super().__init__()
        kind, _, size = name.rpartition("_")
        bn = nn.BatchNorm2d(channels, affine=False)
        if kind == "max_pool":
            layers: list[nn.Module] = [nn.MaxPool2d(3, stride, 1), bn]
        elif kind == "avg_pool":
            layers = [nn.AvgPool2d(3, stride, 1, count_include_pad=False), bn]
        elif name == "skip_connect":
            layers = [nn.Identity()] if stride == 1 else [PlainReduce(channels, channels)]
        elif kind == "dil_conv":
            layers = [nn.ReLU(), *self.separable(channels, int(size[0]), stride, 2), bn]
        else:
            middle = nn.BatchNorm2d(channels, affine=False)
            layers = [nn.ReLU(), *self.separable(channels, int(size[0]), stride, 1), middle]
            layers += [nn.ReLU(), *self.separable(channels, int(size[0]), 1, 1), bn]
        self.layers = nn.Sequential(*layers)

    @staticmethod
    def separable(channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
        padding = dilation * (kernel - 1) // 2
        depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
        return [depthwise, nn.Conv2d(channels, channels, 1, bias=False)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class PlainReduce(nn.Module):
    """ReLU, two shifted 1 x 1 convolutions of stride 2, BN."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(in_channels, channels // 2, 1, 2, bias=False)
        self.right = nn.Conv2d(in_channels, channels // 2, 1, 2, bias=False)
        self.bn = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.bn(torch.cat([self.left(x), self.right(x[:, :, 1:, 1:])], 1))


class PlainSuperNet(nn.Module):
    """All candidates, the active ones executed and multiplied by their coefficients."""

    def __init__(self, space: CellSpace, channels: int, layers: int) -> None:
        super().__init__()
        self.num_nodes, self.num_operations = space.num_nodes, len(space.operations)
        previous, after = (3 * channels, 3 * channels), False
        self.stem = nn.Sequential(nn.Conv2d(3, previous[0], 3, padding=1, bias=False), nn.BatchNorm2d(previous[0]))
        self.cells = nn.ModuleList()
        self.reductions = (layers // 3, 2 * layers // 3)
        for layer in range(layers):
            reduction = layer in self.reductions
            channels *= 1 + reduction
            cell = nn.ModuleList(
                [
                    PlainReduce(previous[0], channels) if after else self.preprocess(previous[0], channels),
                    self.preprocess(previous[1], channels),
                ]
            )
            for node in space.candidates:
                stride = [2 if reduction and predecessor < 2 else 1 for _, predecessor in node]
                cell.append(nn.ModuleList(PlainOperation(op, channels, s) for (op, _), s in zip(node, stride)))
            self.cells.append(cell)
            previous, after = (previous[1], 4 * channels), reduction
        self.classifier = nn.Linear(previous[1], 10)

    @staticmethod
    def preprocess(in_channels: int, channels: int) -> nn.Module:
        conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(channels, affine=False))

    def forward(self, x: Tensor, connections: Connections, drop_path: None = None) -> Output:
        s0 = s1 = self.stem(x)
        for layer, (first, second, *nodes) in enumerate(self.cells):
            start = self.num_nodes if layer in self.reductions else 0
            states = [first(s0), second(s1)]
            for node, operations in enumerate(nodes, start):
                states.append(self.sum_of(operations, node, states, connections))
            s0, s1 = s1, torch.cat(states[2:], 1)
        return Output(self.classifier(F.adaptive_avg_pool2d(s1, 1).flatten(1)), None)

    def sum_of(self, operations: nn.ModuleList, node: int, states: list[Tensor], connections: Connections) -> Tensor:
        """The value of a node, counted over both cell types."""
        weights = connections.coefficients[node].to(states[0].dtype)
        terms = [
            weight * operations[k](states[k // self.num_operations])
            for k, weight in zip(connections.support[node], weights)
        ]
        return sum(terms[1:], terms[0])


def plain_step(network: nn.Module, options: SgdOptions, *arguments: Any) -> Callable[[Tensor, Tensor], None]:
    """A training step of a network on its own."""
    optimizer = make_sgd(network.parameters(), options)

    def step(x: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x, *arguments).logits, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), options.grad_clip)
        optimizer.step()

    return step


def measure(topology: int, batch_size: int, repeats: int, sizes: dict[str, int], image_size: int) -> dict[str, float]:
    """Median seconds of a step of each network, and GiB, for a random architecture."""
    options = make_options("two_stage", seed=topology, arch_init_scale=1.0, **sizes)
    place = setting(options, image_size)
    search = TwoStage.build(options, place)
    search.recover()
    with torch.no_grad():
        connections = search.connections()
    genotype = search.genotype()
    build_target = partial(
        CellNetwork,
        (genotype.normal, genotype.normal_concat),
        (genotype.reduce, genotype.reduce_concat),
        SEARCH_BN,
        **place.sizes,
    )
    target = search.stepping.place(build_target())
    target.load_state_dict(search.network.extract_state(search.network.state_dict(), connections.support))
    build_plain = partial(PlainSuperNet, place.space, options.init_channels, options.layers)
    with initialising(topology, "benchmark"):
        plain = build_plain()

    x, labels = random_batch(batch_size, image_size, torch.Generator().manual_seed(topology))
    contiguous = x.contiguous()
    steps = {
        "super_net": partial(search.update_w, x, labels),
        "target": partial(plain_step(target, options), x, labels),
        "straightforward": partial(plain_step(plain, options, connections), contiguous, labels),
    }
    result = {name: statistics.median(values) for name, values in seconds_in_turn(steps, repeats).items()}
    memory = {
        "super_net": (partial(place.space.super_net, **place.sizes), connections),
        "target": (build_target, None),
        "straightforward": (build_plain, connections),
    }
    for name, (build, active) in memory.items():
        peak = estimate_peak_memory(build, active, batch_size=batch_size, in_channels=3, image_size=image_size)
        result[f"{name}_gib"] = peak.total_gib
    return result


def main() -> None:
    arguments = make_steps_parser(__doc__).parse_args()
    sizes, image_size = SEARCH_SIZES, 32
    if arguments.quick:
        arguments.batch_size, arguments.topologies, arguments.repeats = 4, 1, 1
        sizes, image_size = TINY_SIZES, 8
    torch.set_num_threads(1 if arguments.quick else 2)
    rows = []
    for topology in range(arguments.topologies):
        row = measure(topology, arguments.batch_size, arguments.repeats, sizes, image_size)
        parts = (
            f"{name.replace('_', '-')} {1e3 * row[name]:.0f} ms, {row[f'{name}_gib']:.2f} GiB"
            for name in ("super_net", "target", "straightforward")
        )
        print("; ".join(parts), flush=True)
        rows.append(row)
    ratio = statistics.median(row["super_net"] / row["target"] for row in rows)
    speed_up = statistics.median(row["straightforward"] / row["super_net"] for row in rows)
    print(
        f"super-net / target {ratio:.3f} (at most {MOST_RATIO}); straightforward / super-net {speed_up:.2f} "
        f"(at least {LEAST_SPEED_UP})"
    )
    figures = {"super_net_over_target": ratio, "straightforward_over_super_net": speed_up}
    write_figures(arguments.output, {"batch_size": arguments.batch_size, **figures, "topologies": rows})
    if not arguments.quick and (ratio > MOST_RATIO or speed_up < LEAST_SPEED_UP):
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()

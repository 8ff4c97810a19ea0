"""What a W step of the search super-net costs, and its memory.

Against a target network with the same cells, weights and batch normalisations (what the active operations must cost),
and against a straightforward super-net: contiguous tensors, a ReLU in front of every convolution, every output
multiplied by its coefficient, all candidates' parameters in the optimiser. C = 16, 8 cells, 32 x 32 images, 2 threads,
SGD with momentum and gradient clipping; steps of the three are interleaved.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnas.base.random import generator, initialising
from isnas.engine.run import environment
from isnas.methods.sparse_architecture import ArchitectureOptions, SparseArchitecture
from isnas.methods.two_stage import TwoStage
from isnas.nets.memory import estimate_peak_memory
from isnas.space.cells.candidates import candidates
from isnas.space.cells.network import Network, Output, extract_state, super_net
from isnas.space.cells.operations import SEARCH_BN
from isnas.space.connections import Connections
from isnas.train.stepping import StepOptions, Stepping

SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 16, "layers": 8}
CONCAT = (2, 3, 4, 5)
MOST_RATIO, LEAST_SPEED_UP = 1.05, 1.5


def sgd(parameters) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, 0.1, 0.9, weight_decay=3e-4)


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

    def __init__(self) -> None:
        super().__init__()
        channels, previous, after = 16, (48, 48), False
        self.stem = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48))
        self.cells = nn.ModuleList()
        self.reductions = (8 // 3, 2 * 8 // 3)
        for layer in range(8):
            reduction = layer in self.reductions
            channels *= 1 + reduction
            cell = nn.ModuleList(
                [
                    PlainReduce(previous[0], channels) if after else self.preprocess(previous[0], channels),
                    self.preprocess(previous[1], channels),
                ]
            )
            for node in candidates(4):
                stride = [2 if reduction and predecessor < 2 else 1 for _, predecessor in node]
                cell.append(nn.ModuleList(PlainOperation(op, channels, s) for (op, _), s in zip(node, stride)))
            self.cells.append(cell)
            previous, after = (previous[1], 4 * channels), reduction
        self.classifier = nn.Linear(previous[1], 10)

    @staticmethod
    def preprocess(in_channels: int, channels: int) -> nn.Module:
        conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(channels, affine=False))

    def forward(self, x: Tensor, connections: Connections) -> Output:
        s0 = s1 = self.stem(x)
        for layer, (first, second, *nodes) in enumerate(self.cells):
            active = connections.of(layer in self.reductions)
            states = [first(s0), second(s1)]
            for operations, indices, weights in zip(nodes, active.support, active.coefficients):
                terms = [c * operations[k](states[k // 7]) for k, c in zip(indices, weights.to(x.dtype))]
                states.append(sum(terms[1:], terms[0]))
            s0, s1 = s1, torch.cat(states[2:], 1)
        return Output(self.classifier(F.adaptive_avg_pool2d(s1, 1).flatten(1)), None)


def plain_step(network: nn.Module, optimizer: torch.optim.Optimizer, *arguments) -> Callable[[Tensor, Tensor], None]:
    """A training step of a network on its own."""

    def step(x: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x, *arguments).logits, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()

    return step


def measure(topology: int, batch_size: int, repeats: int) -> dict[str, float]:
    """Median seconds of a step of each network, and GiB, for a random architecture."""
    with initialising(topology, "benchmark"):
        network = super_net(SEARCH_BN, **SIZES).to(memory_format=torch.channels_last)
        plain = PlainSuperNet()
    architecture = SparseArchitecture(ArchitectureOptions(arch_init_scale=1.0), generator(topology, "architecture"))
    search = TwoStage(
        network,
        architecture,
        sgd(network.parameters()),
        torch.optim.Adam(architecture.parameters()),
        Stepping(StepOptions(), torch.device("cpu")),
        grad_clip=5.0,
        recover_interval=1,
    )
    search.recover()
    with torch.no_grad():
        connections = architecture.connections()
    genotype = connections.genotype()
    cells = ((genotype.normal, CONCAT), (genotype.reduce, CONCAT))
    target = Network(*cells, SEARCH_BN, **SIZES).to(memory_format=torch.channels_last)
    target.load_state_dict(extract_state(network.state_dict(), connections, SIZES["layers"]))

    drawn = torch.Generator().manual_seed(topology)
    labels = torch.randint(10, (batch_size,), generator=drawn)
    contiguous = torch.randn(batch_size, 3, 32, 32, generator=drawn)
    channels_last = contiguous.to(memory_format=torch.channels_last)
    steps = {
        "super_net": (search.update_w, channels_last),
        "target": (plain_step(target, sgd(target.parameters())), channels_last),
        "straightforward": (plain_step(plain, sgd(plain.parameters()), connections), contiguous),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-3, repeats):
        for name, (step, x) in steps.items():
            start = time.perf_counter()
            step(x, labels)
            if turn >= 0:  # the first touches of memory are slow
                seconds[name].append(time.perf_counter() - start)
    memory = {
        "super_net": (lambda: super_net(SEARCH_BN, **SIZES), connections),
        "target": (lambda: Network(*cells, SEARCH_BN, **SIZES), None),
        "straightforward": (PlainSuperNet, connections),
    }
    result = {name: statistics.median(values) for name, values in seconds.items()}
    for name, (build, active) in memory.items():
        peak = estimate_peak_memory(build, active, batch_size=batch_size, in_channels=3, image_size=32)
        result[f"{name}_gib"] = peak.total_gib
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--topologies", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20, help="steps per topology")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    rows = [measure(seed, arguments.batch_size, arguments.repeats) for seed in range(arguments.topologies)]
    for row in rows:
        print(
            f"super-net {1e3 * row['super_net']:.0f} ms, {row['super_net_gib']:.2f} GiB; "
            f"target {1e3 * row['target']:.0f} ms, {row['target_gib']:.2f} GiB; "
            f"straightforward {1e3 * row['straightforward']:.0f} ms, {row['straightforward_gib']:.2f} GiB",
            flush=True,
        )
    ratio = statistics.median(row["super_net"] / row["target"] for row in rows)
    speed_up = statistics.median(row["straightforward"] / row["super_net"] for row in rows)
    print(
        f"super-net / target {ratio:.3f} (at most {MOST_RATIO}); straightforward / super-net {speed_up:.2f} "
        f"(at least {LEAST_SPEED_UP})"
    )
    if arguments.output:
        facts = environment(torch.device("cpu"))
        facts = {key: facts[key] for key in ("packages", "processor", "threads", "commit")}
        facts["batch_size"] = arguments.batch_size
        figures = {"super_net_over_target": ratio, "straightforward_over_super_net": speed_up}
        arguments.output.write_text(json.dumps({**facts, **figures, "topologies": rows}, indent=2) + "\n")
    if ratio > MOST_RATIO or speed_up < LEAST_SPEED_UP:
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()

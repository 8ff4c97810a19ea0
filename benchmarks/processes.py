"""What several processes exchange and gain: bytes of gradients in a step, and images per second of two against one.

One and two processes of one thread each with the same images per process, over gloo on loopback, in turn: a step of the
two-stage search (W and b), of the one-stage search, and of training, C = 16, 8 cells, 32 x 32. Bytes are counted where
they are handed to the exchange, with those of the coordination of steps beside them.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from isnas.base.distributed import Agreement, is_main, join, leave, world_size
from isnas.base.files import markdown_table, write_json
from isnas.base.options import build
from isnas.base.random import generator, initialising
from isnas.engine.run import environment
from isnas.methods.one_stage import OneStage, OneStageOptions
from isnas.methods.sparse_architecture import ArchitectureOptions, SparseArchitecture
from isnas.methods.two_stage import TwoStage
from isnas.space.cells.network import super_net, target_network
from isnas.space.cells.operations import ONE_STAGE_BN, SEARCH_BN
from isnas.space.cells.published import published
from isnas.train.fixed import Training, TrainingOptions
from isnas.train.optim import SgdOptions, make_sgd
from isnas.train.stepping import StepOptions, Stepping

SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 16, "layers": 8}
CPU = torch.device("cpu")
CASES = ("search", "one-stage", "training")
MOST_BYTES, LEAST_GAIN = 1.02, 1.6
WARM_UP = 2


@dataclass(frozen=True)
class Options(TrainingOptions, OneStageOptions, ArchitectureOptions, SgdOptions, StepOptions):
    """The settings of all three."""


def num_bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def work(case: str, images: int, steps: int) -> dict[str, Any]:
    """Time the steps in this process, and count what it exchanges and what it might."""
    options = build(Options, {"batch_size": images * world_size(), "arch_init_scale": 0.1})
    stepping = Stepping(options, CPU)
    with initialising(0, "benchmark"):
        if case == "training":
            network = target_network(published("ISTA_twostage").genotype, **SIZES)
        else:
            network = super_net(SEARCH_BN if case == "search" else ONE_STAGE_BN, **SIZES)
    stepping.place(network)
    w_optimizer = make_sgd(network.parameters(), options)
    drawn = generator(0, "images", int(os.environ.get("RANK", "0")))
    x = torch.randn(images, 3, 32, 32, generator=drawn).to(memory_format=torch.channels_last)
    batch = x, torch.randint(10, (images,), generator=drawn)
    method: Any
    b: list[torch.Tensor] = []
    if case == "training":
        method = Training(network, w_optimizer, stepping, options)
        running = list(network.parameters())
        step = lambda: method.step(*batch)  # noqa: E731
    else:
        architecture = SparseArchitecture(options, generator(0, "architecture"))
        b_optimizer = torch.optim.Adam(architecture.parameters(), 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        parts = (network, architecture, w_optimizer, b_optimizer, stepping)
        if case == "search":
            method = TwoStage(*parts, grad_clip=5.0, recover_interval=1)
            method.recover()
            step = lambda: method.step(batch, batch)  # noqa: E731
        else:
            method = OneStage(*parts, options, SIZES, 1)
            method.recover(0)
            step = lambda: method.step(*batch)  # noqa: E731
        running, b = w_optimizer.param_groups[0]["params"], list(architecture.b)
    agree, exchange = Agreement(), stepping.exchange
    for _ in range(WARM_UP):
        step()
    before = exchange.num_bytes if exchange else 0
    start = time.perf_counter()
    for _ in range(steps):
        step()
        agree(0)
    seconds = time.perf_counter() - start
    exchanged = (exchange.num_bytes - before) / steps if exchange else 0.0
    return {
        "images_per_second": images * world_size() * steps / seconds,
        "bytes_per_step": exchanged,
        "bytes_active": num_bytes(running) + num_bytes(b),
        "bytes_super_net": num_bytes(network.parameters()) + num_bytes(b),
    }


def measure(case: str, processes: int, images: int, steps: int) -> dict[str, Any]:
    """Run :func:`work` in so many processes; what rank 0 found."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1]}
        free.close()
        place |= {"OMP_NUM_THREADS": 1, "GLOO_SOCKET_IFNAME": "lo"}
        output = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--worker", case, "--images", images, "--steps", steps, "--output", output]
        started = [
            subprocess.Popen(
                [*map(str, command)], env=os.environ | {k: str(v) for k, v in (place | {"RANK": rank}).items()}
            )
            for rank in range(processes)
        ]
        codes = [process.wait() for process in started]
        if any(codes):
            sys.exit(f"{case} in {processes} processes failed")
        return json.loads(output.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32, help="images of a step in each process")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--worker", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        join(CPU, 5.0)
        figures = work(arguments.worker, arguments.images, arguments.steps)
        if is_main():
            arguments.output.write_text(json.dumps(figures))
        leave(0)
        return
    rows, results, missed = [], {}, False
    for case in CASES:
        rounds = [
            [measure(case, processes, arguments.images, arguments.steps) for processes in (1, 2)]
            for _ in range(arguments.rounds)
        ]
        speeds = [[figures["images_per_second"] for figures in pair] for pair in rounds]
        gain = statistics.median(two / one for one, two in speeds)
        exchanged, active, everything = (
            rounds[0][1][key] for key in ("bytes_per_step", "bytes_active", "bytes_super_net")
        )
        one, two = (statistics.median(speed[k] for speed in speeds) for k in (0, 1))
        share = exchanged / active
        missed |= share > MOST_BYTES or gain < LEAST_GAIN
        rows.append([case, f"{exchanged / 1e6:.3f} MB", f"{share:.3f}", f"{everything / 1e6:.3f} MB"])
        rows[-1] += [f"{one:.1f}", f"{two:.1f}", f"{gain:.2f}"]
        results[case] = {"rounds": rounds, "gain": gain, "share_of_active_bytes": share}
    header = ["step", "exchanged", "of active W and b", "whole network", "images/s, one", "two", "ratio"]
    print(markdown_table(header, rows))
    if arguments.output:
        facts = environment(CPU)
        write_json(arguments.output, {k: facts[k] for k in ("packages", "processor", "commit")} | results)
    if missed:
        sys.exit(f"bytes must be at most {MOST_BYTES} times the active ones, and the ratio at least {LEAST_GAIN}")


if __name__ == "__main__":
    main()

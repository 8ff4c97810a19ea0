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
from pathlib import Path
from typing import Any

import torch
from common import CPU, SEARCH_SIZES, TINY_SIZES, make_parser, random_batch, setting, write_figures

from isnas.base.distributed import Agreement, is_main, join, leave, rank, world_size
from isnas.base.files import markdown_table, write_json
from isnas.base.random import generator
from isnas.methods.evaluation import Evaluation
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import make_options
from isnas.methods.two_stage import TwoStage

#: The steps that are compared: a method's, with these settings.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "search": ("two_stage", {"recover_every": "step", "arch_init_scale": 0.1}),
    "one-stage": ("one_stage", {"arch_init_scale": 0.1}),
    "training": ("evaluation", {"arch": "ISTA_twostage"}),
}
MOST_BYTES, LEAST_GAIN = 1.02, 1.6
WARM_UP = 2


def num_bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def work(case: str, images: int, steps: int, sizes: dict[str, int], image_size: int) -> dict[str, Any]:
    """Time the steps in this process, and count what it exchanges and what it might."""
    name, settings = CASES[case]
    options = make_options(name, batch_size=images * world_size(), **settings, **sizes)
    place = setting(options, image_size)
    batch = random_batch(images, image_size, generator(0, "images", rank()))
    method: Any
    b: list[torch.Tensor] = []
    if name == "evaluation":
        method = Evaluation.build(options, place)
        running = list(method.network.parameters())
        step = lambda: method.step(*batch)  # noqa: E731
    else:
        if name == "two_stage":
            method = TwoStage.build(options, place)
            method.recover()
            step = lambda: method.step(batch, batch)  # noqa: E731
        else:
            method = OneStage.build(options, place)
            method.recover(0)
            step = lambda: method.step(*batch)  # noqa: E731
        running, b = method.w_optimizer.param_groups[0]["params"], list(method.architecture.b)
    agree, exchange = Agreement(), method.stepping.exchange
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
        "bytes_super_net": num_bytes(method.network.parameters()) + num_bytes(b),
    }


def measure(processes: int, flags: list[str]) -> dict[str, Any]:
    """Run :func:`work` on all cases in so many processes; what rank 0 found, by case."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1]}
        free.close()
        place |= {"OMP_NUM_THREADS": 1, "GLOO_SOCKET_IFNAME": "lo"}
        output = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--worker", *flags, "--output", str(output)]
        started = [
            subprocess.Popen(command, env=os.environ | {k: str(v) for k, v in (place | {"RANK": rank}).items()})
            for rank in range(processes)
        ]
        codes = [process.wait() for process in started]
        if any(codes):
            sys.exit(f"{processes} processes failed")
        return json.loads(output.read_text())


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, default=32, help="images of a step in each process")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes, image_size = SEARCH_SIZES, 32
    if arguments.quick:
        arguments.images, arguments.steps, arguments.rounds, sizes, image_size = 4, 1, 1, TINY_SIZES, 8
    if arguments.worker:
        join(CPU, 5.0)
        figures = {case: work(case, arguments.images, arguments.steps, sizes, image_size) for case in CASES}
        if is_main():
            write_json(arguments.output, figures)
        leave(0)
        return
    flags = ["--images", str(arguments.images), "--steps", str(arguments.steps), *["--quick"] * arguments.quick]
    rounds = [[measure(processes, flags) for processes in (1, 2)] for _ in range(arguments.rounds)]
    rows, results, missed = [], {}, False
    for case in CASES:
        speeds = [[figures[case]["images_per_second"] for figures in pair] for pair in rounds]
        gain = statistics.median(two / one for one, two in speeds)
        exchanged, active, everything = (
            rounds[0][1][case][key] for key in ("bytes_per_step", "bytes_active", "bytes_super_net")
        )
        one, two = (statistics.median(speed[k] for speed in speeds) for k in (0, 1))
        share = exchanged / active
        missed |= share > MOST_BYTES or (gain < LEAST_GAIN and not arguments.quick)
        rows.append([case, f"{exchanged / 1e6:.3f} MB", f"{share:.3f}", f"{everything / 1e6:.3f} MB"])
        rows[-1] += [f"{one:.1f}", f"{two:.1f}", f"{gain:.2f}"]
        own = [[figures[case] for figures in pair] for pair in rounds]
        results[case] = {"rounds": own, "gain": gain, "share_of_active_bytes": share}
    header = ["step", "exchanged", "of active W and b", "whole network", "images/s, one", "two", "ratio"]
    print(markdown_table(header, rows))
    write_figures(arguments.output, results)
    if missed:
        sys.exit(f"bytes must be at most {MOST_BYTES} times the active ones, and the ratio at least {LEAST_GAIN}")


if __name__ == "__main__":
    main()

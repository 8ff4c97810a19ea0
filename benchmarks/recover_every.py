"""What --recover_every step adds to a step of the search (W and b): batch 256, C = 16, 8 cells, 32 x 32, 2 threads.

Every step recovers; the time of the recovery, with what follows when the support changes, is set against the rest of
the same step.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from isnas.base.random import generator, initialising
from isnas.engine.run import environment
from isnas.methods.sparse_architecture import ArchitectureOptions, SparseArchitecture
from isnas.methods.two_stage import TwoStage, TwoStageOptions
from isnas.space.cells.network import super_net
from isnas.space.cells.operations import SEARCH_BN
from isnas.train.stepping import StepOptions, Stepping

SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 16, "layers": 8}
MOST_ADDED = 0.02
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    with initialising(0, "benchmark"):
        network = super_net(SEARCH_BN, **SIZES).to(memory_format=torch.channels_last)
    architecture = SparseArchitecture(ArchitectureOptions(), generator(0, "architecture"))
    options = TwoStageOptions()
    search = TwoStage(
        network,
        architecture,
        torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=3e-4),
        torch.optim.Adam(architecture.parameters(), options.arch_learning_rate, betas=(0.5, 0.999), weight_decay=1e-3),
        Stepping(StepOptions(), torch.device("cpu")),
        grad_clip=5.0,
        recover_interval=1,
    )
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(arguments.batch_size, 3, 32, 32, generator=drawn).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (arguments.batch_size,), generator=drawn)
    recoveries, steps, changes = [], [], 0
    for turn in range(-WARM_UP, arguments.steps):
        start = time.perf_counter()
        recovery = search.recover()
        recovered = time.perf_counter()
        search.step((x, labels), (x, labels))
        end = time.perf_counter()
        if turn >= 0:  # the first touches of memory are slow
            recoveries.append(recovered - start)
            steps.append(end - recovered)
            changes += recovery.changed
    added = statistics.median(r / s for r, s in zip(recoveries, steps))
    milliseconds = 1e3 * statistics.median(recoveries)
    print(
        f"recovery {milliseconds:.2f} ms, step {1e3 * statistics.median(steps):.0f} ms: {100 * added:.3f} % added "
        f"(at most {100 * MOST_ADDED:g} %); the support changed in {changes} of {arguments.steps} steps"
    )
    if arguments.output:
        facts = environment(torch.device("cpu"))
        facts = {key: facts[key] for key in ("packages", "processor", "threads", "commit")}
        figures = {"recovery_seconds": recoveries, "step_seconds": steps, "changes": changes, "added": added}
        arguments.output.write_text(json.dumps(facts | {"batch_size": arguments.batch_size} | figures, indent=2) + "\n")
    if added > MOST_ADDED:
        sys.exit("the figure exceeds the bound")


if __name__ == "__main__":
    main()

"""What exact batch statistics in channels_last cost a search step on the CPU, and what they are worth.

The gradient of W at C = 16, 8 cells against float64: contiguous, channels_last with torch's statistics, channels_last
as it is here. The time is the process's own, of one thread, of steps in turn.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
import torch.nn.functional as F
from common import SEARCH_SIZES, TINY_SIZES, WARM_UP, make_steps_parser, random_batch, setting, write_figures
from torch import Tensor

from isnas.base.random import generator, initialising
from isnas.methods.registry import make_options
from isnas.space import batch_norm
from isnas.space.connections import Connections
from isnas.space.space import Network

MOST_TIME, MOST_ERROR = 1.05, 2.0


@contextmanager
def statistics_of_torch() -> Iterator[None]:
    """Batch normalisation as torch computes it."""
    ours, batch_norm._sums_plainly = batch_norm._sums_plainly, lambda x: False
    try:
        yield
    finally:
        batch_norm._sums_plainly = ours


def gradient(network: Network, connections: Connections, x: Tensor, labels: Tensor) -> Tensor:
    """Of the loss with respect to all parameters that run, in one row."""
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    network = network.to(memory_format=layout)
    parameters = list(network.running_parameters(connections))
    loss = F.cross_entropy(network(x, connections).logits, labels)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])


def measure(topology: int, batch_size: int, repeats: int, sizes: dict[str, int], image_size: int) -> dict[str, float]:
    """Errors of the gradient relative to float64's, and the median ratio of the times of a step."""
    options = make_options("two_stage", seed=topology, **sizes)
    place = setting(options, image_size)
    with initialising(topology, "benchmark"):
        network = place.space.super_net(**place.sizes).train()
    drawn = place.space.random(generator(topology, "benchmark"), 2, distinct_inputs=False, none=False)
    connections = Connections(drawn)
    x, labels = random_batch(batch_size, image_size, generator(topology, "images"))

    exact = gradient(deepcopy(network).double(), connections, x.double().contiguous(), labels)

    def error(found: Tensor) -> float:
        return ((found.double() - exact).norm() / exact.norm()).item()

    row = {
        "contiguous": error(gradient(deepcopy(network), connections, x.contiguous(), labels)),
        "channels_last": error(gradient(deepcopy(network), connections, x, labels)),
    }
    with statistics_of_torch():
        row["channels_last_torch"] = error(gradient(deepcopy(network), connections, x, labels))
    ratios = []
    for turn in range(-WARM_UP, repeats):
        start = time.process_time()
        with statistics_of_torch():
            gradient(network, connections, x, labels)
        middle = time.process_time()
        gradient(network, connections, x, labels)
        if turn >= 0:
            ratios.append((time.process_time() - middle) / (middle - start))
    row["time"] = statistics.median(ratios)
    return row


def main() -> None:
    arguments = make_steps_parser(__doc__).parse_args()
    sizes, image_size = SEARCH_SIZES, 32
    if arguments.quick:
        arguments.batch_size, arguments.topologies, arguments.repeats = 4, 1, 1
        sizes, image_size = TINY_SIZES, 8
    torch.set_num_threads(1)
    rows = []
    for topology in range(arguments.topologies):
        row = measure(topology, arguments.batch_size, arguments.repeats, sizes, image_size)
        errors = (f"{name} {row[name]:.1e}" for name in ("contiguous", "channels_last_torch", "channels_last"))
        print(f"errors: {', '.join(errors)}; time {row['time']:.3f}", flush=True)
        rows.append(row)
    figures = {
        "time": statistics.median(row["time"] for row in rows),
        "error": statistics.median(row["channels_last"] / row["contiguous"] for row in rows),
    }
    print(f"time {figures['time']:.3f} (at most {MOST_TIME}), error {figures['error']:.2f} (at most {MOST_ERROR})")
    write_figures(arguments.output, {"batch_size": arguments.batch_size, "ratios": figures, "topologies": rows})
    if not arguments.quick and (figures["time"] > MOST_TIME or figures["error"] > MOST_ERROR):
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()

"""What --recompute saves of a step's memory, and what it costs in time.

Memory at the papers' sizes is estimated, as tools/memory.py does, for the heaviest architecture and for random ones. At
C = 16, 8 cells, it is measured too, as torch's allocator on the CPU tells it, beside the time: that of the processor,
with one thread, which other programs disturb less than that of the clock. Steps with and without take turns.
"""

import statistics
import sys
import time
from functools import partial
from typing import Any

import torch
from common import SEARCH_SIZES, TINY_SIZES, make_steps_parser, random_batch, setting, write_figures
from torch.profiler import ProfilerActivity, profile

from isnas.base.files import markdown_table
from isnas.base.random import generator
from isnas.methods.registry import METHODS, SEARCHES, make_options
from isnas.nets.memory import estimate_peak_memory
from isnas.space.connections import Connections, Support

#: Methods in their papers' sizes, by their options.
FULL_SIZES = {"init_channels": 36, "layers": 20, "batch_size": 96, "auxiliary": True}
PAPERS: dict[str, tuple[str, dict[str, Any]]] = {
    "one-stage, CIFAR-10": ("one_stage", FULL_SIZES),
    "training of ISTA_twostage, CIFAR-10": ("evaluation", FULL_SIZES | {"arch": "ISTA_twostage"}),
    "two-stage, CIFAR-10": ("two_stage", SEARCH_SIZES | {"batch_size": 64}),
    "DARTS, CIFAR-10": ("darts", SEARCH_SIZES | {"batch_size": 64}),
    "PC-DARTS, CIFAR-10": ("pc_darts", SEARCH_SIZES | {"batch_size": 256}),
}
#: Those that are run, in the size of a search.
RUN: dict[str, dict[str, Any]] = {
    "two_stage": {"arch_init_scale": 0.5},
    "one_stage": {"arch_init_scale": 0.5, "auxiliary": True},
    "evaluation": {"arch": "ISTA_onestage", "auxiliary": True},
}
MOST_MEMORY, MOST_TIME = 1 / 3, 1.4


def estimates(name: str, values: dict[str, Any], topologies: int, image_size: int) -> dict[str, dict[str, float]]:
    """MiB of activations, and GiB of all, without and with recomputation, by architecture."""
    options = make_options(name, **values)
    space, kind = options.make_space(), METHODS[name]
    supports: dict[str, Support | None] = {"heaviest": kind.heaviest(options, space)}
    if name not in ("two_stage", "one_stage"):  # one architecture: all candidates, or the one that is trained
        supports = {"": supports["heaviest"]}
    else:
        supports |= {f"random {number}": space.random(generator(number, "memory"), 2) for number in range(topologies)}
    found = {}
    for architecture, support in supports.items():
        row = {}
        for prefix, recompute in (("plain", False), ("recomputed", True)):
            peak = estimate_peak_memory(
                partial(kind.make_network, options, space, options.sizes(3, 10)),
                support and Connections(support),
                batch_size=options.batch_size,
                in_channels=3,
                image_size=image_size,
                train_coefficients=True,
                recompute=recompute,
            )
            row |= {f"{prefix}_mib": peak.activations / 2**20, f"{prefix}_gib": peak.total_gib}
        found[architecture] = row | {"ratio": row["recomputed_mib"] / row["plain_mib"]}
    return found


def build(name: str, batch_size: int, image_size: int, **values: Any) -> Any:
    """A step of a method at its start, its architecture found, on random images that stay."""
    options = make_options(name, batch_size=batch_size, **values)
    method = METHODS[name].build(options, setting(options, image_size))
    method.network.train()
    if name in SEARCHES:
        method.before_step(0)
    elif name == "one_stage":
        method.recover(0)
    drawn = [random_batch(batch_size, image_size, generator(number, "images")) for number in range(2)]
    return partial(method.step, *drawn) if len(method.splits) == 2 else partial(method.step, *drawn[0])


def allocated(step: Any) -> int:
    """The most bytes that a step had on top of what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    events = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


def measure(name: str, batch_size: int, image_size: int, repeats: int, sizes: dict[str, Any]) -> dict[str, float]:
    """Processor seconds (medians) and allocated MiB of a step without and with recomputation, and their ratios."""
    make = partial(build, name, batch_size, image_size, **sizes, **RUN[name])
    steps = {"plain": make(), "recomputed": make(recompute=True)}
    for step in steps.values():
        step()
    row: dict[str, float] = {f"{which}_mib": allocated(step) / 2**20 for which, step in steps.items()}
    seconds: dict[str, list[float]] = {which: [] for which in steps}
    for _ in range(repeats):
        for which, step in steps.items():
            start = time.process_time()
            step()
            seconds[which].append(time.process_time() - start)
    row |= {f"{which}_seconds": statistics.median(values) for which, values in seconds.items()}
    ratios = [recomputed / plain for plain, recomputed in zip(*seconds.values())]
    return row | {"memory": row["recomputed_mib"] / row["plain_mib"], "time": statistics.median(ratios)}


def main() -> None:
    parser = make_steps_parser(__doc__)
    parser.set_defaults(batch_size=32, topologies=2, repeats=5)
    arguments = parser.parse_args()
    papers, image_size, sizes = PAPERS, 32, SEARCH_SIZES
    if arguments.quick:
        arguments.batch_size, arguments.topologies, arguments.repeats = 4, 1, 1
        papers = {"small": ("two_stage", TINY_SIZES | {"batch_size": 4})}
        image_size, sizes = 16, TINY_SIZES
    torch.set_num_threads(1)
    estimated, rows = {}, []
    for title, (name, values) in papers.items():
        estimated[title] = estimates(name, values, arguments.topologies, image_size)
        for architecture, row in estimated[title].items():
            figures = (row["plain_mib"], row["recomputed_mib"])
            cells = [*(f"{mib:,.0f}" for mib in figures), f"{row['ratio']:.2f}"]
            rows.append([title, architecture, *cells, f"{row['plain_gib']:.2f}", f"{row['recomputed_gib']:.2f}"])
    header = ["run", "architecture", "activations, MiB", "recomputed", "ratio", "in all, GiB", "recomputed"]
    print(markdown_table(header, rows, num_words=2), flush=True)
    measured, rows = {}, []
    for name in RUN:
        found = measured[name] = measure(name, arguments.batch_size, image_size, arguments.repeats, sizes)
        cells = [f"{found[key]:.3g}" for key in ("plain_mib", "recomputed_mib", "memory")]
        cells += [f"{found[key]:.3f}" for key in ("plain_seconds", "recomputed_seconds", "time")]
        rows.append([name, *cells])
    header = ["step", "allocated, MiB", "recomputed", "ratio", "seconds", "recomputed", "ratio"]
    print(markdown_table(header, rows))
    write_figures(arguments.output, {"estimated": estimated, "measured": measured})
    heaviest = [next(iter(found.values()))["ratio"] for found in estimated.values()]
    short = max(heaviest) > MOST_MEMORY or max(row["time"] for row in measured.values()) > MOST_TIME
    if short and not arguments.quick:
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()

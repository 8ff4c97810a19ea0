"""Table 1 of ISTA-NAS: what a step of each search costs, in time and memory, on the device at hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import mean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isnas.analysis.options.table1 import Table1Options
from isnas.analysis.paper_figures import TABLE1
from isnas.analysis.report import Report
from isnas.analysis.tables import Table
from isnas.base.bars import bar
from isnas.base.random import generator
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.method import SearchMethod, Setting
from isnas.engine.run import find_device
from isnas.methods.registry import SEARCHES, make_options
from isnas.nets.memory import estimate_peak_memory
from isnas.space.connections import Connections, Support
from isnas.train.stepping import Stepping

EPOCHS, TRAIN_IMAGES = 50, 25_000  # of the papers' searches on CIFAR-10
_CLASSES = tuple(map(str, range(10)))

MEASURED = (
    "Table 1 of ISTA-NAS: a step of each search on {device} with random images, median of {steps}; the most memory "
    "torch has allocated in it; and what the steps alone of 50 epochs of 25,000 images would take. Where a step runs a "
    "part of the super-net, time is the mean and memory the most of {topologies} random architectures. {sizes}"
)
ESTIMATED = (
    "Table 1 of ISTA-NAS without a GPU: a step of each search with random images, median of {steps}, on a CPU "
    "(threads: {threads}), of which the ratio alone tells something; and the estimated memory of a step on a GPU, of "
    "the heaviest architecture. Where a step runs a part of the super-net, time and the memory beside are means of "
    "{topologies} random architectures. {sizes}"
)


@dataclass(frozen=True)
class Cost:
    """A line: seconds of a step, bytes at its peak (measured; or estimated, of the heaviest and of random ones).

    ``timed_batch``: images of the steps that were timed, and of which memory was measured; the estimates are of
    ``batch_size``. ``days``: steps of all epochs, those included in which an architecture waits for its first step.
    What is None was not measured, or ran out of memory, as ``note`` says.
    """

    name: str
    method: str
    batch_size: int
    timed_batch: int
    paper_gigabytes: float
    paper_days: float
    seconds: float | None = None
    peak_bytes: int | None = None
    random_bytes: int | None = None
    days: float | None = None
    note: str = ""


def analyse(options: Table1Options) -> Report:
    """Measure a step of every line, one after the other."""
    device = find_device(options.device, options.threads)
    lines = []
    for name, method, batch, gigabytes, days in TABLE1:
        size = max(2, round(batch * options.batch_scale))
        line = Cost(name, method, batch, size, gigabytes, days, note="not run")
        lines.append(measure(line, options, device) if method in options.methods else line)
    on_gpu = device.type == "cuda"
    facts: dict[str, Any] = {"device": torch.cuda.get_device_name(device) if on_gpu else "cpu"}
    facts |= {"measured_memory": on_gpu, "threads": torch.get_num_threads(), "torch": torch.__version__}
    settings = {key: value for key, value in asdict(options).items() if key != "output"}
    values = {"facts": facts, "options": settings, "lines": [asdict(line) for line in lines]}
    return Report.of([table(lines, options, facts)], values)


def measure(line: Cost, options: Table1Options, device: torch.device) -> Cost:
    """The line with what a step costs."""
    kind = SEARCHES[line.method]
    sizes: dict[str, Any] = {"init_channels": options.init_channels, "layers": options.layers}
    values = sizes | {"epochs": EPOCHS, "dataset": "cifar10", "batch_size": line.timed_batch}
    own = make_options(line.method, **values)
    info = DatasetInfo("random", _CLASSES, (0.5,) * 3, (0.25,) * 3, options.image_size, flip=True)
    network, per_epoch = own.sizes(info.channels, info.num_classes), TRAIN_IMAGES // line.timed_batch
    setting = Setting(own.make_space(), network, info, Stepping(own, device), lambda epoch: max(1, per_epoch))
    heaviest = kind.heaviest(own, setting.space)
    whole = heaviest is None or all(len(node) == size for node, size in zip(heaviest, setting.space.sizes))
    costs = [kind.passes_of_step(own, epoch) for epoch in range(EPOCHS)]
    waiting = sum(cost < costs[-1] for cost in costs)
    steps = []
    try:
        for number in range(1 if whole else options.topologies):
            seeded = make_options(line.method, **values, seed=options.seed + number)
            steps.append(_step(kind, seeded, setting, options, waiting))
    except torch.cuda.OutOfMemoryError:
        return replace(line, note="out of memory")
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()
    seconds, early = mean(step.seconds for step in steps), mean(step.early_seconds for step in steps)
    days = TRAIN_IMAGES / line.timed_batch * (waiting * early + (EPOCHS - waiting) * seconds) / 86400
    line = replace(line, seconds=seconds, days=days, note="")
    if device.type == "cuda":
        return replace(line, peak_bytes=max(step.peak_bytes for step in steps))
    peak = partial(_estimate, kind, own, setting, line.batch_size)
    line = replace(line, peak_bytes=peak(heaviest))
    if whole or heaviest is None:
        return line
    rngs = (generator(options.seed, "memory", number) for number in range(options.topologies))
    return replace(line, random_bytes=round(mean(peak(setting.space.random(rng, len(heaviest[0]))) for rng in rngs)))


class _Step(NamedTuple):
    """Seconds of a step, of one before the architecture's first, and bytes at its peak on a GPU, else 0."""

    seconds: float
    early_seconds: float
    peak_bytes: int


def _step(kind: type[SearchMethod[Any]], own: Any, setting: Setting, options: Table1Options, waiting: int) -> _Step:
    """What a step of a method in its own beginning costs."""
    device = setting.stepping.device
    method = kind.build(own, setting)
    batches = [_batch(own.batch_size, options, number, device) for number in range(len(kind.splits))]
    early = _seconds(method, batches, 0, options) if waiting else None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = _seconds(method, batches, EPOCHS - 1, options)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return _Step(seconds, seconds if early is None else early, peak)


def _seconds(
    method: SearchMethod[Any],
    batches: Sequence[tuple[Tensor, Tensor]],
    epoch: int,
    options: Table1Options,
) -> float:
    """The median time of a step in an epoch, in seconds."""
    method.begin_epoch(epoch)
    method.network.train()
    seconds = []
    for step in bar(range(options.warm_up + options.steps), f"timing {type(method).__name__}"):
        _wait(method.stepping.device)
        start = time.perf_counter()
        method.before_step(step)
        method.step(*batches)
        _wait(method.stepping.device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[options.warm_up :])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _batch(size: int, options: Table1Options, number: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rng = generator(options.seed, "table1", number)
    images = torch.randn(size, 3, options.image_size, options.image_size, generator=rng)
    labels = torch.randint(len(_CLASSES), (size,), generator=rng)
    return images.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)


def _estimate(
    kind: type[SearchMethod[Any]], own: Any, setting: Setting, batch_size: int, support: Support | None
) -> int:
    """Bytes at the peak of a step of so many images that runs this support, by :mod:`isnas.nets.memory`."""
    found = estimate_peak_memory(
        partial(kind.make_network, own, setting.space, setting.sizes),
        None if support is None else Connections(support),
        train_coefficients=True,
        batch_size=batch_size,
        in_channels=setting.info.channels,
        image_size=setting.info.image_size,
    )
    return found.parameters + found.step


def table(lines: Sequence[Cost], options: Table1Options, facts: dict[str, Any]) -> Table:
    """The lines, beside the paper's figures."""
    measured = facts["measured_memory"]
    sizes = (
        f"C = {options.init_channels}, {options.layers} cells, images of {options.image_size} x {options.image_size}."
    )
    words = facts | {"steps": options.steps, "topologies": options.topologies, "sizes": sizes}
    header = ["search", "batch", "timed batch", "seconds a step", "time of a search, relative"]
    header += ["memory, GiB", "days of steps"] if measured else ["heaviest, GiB", "random ones, GiB"]
    header += ["paper: days, relative", "paper: days", "paper: memory, GB"]
    unit = next((line for line in lines if line.days and line.method == "two_stage"), None)
    paper_unit = next(line.paper_days for line in lines if line.method == "two_stage")
    rows = []
    for line in lines:
        relative = f"{line.days / unit.days:.2f}" if line.days and unit and unit.days else ""
        last = ("" if line.days is None else f"{line.days:.3g}") if measured else _gib(line.random_bytes)
        cells = [line.name, str(line.batch_size), str(line.timed_batch), line.note or f"{line.seconds:.3g}", relative]
        cells += [_gib(line.peak_bytes), last, f"{line.paper_days / paper_unit:.2f}"]
        rows.append([*cells, f"{line.paper_days:.2f}", f"{line.paper_gigabytes:g}"])
    return Table("table1", (MEASURED if measured else ESTIMATED).format(**words), header, rows)


def _gib(size: int | None) -> str:
    return "" if size is None else f"{size / 2**30:.3g}"

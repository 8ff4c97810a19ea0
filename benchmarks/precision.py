"""What layout and precision do to a step on the device at hand: its time, its memory, the gradient of W.

Time: a step of the two-stage search (C = 16, 8 cells, batch 256) and of the training of ISTA_onestage (C = 36, 20
cells, batch 96, auxiliary head). Memory: what the steps of the searches needed at most, on a GPU, and what
isnas/nets/memory.py estimates for them. Gradient: how far W's is from float64's on the CPU, as a share of its norm, for
random images at batch 32, without average pooling. ``--device cpu`` runs it where there is no GPU.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import SEARCH_SIZES, TINY_SIZES, make_parser, random_batch, write_figures
from torch import Tensor

from isnas.base.files import markdown_table
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.method import Setting
from isnas.engine.run import find_device
from isnas.methods.registry import METHODS, SEARCHES, make_options
from isnas.nets.memory import PeakMemory, estimate_peak_memory
from isnas.space.cells.genotype import DARTS_OPERATIONS
from isnas.train.stepping import PRECISIONS, Stepping

TRAINING = {"init_channels": 36, "layers": 20, "arch": "ISTA_onestage", "auxiliary": True}
KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32, contiguous": {"channels_last": False},
    "TF32": {"tf32": True},
    "bf16": {"amp": "bf16"},
    "fp16": {"amp": "fp16"},
}
IN_MEMORY = (("two_stage", 64), ("two_stage", 256), ("two_stage", 512), ("darts", 64), ("pc_darts", 256))
WARM_UP = 3


def build(name: str, device: torch.device, image_size: int, **values: Any) -> Any:
    """A method at its start, its architecture found, on random colour images."""
    options = make_options(name, **values)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
    info = DatasetInfo("random", tuple("0123456789"), (0.5,) * 3, (0.25,) * 3, image_size, flip=True)
    sizes = options.sizes(info.channels, info.num_classes)
    setting = Setting(options.make_space(), sizes, info, Stepping(options, device), lambda epoch: 1)
    method = METHODS[name].build(options, setting)
    method.begin_epoch(options.epochs - 1)
    method.network.train()
    if name in SEARCHES:
        method.before_step(0)
    elif name == "one_stage":
        method.recover(0)
    return method


def batches(method: Any, size: int, image_size: int) -> list[tuple[Tensor, Tensor]]:
    """A batch of each split."""
    drawn = (
        random_batch(size, image_size, torch.Generator().manual_seed(number)) for number in range(len(method.splits))
    )
    device = method.stepping.device
    return [(x.to(device), labels.to(device)) for x, labels in drawn]


def stepper(name: str, method: Any, size: int, image_size: int) -> Callable[[], object]:
    """A step on batches that are always the same."""
    drawn = batches(method, size, image_size)
    return partial(method.step, *drawn) if name in SEARCHES else partial(method.step, *drawn[0], None)


def milliseconds(step: Callable[[], object], device: torch.device, steps: int) -> float:
    """Of a step, the mean of several after a warm-up."""
    for _ in range(WARM_UP):
        step()
    wait(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait(device)
    return 1e3 * (time.perf_counter() - start) / steps


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(name: str, size: int, device: torch.device, image_size: int, sizes: dict[str, Any]) -> dict[str, float]:
    """GiB that a step needed at most (on a GPU), and that were estimated."""
    method = build(name, device, image_size, batch_size=size, arch_init_scale=0.5, **sizes)
    step = stepper(name, method, size, image_size)
    step()
    wait(device)
    measured = 0.0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        measured = torch.cuda.max_memory_allocated(device) / 2**30
    return {"measured_gib": measured, "estimated_gib": peak_memory(name, method, size, image_size).total_gib}


def peak_memory(name: str, method: Any, size: int, image_size: int) -> PeakMemory:
    """What is estimated for a step of so many images."""
    options = method.options
    with torch.no_grad():
        connections = None if name == "evaluation" else method.connections()
    return estimate_peak_memory(
        partial(type(method).make_network, options, options.make_space(), options.sizes(3, 10)),
        connections,
        batch_size=size,
        in_channels=3,
        image_size=image_size,
        train_coefficients=True,
        amp=PRECISIONS[options.amp],
        recompute=options.recompute,
    )


def gradient(device: torch.device, dtype: torch.dtype, image_size: int, **values: Any) -> Tensor:
    """W's gradient on a batch of 32, in one piece, as float64 on the CPU."""
    without = tuple(name for name in DARTS_OPERATIONS if name != "avg_pool_3x3")
    method = build("two_stage", device, image_size, operations=without, arch_init_scale=0.5, **values)
    method.network.to(dtype)
    with torch.no_grad():
        connections = method.connections()
    parameters = method.network.running_parameters(connections)
    x, labels = random_batch(32, image_size, torch.Generator().manual_seed(1))
    images = x.to(dtype).to(device)
    method.stepping.backward(partial(method.loss, connections), (images, labels.to(device)), parameters)
    return torch.cat([parameter.grad.double().cpu().flatten() for parameter in parameters])


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    search, training, image_size, sizes = SEARCH_SIZES, TRAINING, 32, {"two_stage": 256, "evaluation": 96}
    in_memory = IN_MEMORY
    if arguments.quick:
        search, training, arguments.steps = TINY_SIZES, TRAINING | TINY_SIZES, 1
        image_size, sizes, in_memory = 16, {"two_stage": 4, "evaluation": 4}, (("two_stage", 4),)
    device = find_device("cpu" if arguments.quick else arguments.device, 1 if arguments.quick else 0)
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
    figures["milliseconds"] = {kind: {} for kind in KINDS}
    for name, own in (("two_stage", search), ("evaluation", training)):
        for kind, values in KINDS.items():
            method = build(name, device, image_size, batch_size=sizes[name], **own, **values)
            step = stepper(name, method, sizes[name], image_size)
            figures["milliseconds"][kind][name] = milliseconds(step, device, arguments.steps)
    rows = [[kind, *(f"{value:.1f}" for value in row.values())] for kind, row in figures["milliseconds"].items()]
    print(markdown_table(["ms of a step", "two-stage search", "training"], rows))
    figures["memory"] = {f"{name} {size}": memory(name, size, device, image_size, search) for name, size in in_memory}
    rows = [[name, *(f"{value:.2f}" for value in row.values())] for name, row in figures["memory"].items()]
    print(markdown_table(["memory of a step, GiB", "measured", "estimated"], rows))
    exact = gradient(torch.device("cpu"), torch.float64, image_size, **search)
    errors = {}
    for kind in ("float32", "float32, contiguous", "TF32"):
        found = gradient(device, torch.float32, image_size, **search, **KINDS[kind])
        errors[kind] = ((found - exact).norm() / exact.norm()).item()
    figures["gradient_errors"] = errors
    print(markdown_table(["error of W's gradient", "share"], [[kind, f"{e:.2g}"] for kind, e in errors.items()]))
    write_figures(arguments.output, figures)


if __name__ == "__main__":
    main()

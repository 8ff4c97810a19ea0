"""The steps of the training tools on a CUDA device that is not there; prints what happened, a JSON object by case.

A case ends well or with an error, and lists the places of its steps where the host would wait for the device. Waits of
making, recovering and reporting are listed apart. ``test_fake_cuda.py`` runs it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.distributed as dist
from fake_cuda import Watch, fake_cuda, known_numbers
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._pytree import tree_map_only

from isnas.base.random import generator
from isnas.data.dataset_info import DatasetInfo
from isnas.data.small.batches import Batches, augmentation
from isnas.data.small.datasets import ImageSet
from isnas.engine.averages import Averages, evaluate
from isnas.engine.method import Setting
from isnas.engine.run import set_up
from isnas.methods.compressed_space import CompressedSpace
from isnas.methods.registry import METHODS, make_options
from isnas.methods.super_net import SampledSearch
from isnas.nets.absorb import absorb
from isnas.nets.memory import _LiveStorages
from isnas.space.batch_norm import BatchNorm
from isnas.train.fixed import draw_scales, mine
from isnas.train.stepping import Stepping

CUDA = torch.device("cuda")
INFO = DatasetInfo("fake", tuple("0123456789"), (0.5,) * 3, (0.2,) * 3, 16, True)
SMALL = {"dataset": "fake", "image_size": 16, "layers": 3, "init_channels": 4, "batch_size": 8, "cutout": True}
SMALL |= {"cutout_length": 8, "device": "cuda"}
SEARCH = SMALL | {"num_nodes": 2}
ONE_STAGE = SEARCH | {"auxiliary": True, "label_smooth": 0.1, "epsilon": 1e6}  # every node terminates when it may
TARGET = SEARCH | {
    "arch": "random_distinct:0",
    "auxiliary": True,
    "label_smooth": 0.1,
    "ema_decay": 0.9,
    "nesterov": True,
}


class Made(NamedTuple):
    """What a tool steps through, its images and its averages."""

    method: Any
    train: Batches
    test: Batches
    averages: Averages


def images(options: Any, method: Any) -> Made:
    """Batches for training and for evaluation, on the device."""
    parts = ImageSet(torch.zeros(24, 16, 16, 3, dtype=torch.uint8), torch.zeros(24, dtype=torch.int64), INFO)
    batches = partial(Batches, parts, None, options.batch_size, options.seed, device=CUDA)
    train = batches(purpose="train", augment=augmentation(options, INFO))
    return Made(method, train, batches(purpose="test", augment=None), Averages(CUDA))


def made(name: str, **values: Any) -> Made:
    """A method as the tools build it, for two steps an epoch."""
    options = make_options(name, **values)
    device = set_up(options)
    sizes = options.sizes(INFO.channels, INFO.num_classes)
    setting = Setting(options.make_space(), sizes, INFO, Stepping(options, device), lambda epoch: 2)
    return images(options, METHODS[name].build(options, setting))


def two_stage(**values: Any) -> Made:
    """The search of tools/train_search.py."""
    return made("two_stage", **SEARCH | values)


def searched(name: str, **values: Any) -> Made:
    """A search of tools/train_search.py that recovers nothing."""
    return made(name, **SEARCH | values)


def one_stage(**values: Any) -> Made:
    """The run of tools/train_onestage.py."""
    return made("one_stage", **ONE_STAGE | values)


def target(**values: Any) -> Made:
    """The training of tools/evaluate.py."""
    return made("evaluation", **TARGET | values)


def drop_path(made: Made, num_connections: int) -> Tensor:
    """Scales for one batch, as the tools draw them."""
    scales = draw_scales(0.2, made.train.batch_size, num_connections, generator(0, "drop_path"))
    assert scales is not None
    return mine(scales, CUDA)


def step(made: Made, number: int, *arguments: Any) -> None:
    """One step of a network on its own, or of the one-stage search."""
    x, labels = made.train.batch(0, number)
    result = made.method.step(x, labels, *arguments)
    made.averages.add(result.loss, result.logits, labels)


def search_step(made: Made, number: int) -> None:
    """One step of a search: with a batch of W, and one of the architecture's where that is learnt."""
    batches = [made.train.batch(split, number) for split in range(len(made.method.splits))]
    result = made.method.step(*batches)
    made.averages.add(result.loss, result.logits, batches[0][1])


def score(made: Made, network: torch.nn.Module, predict: Callable[[Tensor], Any]) -> None:
    """The scores on the test images, which are read back at the end."""
    network.eval()
    evaluate(lambda x: predict(x).logits, made.test.epoch(), CUDA)
    network.train()


def through_a_checkpoint(method: Any, other: Any) -> None:
    """Let ``other`` go on from the state of ``method`` as a checkpoint brings it: on the CPU."""
    architecture = getattr(method, "architecture", None)
    measured = isinstance(architecture, CompressedSpace)
    with known_numbers([*architecture.matrices, *getattr(architecture, "z", [])] if measured else []):
        other.load_state_dict(tree_map_only(Tensor, lambda tensor: tensor.to("cpu"), method.state_dict()))


class Case:
    """One case's record."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.waits: dict[str, list[str]] = {"making": [], "steps": [], "recovery": [], "reporting": []}
        self.steps_done = 0
        self.arithmetic: list[list[Any]] = []
        self.memory: dict[str, list[Any]] = {}

    def take(self, kind: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function and put its waits down as those of ``kind``."""
        self.watch.waits.clear()
        self.watch.number = int(kind == "reporting")  # averages are over at least one image
        try:
            return function(*arguments)
        finally:
            self.waits[kind] += map(str, self.watch.waits)
            self.steps_done += kind == "steps"


def run_two_stage(case: Case, num_steps: int = 1, **values: Any) -> None:
    """A recovery before each step, and validation."""
    made = case.take("making", partial(two_stage, **values))
    for number in range(num_steps):
        case.take("recovery", made.method.recover)
        case.take("steps", search_step, made, number)
    case.take("reporting", made.averages.scores)
    case.take("reporting", score, made, made.method.network, made.method.predict)


def run_search(case: Case, name: str, **values: Any) -> None:
    """Two steps, the second from a checkpoint, and validation."""
    made, resumed = (case.take("making", partial(searched, name, **values)) for _ in range(2))
    for number, each in enumerate((made, resumed)):
        if number:
            case.take("making", through_a_checkpoint, made.method, resumed.method)
        case.take("making", each.method.begin_epoch, number)
        if isinstance(each.method, SampledSearch):  # no number that is drawn here is one
            each.method.support = each.method.measured = tuple((number, 7 + number) for _ in each.method.space.sizes)
        case.take("steps", search_step, each, number)
    case.take("reporting", made.averages.scores)
    case.take("reporting", score, resumed, resumed.method.network, resumed.method.predict)


def resume_two_stage(case: Case) -> None:
    """A step of a search that goes on from a checkpoint."""
    made = searching(case)
    case.take("steps", search_step, made, 0)
    resumed = case.take("making", two_stage)
    case.take("making", through_a_checkpoint, made.method, resumed.method)
    case.take("steps", search_step, resumed, 1)


def run_one_stage(case: Case, **values: Any) -> None:
    """A search step, termination, a step of the terminated, the fixed network's with drop-path, absorption."""
    made = case.take("making", partial(one_stage, **values))
    run = made.method
    case.take("recovery", run.recover, 0)
    case.take("steps", step, made, 0)
    case.take("recovery", run.recover, 1)
    assert run.all_terminated
    case.take("steps", step, made, 1)
    case.take("making", run.fix, 1)
    scales = drop_path(made, run.network.num_connections(run.connections()))
    case.take("steps", step, made, 2, scales)
    plain = case.take("reporting", absorb, run.weighted())
    case.take("reporting", score, made, plain, partial(run.stepping.forward, plain))


def resume_one_stage(case: Case) -> None:
    """A step of a search that goes on from a checkpoint, and one of a fixed network."""
    made = case.take("making", one_stage)
    run = made.method
    case.take("recovery", run.recover, 0)
    for fixed in (False, True):
        if fixed:
            case.take("making", run.fix, 1)
        case.take("steps", step, made, 0)
        resumed = case.take("making", one_stage)
        case.take("making", through_a_checkpoint, run, resumed.method)
        case.take("steps", step, resumed, 1)


def run_target(case: Case, **values: Any) -> None:
    """A step with drop-path and the averaged network's evaluation."""
    made = case.take("making", partial(target, **values))
    case.take("steps", step, made, 0, drop_path(made, made.method.network.num_connections()))
    case.take("reporting", score, made, made.method.result, made.method.predict)


def resume_target(case: Case) -> None:
    """A step of a training that goes on from a checkpoint."""
    made, resumed = case.take("making", target), case.take("making", target)
    case.take("steps", step, made, 0)
    case.take("making", through_a_checkpoint, made.method, resumed.method)
    case.take("steps", step, resumed, 1)


def together(run: Callable[[Case], None], case: Case) -> None:
    """A case in which this process is the first of two, and nothing is ever received."""

    def gather(values: list[Any], value: Any) -> None:
        values[:] = [value] * len(values)

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        with patch.object(dist, "broadcast_object_list"), patch.object(dist, "all_gather_object", gather):
            run(case)
    finally:
        dist.destroy_process_group()


def searching(case: Case) -> Made:
    """A two-stage search after a recovery, for what is then misplaced."""
    made = case.take("making", two_stage)
    case.take("recovery", made.method.recover)
    return made


def input_on_cpu(case: Case) -> None:
    made = searching(case)
    (x, labels), other = made.train.batch(0, 0), made.train.batch(0, 1)
    case.take("steps", made.method.step, (x.cpu(), labels), other)


def target_on_cpu(case: Case) -> None:
    made = searching(case)
    (x, labels), other = made.train.batch(0, 0), made.train.batch(0, 1)
    case.take("steps", made.method.step, other, (x, labels.cpu()))


def measurement_on_cpu(case: Case) -> None:
    made = searching(case)
    made.method.architecture.A_S = made.method.architecture.A_S.cpu()
    case.take("steps", search_step, made, 0)


def one_b_on_cpu(case: Case) -> None:
    made = searching(case)
    b = made.method.architecture.b
    b[3] = torch.nn.Parameter(b[3].detach().cpu())
    case.take("steps", search_step, made, 0)


def architecture_on_cpu(case: Case) -> None:
    made = searching(case)
    made.method.architecture.to("cpu")
    case.take("recovery", made.method.recover)
    case.take("steps", search_step, made, 0)


def bn_buffer_on_cpu(case: Case) -> None:
    made = searching(case)
    last = [module for module in made.method.network.cells[2].preprocess0.modules() if isinstance(module, BatchNorm)][
        -1
    ]
    last.running_var = last.running_var.cpu()
    case.take("steps", search_step, made, 0)


def drop_path_on_cpu(case: Case) -> None:
    made = case.take("making", target)
    scales = drop_path(made, made.method.network.num_connections())
    case.take("steps", step, made, 0, scales.cpu())


def arithmetic(case: Case) -> None:
    """What set_up chooses on a GPU, with TF32 and without."""
    for tf32 in (True, False):
        set_up(make_options("two_stage", **SEARCH, tf32=tf32))
        cudnn = torch.backends.cudnn
        case.arithmetic.append([torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark])


def memory(case: Case) -> None:
    """What is alive at the worst moment of an update of W, beside the network, in two precisions."""
    for amp in ("off", "fp16"):
        made = case.take("making", partial(two_stage, amp=amp, batch_size=24))
        case.take("recovery", made.method.recover)
        made.method.step(made.train.batch(0, 0), made.train.batch(0, 0))
        x, labels = made.train.batch(0, 0)
        with _LiveStorages() as storages:
            case.take("steps", made.method.update_w, x, labels)
        case.memory[amp] = [sum(storages.peak([])), made.method.connections().support]


def number_read_back(case: Case) -> None:
    """What must not be: a loss that is looked at in the step."""
    made = searching(case)

    def looking() -> None:
        result = made.method.update_w(*made.train.batch(0, 0))
        assert not result.loss > 1.0

    case.take("steps", looking)


def blocking_copy(case: Case) -> None:
    """What must not be: a batch that is copied to the device while the host waits."""
    case.take("steps", torch.zeros(4).to, CUDA)


CASES: dict[str, Callable[[Case], None]] = {
    f"{name} {precision}": partial(function, amp=precision)
    for name, function in (("two_stage", run_two_stage), ("one_stage", run_one_stage), ("target", run_target))
    for precision in ("off", "bf16", "fp16")
}
for precision in ("off", "bf16", "fp16"):
    CASES[f"darts {precision}"] = partial(run_search, name="darts", amp=precision)
    CASES[f"pc_darts {precision}"] = partial(
        run_search, name="pc_darts", amp=precision, partial_channels=2, arch_start_epoch=0
    )
    CASES[f"random_ws {precision}"] = partial(run_search, name="random_ws", amp=precision)
    CASES[f"conas {precision}"] = partial(run_search, name="conas", amp=precision)
    CASES[f"sampled_recovery {precision}"] = partial(
        run_search, name="sampled_recovery", amp=precision, warmup_portion=0.0
    )
    CASES[f"random {precision}"] = partial(run_search, name="random", amp=precision, epochs=1)
    if precision != "fp16":
        CASES[f"darts unrolled {precision}"] = partial(run_search, name="darts", amp=precision, unrolled=True)
CASES |= {
    "darts unrolled of two processes": partial(
        together, partial(run_search, name="darts", unrolled=True, sync_bn=True)
    ),
    "two_stage off": partial(run_two_stage, num_steps=2),
    "two_stage resumed": resume_two_stage,
    "two_stage released": partial(run_two_stage, num_steps=2, preset="released"),
    "one_stage resumed": resume_one_stage,
    "target resumed": resume_target,
    "two_stage of two processes": partial(together, partial(run_two_stage, sync_bn=True)),
    "one_stage of two processes": partial(together, partial(run_one_stage, sync_bn=True, amp="fp16")),
    "target of two processes": partial(together, partial(run_target, sync_bn=True)),
    "two_stage contiguous": partial(run_two_stage, channels_last=False),
    "two_stage in parts": partial(run_two_stage, grad_accum=3),
    "two_stage recomputed": partial(run_two_stage, recompute=True),
    "one_stage recomputed": partial(run_one_stage, recompute=True, amp="bf16"),
    "target recomputed": partial(run_target, recompute=True),
    "recomputed of two processes": partial(together, partial(run_two_stage, recompute=True, sync_bn=True)),
    "target with a policy": partial(run_target, autoaugment="trivialaugment"),
    **{
        function.__name__: function
        for function in (
            input_on_cpu,
            target_on_cpu,
            measurement_on_cpu,
            one_b_on_cpu,
            architecture_on_cpu,
            bn_buffer_on_cpu,
            drop_path_on_cpu,
            arithmetic,
            memory,
            number_read_back,
            blocking_copy,
        )
    },
}


def record(run: Callable[[Case], None]) -> dict[str, Any]:
    """What happens in a case, as plain values."""
    with fake_cuda() as watch:
        case = Case(watch)
        try:
            run(case)
            error = None
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
        convolved = [x for x in watch.convolved if x.shape[1] > 1 and x.shape[2] > 1]
        return {
            "error": error,
            "steps": case.steps_done,
            "waits": case.waits,
            "arithmetic": case.arithmetic,
            "memory": case.memory,
            "convolutions": len(convolved),
            "channels_last": sum(x.stride(1) == 1 for x in convolved),
            "dtypes": {name: sorted(map(str, found)) for name, found in watch.dtypes.items()},
            "image_uploads": [
                [upload.pinned, upload.non_blocking] for upload in watch.uploads if upload.num_bytes == 8 * 3 * 16 * 16
            ],
        }


if __name__ == "__main__":
    print(json.dumps({name: record(CASES[name]) for name in sys.argv[1:] or CASES}))

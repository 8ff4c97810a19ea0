"""What only a real GPU shows: its numbers against a CPU's in float64, its waits, and checkpoints that come back to it.

On a machine with a GPU, from the repository's root: python3 -m pytest tests/gpu -s
"""

import contextlib
import io
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from settings import CPU, make_setting, noise
from waiting import no_waiting

from isnas.base.random import generator
from isnas.data.dataset_info import DatasetInfo
from isnas.data.small.batches import Batches, augmentation
from isnas.data.small.datasets import ImageSet
from isnas.engine.averages import Averages
from isnas.engine.run import find_device
from isnas.methods.registry import METHODS, SEARCHES, make_options
from isnas.space.cells.genotype import DARTS_OPERATIONS
from isnas.train.fixed import draw_scales, mine
from isnas.train.stepping import Stepping

pytestmark = pytest.mark.slow

SMALL = {"layers": 3, "num_nodes": 2, "init_channels": 8, "batch_size": 8}
CASES = {
    "two_stage": ("two_stage", {}),
    "darts": ("darts", {}),
    "darts unrolled": ("darts", {"unrolled": True}),
    "pc_darts": ("pc_darts", {}),
    "random_ws": ("random_ws", {}),
    "conas": ("conas", {}),
    "sampled_recovery": ("sampled_recovery", {"warmup_portion": 0.0}),
    "sampled_recovery by gradients": ("sampled_recovery", {"warmup_portion": 0.0, "measure": "gradient"}),
    "one_stage": ("one_stage", {"auxiliary": True, "epsilon": 1e6}),  # all nodes terminate at the second recovery
    "evaluation": ("evaluation", {"auxiliary": True, "arch": "random_distinct:0", "ema_decay": 0.9}),
}
WITHOUT_AVERAGES = tuple(name for name in DARTS_OPERATIONS if name != "avg_pool_3x3")
INFO = DatasetInfo("noise", tuple("0123456789"), (0.5,), (0.25,), 16, True)


def at_start(case, device, dtype=torch.float32, **values):
    """A method as the tools build it, its network's weights of ``dtype``."""
    name, own = CASES[case]
    options = make_options(name, **SMALL | own | values)
    setting = make_setting(options, steps=2, stepping=Stepping(options, device))
    method = METHODS[name].build(options, setting)
    method.network.train().to(dtype)
    return method


def prepare(case, method, step):
    """What comes before a step, outside of it: a recovery, or another sub-network."""
    if case == "one_stage":
        method.recover(step)
    elif CASES[case][0] in SEARCHES:
        method.before_step(step)


def take_step(case, method, draw):
    """A step on batches by ``draw(split)``, for the evaluation with drop-path; its result and the first batch."""
    batches = [draw(split) for split in range(len(method.splits) if CASES[case][0] in SEARCHES else 1)]
    if CASES[case][0] in SEARCHES:
        return method.step(*batches), batches[0]
    ((x, labels),) = batches
    if case == "one_stage":
        return method.step(x, labels), batches[0]
    scales = draw_scales(0.2, len(x), method.num_connections(), generator(0, "drop_path"))
    return method.step(x, labels, mine(scales, x.device)), batches[0]


def step_on_noise(case, method, dtype, step):
    """A step with its recovery, on noise; its loss in float64."""

    def draw(split):
        x, labels = noise(2 * step + split)
        return x.to(method.stepping.device, dtype), labels.to(method.stepping.device)

    prepare(case, method, step)
    result, _ = take_step(case, method, draw)
    return result.loss.double().cpu().reshape(1)


def values_of(method):
    """All numbers of the network, and those of the architecture's variables, in float64 on the CPU."""
    network = [tensor for tensor in method.network.state_dict().values() if tensor.is_floating_point()]
    architecture = list(method.architecture.parameters()) if hasattr(method, "architecture") else []
    groups = {"network": network, "architecture": architecture}
    return {
        name: torch.cat([tensor.detach().double().cpu().flatten() for tensor in group])
        for name, group in groups.items()
        if group
    }


def moved(case, device, dtype, **values):
    """The losses of two steps, and by how much everything has moved in them."""
    method = at_start(case, device, dtype, **values)
    start = values_of(method)
    losses = torch.cat([step_on_noise(case, method, dtype, step) for step in range(2)])
    return {"losses": losses} | {name: end - start[name] for name, end in values_of(method).items()}


@cache
def reference(case, operations):
    """The same on the CPU in float64."""
    return moved(case, CPU, torch.float64, operations=operations, channels_last=False)


def errors(found, expected):
    """|found - expected| / |expected| of each group, |found| where none of it was to move."""
    assert found.keys() == expected.keys()
    return {name: ((found[name] - value).norm() / (value.norm() or 1.0)).item() for name, value in expected.items()}


@pytest.fixture(scope="module")
def wrong_pooling(device):
    """Whether gradients of padded average pooling in channels_last are not the CPU's (pytorch issue 188344)."""

    def gradient(device, layout, stride):
        x = torch.randn(8, 4, 16, 16, generator=generator(0, "x"), dtype=torch.float64).to(device)
        x = x.contiguous(memory_format=layout).requires_grad_()
        pooled = F.avg_pool2d(x, 3, stride, padding=1, count_include_pad=False)
        weights = torch.randn(pooled.shape, generator=generator(0, "weights"), dtype=torch.float64).to(device)
        (weights * pooled).sum().backward()
        return x.grad.cpu()

    pairs = [
        (gradient(device, torch.channels_last, stride), gradient(CPU, torch.contiguous_format, stride))
        for stride in (1, 2)
    ]
    return not all(torch.allclose(*pair, rtol=0.0, atol=1e-12) for pair in pairs)


def test_average_pooling(wrong_pooling):
    if wrong_pooling and torch.__version__ < "2.14":
        pytest.xfail(f"torch {torch.__version__} has wrong gradients of padded average pooling in channels_last")
    assert not wrong_pooling


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_the_cpu_in_float64(case, layout, device, wrong_pooling):
    operations = WITHOUT_AVERAGES if wrong_pooling and layout == "channels_last" else DARTS_OPERATIONS
    options = {"operations": operations, "channels_last": layout == "channels_last"}
    expected = reference(case, operations)
    double = errors(moved(case, device, torch.float64, **options), expected)
    single = errors(moved(case, device, torch.float32, **options), expected)
    cpu = errors(moved(case, CPU, torch.float32, **options), expected)
    for name, error in single.items():
        print(f"{case} {layout} {name}: float64 {double[name]:.1e}, float32 {error:.1e}, on the CPU {cpu[name]:.1e}")
    assert all(value.norm() > 0.0 for value in expected.values())
    assert max(double.values()) < 1e-10
    # Adam makes as much of the smallest gradients of the architecture as of others, so these follow rounding
    assert single["losses"] < 1e-4 and single["network"] < 1e-3


@pytest.mark.parametrize("case", CASES)
def test_recomputation_changes_no_number(case, device, wrong_pooling):
    plain, recomputed = (
        moved(case, device, torch.float64, recompute=recompute, channels_last=not wrong_pooling)
        for recompute in (False, True)
    )
    assert max(errors(recomputed, plain).values()) < (1e-10 if device.type == "cuda" else 1e-300)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize("case", ["two_stage", "evaluation"])
def test_losses_in_lower_precision(case, amp, device):
    expected = reference(case, WITHOUT_AVERAGES)["losses"]
    found = moved(case, device, torch.float32, operations=WITHOUT_AVERAGES, amp=amp)["losses"]
    print(f"{case} {amp}: {found.tolist()}, in float64 {expected.tolist()}")
    assert 0.0 < (found - expected).abs().max().item() < 0.05


def test_tf32_is_off_unless_asked_for(gpu):
    drawn = torch.Generator().manual_seed(0)
    x, weights = (torch.randn(64, 64, 16, 16, generator=drawn, dtype=torch.float64) for _ in range(2))
    weights = weights[:, :, :3, :3]
    operations = {"product": lambda x, w: x[0, 0] @ x[0, 1], "convolution": partial(F.conv2d, padding=1)}
    found = {}
    try:
        for tf32 in (False, True):
            find_device("cuda", 0, tf32)
            for name, operation in operations.items():
                exact = operation(x, weights)
                rounded = operation(x.float().to(gpu), weights.float().to(gpu)).double().cpu()
                found[name, tf32] = ((rounded - exact).norm() / exact.norm()).item()
    finally:
        find_device("cuda", 0, False)
    print(found)
    assert max(found["product", False], found["convolution", False]) < 1e-5
    assert torch.cuda.get_device_capability(gpu) < (8, 0) or found["convolution", True] > 1e-4


# with fp16 the scaler of losses asks whether a gradient has overflowed, unless the optimiser is fused
@pytest.mark.parametrize(
    ("case", "amp"), [*((case, amp) for case in CASES for amp in ("off", "bf16")), ("evaluation", "fp16")]
)
def test_a_step_waits_for_nothing(case, amp, device):
    method = at_start(case, device, amp=amp)
    bytes_of_images = torch.randint(256, (24, 16, 16, 1), generator=generator(0, "images"), dtype=torch.uint8)
    images = ImageSet(bytes_of_images, torch.arange(24) % 10, INFO)
    augment = augmentation(method.options, INFO)
    batches = [Batches(images, None, 8, 0, purpose, augment, device) for purpose in ("train_w", "train_b")]
    averages, before = Averages(device), values_of(method)["network"]
    for step in range(3):
        prepare(case, method, step)
        with no_waiting(device) if step else contextlib.nullcontext():  # libraries are loaded in the first
            result, (_, labels) = take_step(case, method, lambda split, step=step: batches[split].batch(0, step))
            averages.add(result.loss, result.logits, labels)
    assert 0.0 < averages.scores().loss < 10.0 and not torch.equal(values_of(method)["network"], before)


def test_a_wait_is_found(gpu):
    loss = torch.ones((), device=gpu)
    with pytest.raises(RuntimeError, match="synchroniz"), no_waiting(gpu):
        loss.item()


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_comes_back(case, device, wrong_pooling):
    make = partial(at_start, case, device, torch.float64, channels_last=not wrong_pooling)
    method, resumed = make(), make()
    step_on_noise(case, method, torch.float64, 0)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    start, ends = values_of(method), []
    for each in (method, resumed):
        loss = step_on_noise(case, each, torch.float64, 1)
        ends.append({"losses": loss} | {name: end - start[name] for name, end in values_of(each).items()})
    assert max(errors(ends[1], ends[0]).values()) < 1e-10

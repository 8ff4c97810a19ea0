"""The estimate of a step's memory against what torch's allocator hands out for a real step on the CPU."""

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from isnas.base.random import generator
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.method import Setting
from isnas.methods.evaluation import Evaluation
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import make_options
from isnas.methods.two_stage import TwoStage
from isnas.nets.memory import estimate_peak_memory
from isnas.space.cells.network import target_network
from isnas.space.cells.operations import OPERATIONS
from isnas.space.cells.space import CellSpace
from isnas.train.stepping import PRECISIONS, Stepping

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
INFO = DatasetInfo("fake", tuple("0123456789"), (0.5,) * 3, (0.2,) * 3, 32, True)
SMALL = {"dataset": "fake", "layers": 3, "init_channels": 8, "batch_size": 32, "arch_init_scale": 1.0}
SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 8, "layers": 5}


def build(kind, options):
    sizes = options.sizes(INFO.channels, INFO.num_classes)
    return kind.build(options, Setting(CellSpace(), sizes, INFO, Stepping(options, CPU), lambda epoch: 4))


def batch():
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(32, 3, 32, 32, generator=drawn).to(memory_format=torch.channels_last)
    return x, torch.randint(10, (32,), generator=drawn)


def allocated(function):
    """The most bytes on top of what was there before, by the allocator's own account."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        function()
    events = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


@pytest.mark.parametrize(("amp", "recompute"), [("off", False), ("bf16", False), ("off", True), ("bf16", True)])
def test_a_search_step(amp, recompute):
    options = make_options("two_stage", **SMALL, amp=amp, recompute=recompute)
    search = build(TwoStage, options)
    search.recover()
    search.step(batch(), batch())
    x, labels = batch()
    for update, train_coefficients in ((search.update_w, False), (search.update_b, True)):
        estimate = estimate_peak_memory(
            lambda: CellSpace().super_net(**options.sizes(3, 10)),
            search.architecture.connections(),
            batch_size=32,
            in_channels=3,
            image_size=32,
            train_coefficients=train_coefficients,
            amp=PRECISIONS[amp],
            recompute=recompute,
        )
        held = search.network.state_dict().values()
        assert estimate.parameters == pytest.approx(sum(tensor.nbytes for tensor in held), rel=0.5)  # in blocks of 512
        measured = allocated(lambda update=update: update(x, labels))
        assert measured == pytest.approx(estimate.activations - x.nbytes + estimate.gradients, rel=0.02)


def test_a_one_stage_step():
    options = make_options("one_stage", **SMALL, auxiliary=True)
    run = build(OneStage, options)
    run.recover(0, too_large=False)
    x, labels = batch()
    run.step(x, labels)
    build_network = lambda: CellSpace().super_net(True, **options.sizes(3, 10), auxiliary=True)  # noqa: E731
    sizes = {"batch_size": 32, "in_channels": 3, "image_size": 32, "train_coefficients": True}
    estimate = estimate_peak_memory(build_network, run.connections(), **sizes)
    step = estimate.activations - x.nbytes + estimate.gradients
    assert allocated(lambda: run.step(x, labels)) == pytest.approx(step, rel=0.02)


def test_a_step_of_cells_of_any_connections():
    """All ten on a node, none on the next, fifteen of a later one; drop-path and the auxiliary head."""
    space = CellSpace(tuple(OPERATIONS)[:5])
    arch = str(space.genotype((tuple(range(10)), (), (12,), tuple(range(10, 25)), (3, 4), (), (2,), (10, 11))))
    small = {key: value for key, value in SMALL.items() if key != "arch_init_scale"}
    options = make_options("evaluation", **small, arch=arch, auxiliary=True)
    training = build(Evaluation, options)
    (x, labels), scales = batch(), torch.ones(32, training.num_connections())
    training.step(x, labels, scales)
    estimate = estimate_peak_memory(
        lambda: Evaluation.make_network(options, space, options.sizes(3, 10)),
        None,
        batch_size=32,
        in_channels=3,
        image_size=32,
        drop_path=True,
    )
    step = estimate.activations - x.nbytes + estimate.gradients
    assert allocated(lambda: training.step(x, labels, scales)) == pytest.approx(step, rel=0.02)


@pytest.mark.parametrize("amp", [None, torch.bfloat16])
def test_no_other_connections_need_more_than_the_heaviest(amp):
    def peak(support):
        genotype = replace(space.genotype(support), extra_bn="pools")
        sizes = {"batch_size": 64, "in_channels": 3, "image_size": 32, "amp": amp}
        return estimate_peak_memory(lambda: target_network(genotype, **SIZES), None, **sizes).total_gib

    space, rng = CellSpace(), generator(0, "heavy")
    heavy = [3, 4] if amp is None else [0, 3, 4]  # separable convolutions; in lower precision max pools too
    heaviest = peak(space.heaviest(2, 4 if amp is None else amp.itemsize))
    for _ in range(4):
        support = []
        for size in space.sizes:
            choices = [index for index in range(size) if index % 7 in heavy]
            chosen = torch.randperm(len(choices), generator=rng)[:2].tolist()
            support.append(tuple(sorted(choices[k] for k in chosen)))
        assert peak(tuple(support)) < heaviest


def test_the_heaviest_connections_of_other_cells():
    for num_nodes, sparseness in ((1, 1), (2, 3), (3, 14)):
        space = CellSpace(num_nodes=num_nodes)
        support = space.heaviest(sparseness)
        assert [len(set(node)) for node in support] == [sparseness] * (2 * num_nodes)
        assert all(max(node) < size for node, size in zip(support, space.sizes))

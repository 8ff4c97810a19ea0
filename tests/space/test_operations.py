"""Every row of the table of operations is complete: its module at both strides, its folds, its memory, its picture."""

import itertools
from xml.etree import ElementTree

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isnas.base.random import generator, initialising
from isnas.nets.export import deployed
from isnas.nets.memory import estimate_peak_memory
from isnas.space.batch_norm import BatchNorm
from isnas.space.cells.genotype import EXTRA_BN, NAMES, Genotype
from isnas.space.cells.network import target_network
from isnas.space.cells.operations import (
    ONE_STAGE_BN,
    OPERATIONS,
    SEARCH_BN,
    Operation,
    Pool,
    ReLUConvBN,
    Skip,
    target_bn,
)
from isnas.space.cells.picture import draw_genotype
from isnas.space.space import Output

BATCH_NORMS = {"search": SEARCH_BN, "one_stage": ONE_STAGE_BN} | {name: target_bn(name) for name in EXTRA_BN}
CHANNELS = 6

each_operation = pytest.mark.parametrize("name", NAMES)


def make(name, stride, bn):
    """The operation in float64, with batch normalisations that do something."""
    with initialising(0, "weights"):
        operation = OPERATIONS[name].make(CHANNELS, stride, bn).double()
    rng = generator(0, "affine")
    with torch.no_grad():
        for module in operation.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(generator=rng)
                module.running_var.uniform_(0.5, 2.0, generator=rng)
                for parameter in module.parameters():
                    parameter.normal_(generator=rng)
    return operation


def images(size):
    return torch.randn(4, CHANNELS, size, size, generator=generator(1, "images"), dtype=torch.float64).relu()


@each_operation
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bn", BATCH_NORMS.values(), ids=BATCH_NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_the_coefficient_is_a_factor(name, stride, bn, training):
    operation = make(name, stride, bn).train(training)
    assert isinstance(operation, Operation) and "folds" in vars(type(operation))
    for size in (8, 9):
        x, c = images(size).requires_grad_(), torch.tensor(-0.37, dtype=torch.float64, requires_grad=True)
        carried, literal = operation(x, c), c * operation(x)
        assert carried.shape == (4, CHANNELS, -(-size // stride), -(-size // stride))
        torch.testing.assert_close(carried, literal, rtol=1e-12, atol=1e-12)
        leaves = [x, c, *operation.parameters()]
        for mine, other in zip(*(torch.autograd.grad((out**3).sum(), leaves) for out in (carried, literal))):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@each_operation
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bn", BATCH_NORMS.values(), ids=BATCH_NORMS)
def test_the_last_batch_norm_ends_it_and_only_an_identity_is_one(name, stride, bn):
    operation = make(name, stride, bn).eval()
    x = images(8)
    last = operation.last_bn
    assert operation.is_identity == torch.equal(operation(x), x)
    if last is None:
        assert not any(isinstance(module, BatchNorm) for module in operation.modules())
        assert not bn.after_pool or (name == "skip_connect" and not bn.after_skip)
        return
    ends = []
    last.register_forward_hook(lambda module, inputs, output: ends.append(output))
    assert operation(x) is ends[0] and len(ends) == 1


@each_operation
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bn", BATCH_NORMS.values(), ids=BATCH_NORMS)
def test_folds_are_the_batch_norms_that_read_convolutions(name, stride, bn):
    """Found from what runs: a batch normalisation whose input the convolutions before it made, and nothing else."""
    operation = make(name, stride, bn).eval()
    made, read = {}, {}
    for key, module in operation.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output, key=key: made.update({key: output}))
        elif isinstance(module, BatchNorm):
            module.register_forward_pre_hook(lambda module, inputs, key=key: read.update({key: inputs[0].clone()}))
    operation(images(8))
    sources = {(key,): output for key, output in made.items()}
    for one, two in itertools.permutations(made, 2):
        if made[one].shape[2:] == made[two].shape[2:]:
            sources[one, two] = torch.cat([made[one], made[two]], 1)
    folds = {bn: keys for bn, x in read.items() for keys, output in sources.items() if torch.equal(output, x)}
    assert operation.folds == folds
    assert set(read) - set(folds) == ({"bn"} if isinstance(operation, Pool | Skip) and operation.bn else set())


@each_operation
@pytest.mark.parametrize("extra_bn", EXTRA_BN)
def test_a_deployed_network_of_it_keeps_only_the_batch_norms_after_pools_and_skips(name, extra_bn):
    cell = (((name, 0), (name, 1)), ((name, 2),))
    genotype = Genotype(cell, (2, 3), cell, (2, 3), extra_bn)
    with initialising(0, "weights"):
        network = target_network(
            genotype, stem="cifar", in_channels=3, num_classes=10, init_channels=4, layers=3
        ).double()
    x = torch.randn(8, 3, 16, 16, generator=generator(1, "images"), dtype=torch.float64)
    for _ in range(3):
        network.train()(x)
    folded = deployed(network.eval(), fold=True)
    torch.testing.assert_close(folded(x), network(x).logits, rtol=0, atol=1e-11)
    parents = {
        type(parent) for parent in folded.modules() for child in parent.children() if isinstance(child, BatchNorm)
    }
    row = OPERATIONS[name].make(4, 1, target_bn(extra_bn))
    assert parents == ({type(row)} if isinstance(row, Pool | Skip) and row.bn is not None else set())


class Repeated(nn.Module):
    """Images of three channels made to states, on which an operation stands several times over."""

    def __init__(self, name, stride, times):
        super().__init__()
        self.before = ReLUConvBN(3, CHANNELS, affine=True)
        self.operations = nn.ModuleList(OPERATIONS[name].make(CHANNELS, stride, SEARCH_BN) for _ in range(times))
        self.classifier = nn.Linear(CHANNELS, 10)

    def forward(self, x, connections, drop_path):
        state = self.before(x)
        x = F.relu(state) if self.operations[0].relu_first else state
        total = self.operations[0](x)
        for operation in self.operations[1:]:
            total = total + operation(x)
        return Output(self.classifier(total.mean((2, 3))), None)


@each_operation
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("amp", [None, torch.bfloat16])
def test_what_it_keeps_is_what_the_estimate_of_memory_counts(name, stride, amp):
    """How much more a step needs with the operation once more, in tensors of its output; rows say it of stride 1."""

    def activations(times):
        shape = {"batch_size": 32, "in_channels": 3, "image_size": 64}
        return estimate_peak_memory(lambda: Repeated(name, stride, times), None, **shape, amp=amp).activations

    value_bytes = 4 if amp is None else amp.itemsize
    tensor = value_bytes * 32 * CHANNELS * (64 // stride) ** 2
    row = OPERATIONS[name]
    expected = row.kept + row.kept_places * 8 / value_bytes
    if stride == 2:
        expected += name in ("skip_connect", "conv_7x1_1x7")  # the output of a convolution, of one that halves one side
    assert (activations(9) - activations(8)) / tensor == pytest.approx(expected, abs=0.02)


def test_every_operation_is_drawn_by_its_name_in_its_colours(tmp_path):
    cell = tuple(((name, 0),) for name in NAMES)
    graph_texts = []
    for path in draw_genotype(Genotype(cell, (2,), cell, (2,)), tmp_path):
        if path.suffix == ".svg":
            found = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
            graph_texts.append({(part.text or "").strip(): part.get("style", "") for part in found})
    assert len(graph_texts) == 2
    for texts in graph_texts:
        for name in NAMES:
            outline, filling = OPERATIONS[name].colors
            assert outline in texts[name] and outline != filling

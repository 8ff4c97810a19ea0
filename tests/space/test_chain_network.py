"""Networks of chains against their definition, super-net against target network, absorption, memory, counts."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from isnas.base.errors import UserError
from isnas.base.random import generator, initialising
from isnas.nets.absorb import WeightedNetwork, absorb
from isnas.nets.count import count_built
from isnas.nets.export import deployed
from isnas.nets.memory import estimate_peak_memory
from isnas.space.batch_norm import BatchNorm
from isnas.space.chain.candidates import CANDIDATES, NAMES
from isnas.space.chain.genotype import ChainGenotype
from isnas.space.chain.network import ChainNetwork, target_network
from isnas.space.chain.operations import ConvolutionBN, Skip, relu6_
from isnas.space.chain.space import ChainSpace
from isnas.space.chain.widths import WIDTHS, Widths
from isnas.space.connections import Connections

SIZES = {"widths": "digits", "in_channels": 1, "num_classes": 10}
#: of 2 + 4 blocks, so that every candidate can be in the second stage
SPACE = ChainSpace("digits", (2, 4))
EVERYTHING = ChainGenotype(
    ((("k3_e3",), ("skip",)), (("k5_e6",), ("k7_e3",), ("k3_e6", "k5_e3", "skip"), ("k7_e6",))), "all"
)


def settle(network, dtype=torch.float64):
    """The network with batch normalisations that do something."""
    network.to(dtype).to(memory_format=torch.channels_last)
    rng = generator(0, "affine")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(generator=rng)
                module.running_var.uniform_(0.5, 2.0, generator=rng)
                for parameter in module.parameters():
                    parameter.normal_(generator=rng)
    return network


def super_net(one_stage, dtype=torch.float64):
    with initialising(0, "weights"):
        return settle(SPACE.super_net(one_stage, **SIZES), dtype)


def images(dtype=torch.float64, size=16):
    return torch.randn(5, 1, size, size, generator=generator(1, "images"), dtype=torch.float64).to(dtype)


def random_connections(seed, sparseness=1, coefficient=None):
    rng = generator(seed, "connections")
    support = SPACE.random(rng, sparseness)
    drawn = [torch.randn(sparseness, generator=rng, dtype=torch.float64) for _ in support]
    return Connections(support, tuple(c if coefficient is None else torch.full_like(c, coefficient) for c in drawn))


class Literal:
    """A chain's network written out on a dictionary of its parameters: block = x + sum_k w_k o_k(x)."""

    def __init__(self, stages, state, training, row: Widths):
        self.stages, self.state, self.training, self.row = stages, state, training, row

    def normalise(self, key, x):
        mean, var = self.state[f"{key}.running_mean"], self.state[f"{key}.running_var"]
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        x = (x - mean.view(-1, 1, 1)) / (var.view(-1, 1, 1) + 1e-3).sqrt()
        if f"{key}.weight" in self.state:
            x = x * self.state[f"{key}.weight"].view(-1, 1, 1) + self.state[f"{key}.bias"].view(-1, 1, 1)
        return x

    def convolve(self, key, x, stride=1, depthwise=False):
        weight = self.state[f"{key}.conv.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight) if depthwise else 1)
        return self.normalise(f"{key}.bn", x)

    def candidate(self, name, key, x, stride):
        if name == "skip":
            return self.normalise(f"{key}.bn", x) if f"{key}.bn.running_mean" in self.state else 0 * x
        if name != "k3_e1":
            x = self.convolve(f"{key}.expand", x).clamp(0, 6)
        return self.convolve(f"{key}.project", self.convolve(f"{key}.depthwise", x, stride, depthwise=True).clamp(0, 6))

    def __call__(self, x, weights):
        """``weights[j][k]`` is that of the k-th candidate of block j."""
        x = self.convolve("stem", x, self.row.stem_stride).clamp(0, 6)
        x = self.candidate("k3_e1", "first", x, 1)
        node, before = 0, self.row.first
        for stage, channels, first_stride in zip(self.stages, self.row.stages, self.row.strides):
            for place, names in enumerate(stage):
                stride = first_stride if place == 0 else 1
                terms = [
                    weights[node][k] * self.candidate(name, f"blocks.{node}.operations.{k}", x, stride)
                    for k, name in enumerate(names)
                ]
                x = sum(terms, start=x if (stride, before) == (1, channels) else torch.zeros_like(terms[0]))
                node, before = node + 1, channels
        x = self.convolve("head", x).clamp(0, 6).mean((2, 3))
        return x @ self.state["classifier.weight"].T + self.state["classifier.bias"]


def literal(network, stages, training, row=WIDTHS["digits"]):
    return Literal(stages, dict(network.named_parameters()) | dict(network.named_buffers()), training, row)


def dense(connections):
    """The coefficients of all candidates of each block, zero where one does not run."""
    return [
        torch.zeros(size, dtype=torch.float64).index_put((torch.tensor(node),), c)
        for size, node, c in zip(SPACE.sizes, connections.support, connections.coefficients)
    ]


@pytest.mark.parametrize(
    ("one_stage", "training", "sparseness"), [(False, True, 1), (True, False, 1), (False, False, 2), (True, True, 2)]
)
def test_equals_the_sum_over_all_candidates(one_stage, training, sparseness):
    network = super_net(one_stage).train(training)
    twin = copy.deepcopy(network)
    connections = random_connections(sparseness, sparseness)
    leaves = [c.requires_grad_() for c in connections.coefficients]
    running = network.running_parameters(connections)
    names = {id(p): name for name, p in network.named_parameters()}
    logits = network(images(), connections).logits
    expected = literal(twin, SPACE.stages, training)(images(), dense(connections))
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)

    twins = dict(twin.named_parameters())
    projection = torch.randn(logits.shape, generator=generator(2, "projection"), dtype=logits.dtype)
    ours = torch.autograd.grad((logits * projection).sum(), [*running, *leaves])
    theirs = torch.autograd.grad((expected * projection).sum(), [*(twins[names[id(p)]] for p in running), *leaves])
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)
    idle = [p for p in network.parameters() if id(p) not in set(map(id, running))]
    unused = torch.autograd.grad(network(images(), connections).logits.sum(), idle, allow_unused=True)
    assert idle and all(gradient is None for gradient in unused)


@pytest.mark.parametrize("widths", ["default", "gpu", "cifar"])
def test_a_target_network_of_other_widths_is_its_definition(widths):
    row = WIDTHS[widths]
    chain = ChainSpace(widths, (2,) * (len(row.stages) - 1) + (1,))
    genotype = chain.genotype(chain.random(generator(3, "chain")))
    with initialising(0, "weights"):
        network = settle(target_network(genotype, widths=widths, in_channels=1, num_classes=10)).eval()
    ones = [[1.0] * len(block) for block in genotype.blocks]
    expected = literal(network, genotype.chain, False, row)(images(size=33), ones)
    torch.testing.assert_close(network(images(size=33)).logits, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_coefficient_one_equals_the_target_network_to_the_last_bit(training):
    network = super_net(one_stage=True).train(training)
    for seed in range(3):
        connections = random_connections(seed, coefficient=1.0)
        target = SPACE.target_network(SPACE.genotype(connections.support, one_stage=True), **SIZES).double()
        target.load_state_dict(network.extract_state(network.state_dict(), connections.support))
        target.to(memory_format=torch.channels_last).train(training)
        assert torch.equal(network(images(), connections).logits, target(images()).logits)


def test_a_two_stage_super_net_equals_a_network_with_the_same_bns():
    """Its MBConvs' BNs have no gamma and beta, and its skips have a BN."""
    network, connections = super_net(one_stage=False), random_connections(4, coefficient=1.0)
    genotype = SPACE.genotype(connections.support)
    target = ChainNetwork(genotype.chain, affine=False, skip_bn=True, **SIZES).double()
    target.load_state_dict(network.extract_state(network.state_dict(), connections.support))
    torch.testing.assert_close(network(images(), connections).logits, target(images()).logits, rtol=1e-12, atol=1e-12)
    norms = [(name, module) for name, module in network.named_modules() if isinstance(module, BatchNorm)]
    affine = {name for name, module in norms if module.weight is not None}
    skips = {f"blocks.{node}.operations.6.bn" for node in (1, 3, 4, 5)}
    assert affine == {"stem.bn", "first.depthwise.bn", "first.project.bn", "head.bn"} | skips


def test_a_skip_adds_nothing_in_a_two_stage_chain_and_has_a_gradient_in_a_search():
    with initialising(0, "weights"):
        network = target_network(ChainGenotype(((("k3_e3",), ("skip",)), (("k5_e6",), ("skip",)))), **SIZES).eval()
        shorter = target_network(ChainGenotype(((("k3_e3",),), (("k5_e6",),))), **SIZES).eval()
    state = network.state_dict()
    shorter.load_state_dict({key.replace("blocks.2", "blocks.1"): value for key, value in state.items()})
    assert torch.equal(network(images(torch.float32)).logits, shorter(images(torch.float32)).logits)
    for one_stage in (False, True):
        searched = super_net(one_stage)
        support = SPACE.connected(((),) * len(SPACE.sizes))
        coefficients = tuple(torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in support)
        F.cross_entropy(searched(images(), Connections(support, coefficients)).logits, torch.arange(5)).backward()
        assert support == ((0,), (6,), (0,), (6,), (6,), (6,))
        assert all(c.grad.abs() > 1e-4 for c in coefficients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coefficients_are_absorbed_to_the_last_bit(dtype):
    with initialising(0, "weights"):
        network = settle(target_network(EVERYTHING, **SIZES), dtype).eval()
    values = torch.tensor([-0.7, 1e-8, 50.0, 0.3, -2.0, 0.0, 1.1, -1e-3], dtype=torch.float64)
    sizes = [len(block) for block in EVERYTHING.blocks]
    weighted = WeightedNetwork(network, Connections(tuple(tuple(range(n)) for n in sizes), values.split(sizes)))
    plain = absorb(weighted)
    assert torch.equal(plain(images(dtype)).logits, weighted(images(dtype)).logits)
    if dtype == torch.float64:  # outputs multiplied by their coefficients, with the batch's own statistics too
        for training in (False, True):
            expected = literal(network, EVERYTHING.chain, training)(images(), values.split(sizes))
            scores = plain.train(training)(images()).logits
            assert (scores - expected).abs().max() < 1e-12 * expected.abs().max()
    two_stage = target_network(ChainGenotype(EVERYTHING.chain), **SIZES)
    with pytest.raises(UserError, match="only be absorbed in a one-stage network"):
        absorb(WeightedNetwork(two_stage, weighted.connections))


def test_a_deployed_network_keeps_the_batch_norms_of_skips_alone():
    with initialising(0, "weights"):
        network = settle(target_network(EVERYTHING, **SIZES)).eval()
    folded = deployed(network, fold=True)
    torch.testing.assert_close(folded(images()), network(images()).logits, rtol=1e-10, atol=1e-11)
    parents = {type(m) for m in folded.modules() for child in m.children() if isinstance(child, BatchNorm)}
    assert parents == {Skip}


def test_drop_path_scales_what_a_shortcut_can_replace():
    chain = (("k3_e3",), ("k3_e6",)), (("k5_e6",), ("skip",), ("k7_e3", "skip"), ("k7_e6",))
    with initialising(0, "weights"):
        network = settle(target_network(ChainGenotype(chain, "none"), **SIZES)).eval()
    assert network.num_connections() == 7
    assert network.num_connections(Connections(((0,), (), (0,), (0,), (1,), (0,)))) == 5
    scales = torch.rand(5, 7, generator=generator(0, "scales"), dtype=torch.float64)
    scales[0] = 0.0
    logits = network(images(), drop_path=scales).logits
    for image, (x, own) in enumerate(zip(images().split(1), scales.tolist())):
        weights = [[1.0], [own[1]], [1.0], [1.0], [own[4], 1.0], [own[6]]]
        expected = literal(network, ChainGenotype(chain).chain, False)(x, weights)
        torch.testing.assert_close(logits[image], expected[0], rtol=1e-10, atol=1e-12)


def test_bn_relu6_and_the_mean_are_counted_beside_convolutions():
    build = partial(target_network, EVERYTHING, **SIZES)
    counts = count_built(build, 1, 16)
    with torch.device("meta"):
        network = build().eval()
    elements = []

    def of_convolution(module, inputs, output):
        # BN, and what follows it: a ReLU6, but for an MBConv's last convolution
        elements.append(output.numel() * (2 if module in projections else 3))

    projections = [module for name, module in network.named_modules() if name.endswith("project")]
    for module in network.modules():
        if isinstance(module, ConvolutionBN):
            module.register_forward_hook(of_convolution)
        elif isinstance(module, Skip):
            module.register_forward_hook(lambda module, inputs, output: elements.append(2 * output.numel()))
    network.head.register_forward_hook(lambda module, inputs, output: elements.append(output.numel()))
    network(torch.empty(1, 1, 16, 16, device="meta"))
    assert counts.all_layers_multiply_adds - counts.conv_linear_multiply_adds == sum(elements)
    assert counts.own_relus_multiply_adds == counts.all_layers_multiply_adds


@pytest.mark.parametrize("name", NAMES)
def test_what_a_candidate_keeps_is_what_the_estimate_of_memory_counts(name):
    """How much more a step needs with one block more, in tensors of its output, of which one is its output."""

    def activations(times):
        space = ChainSpace("digits", (1, times))
        names = space.genotype(tuple((each.index(name) if name in each else 0,) for each in space.candidates))
        build = partial(ChainNetwork, names.chain, False, True, **SIZES)
        return estimate_peak_memory(build, None, batch_size=32, in_channels=1, image_size=64).activations

    tensor = 4 * 32 * 24 * 32**2
    assert (activations(9) - activations(8)) / tensor == pytest.approx(CANDIDATES[name].kept + 1, abs=0.02)


def test_the_heaviest_candidates_need_the_most_memory():
    space = ChainSpace("digits", (1, 2))
    assert space.heaviest(1) == ((5,), (5,), (5,))

    def step(support):
        build = partial(space.super_net, **SIZES)
        estimate = estimate_peak_memory(build, Connections(support), batch_size=8, in_channels=1, image_size=16)
        return estimate.parameters + estimate.step

    heaviest = space.heaviest(2)
    assert [set(node) for node in heaviest] == [{3, 5}] * 3
    most = step(heaviest)
    for node, k in ((0, 4), (1, 2), (2, 4)):
        assert step((*heaviest[:node], (k, 5), *heaviest[node + 1 :])) < most


def test_relu6_in_place_is_torchs():
    values = torch.tensor([-1.0, -0.0, 0.0, 1e-30, 3.0, 5.999, 6.0, 7.0, torch.inf, -torch.inf], dtype=torch.float64)
    results = []
    for own in (relu6_, F.relu6):
        leaf = values.clone().requires_grad_()
        x = leaf * 1.0
        y = own(x)
        (gradient,) = torch.autograd.grad((y * torch.arange(1.0, 11.0)).sum(), leaf)
        results.append((y, gradient))
        assert (y.data_ptr() == x.data_ptr()) == (own is relu6_)
    assert torch.equal(*(y for y, _ in results)) and torch.equal(*(gradient for _, gradient in results))

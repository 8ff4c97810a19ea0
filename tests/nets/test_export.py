"""Exported files against the network they come from, and folded batch normalisations against the unfolded."""

import collections
import copy
import math
import warnings

import onnx
import pytest
import torch

from isnas.base.errors import UserError
from isnas.base.random import generator, initialising
from isnas.nets.count import count, num_params
from isnas.nets.export import TOLERANCES, deployed, export_onnx, export_torch, largest_difference, latency
from isnas.space.batch_norm import BatchNorm
from isnas.space.cells.genotype import NAMES, Genotype
from isnas.space.cells.network import CellNetwork, target_network
from isnas.space.cells.operations import BatchNorms, Pool, Skip

pytestmark = pytest.mark.slow

#: Every operation: at stride 1 in the normal cell, from inputs and from a node, at stride 2 in the reduction cell. One
#: node of each has no connection.
NORMAL = (*(((operation, i % 3),) for i, operation in enumerate(NAMES)), ())
REDUCE = (*(((operation, i % 2),) for i, operation in enumerate(NAMES)), ())
CONCAT = tuple(range(2, 2 + len(NORMAL)))
SIZES = {"in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 3}
NORMALISE = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
EXPORT = {"torch": export_torch, "onnx": export_onnx}
SUFFIX = {"torch": ".pt2", "onnx": ".onnx"}


def randomise(network):
    """A network whose batch normalisations have statistics of what they read, and random gamma and beta."""
    rng = generator(0, "affine")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm) and module.weight is not None:
                module.weight.uniform_(0.5, 1.5, generator=rng)
                module.bias.uniform_(-0.5, 0.5, generator=rng)
        for _ in range(3):
            network.train()(torch.randn(8, 3, 32, 32, generator=rng).to(network.classifier.weight.dtype))
    return network


def make_network(extra_bn, stem="cifar", dtype=torch.float32):
    with initialising(0, "weights"):
        network = target_network(
            Genotype(NORMAL, CONCAT, REDUCE, CONCAT, extra_bn), stem=stem, auxiliary=stem == "cifar", **SIZES
        )
    return randomise(network.to(dtype).to(memory_format=torch.channels_last))


def batch_norms(module):
    return sum(isinstance(part, BatchNorm) for part in module.modules())


@pytest.mark.parametrize(("extra_bn", "stem"), [("none", "cifar"), ("pools", "imagenet"), ("all", "cifar")])
@pytest.mark.parametrize("size", [32, 27])
def test_folding_leaves_the_function_as_it_is(extra_bn, stem, size):
    network = make_network(extra_bn, stem, torch.float64)
    plain, folded = deployed(network), deployed(network, fold=True)
    x = torch.randn(5, 3, size, size, generator=generator(1, "images"), dtype=torch.float64)
    expected = network.eval()(x).logits
    torch.testing.assert_close(plain(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(folded(x), expected, rtol=0, atol=1e-12)

    without_convolution = [part for part in network.modules() if isinstance(part, Pool | Skip) and part.bn is not None]
    assert batch_norms(folded) == len(without_convolution)
    assert batch_norms(plain) == batch_norms(network) - 2 * (stem == "cifar")
    assert len(without_convolution) == {"none": 0, "pools": 6, "all": 7}[extra_bn]


def test_folding_without_gamma_and_beta():
    bn = BatchNorms(affine=False, after_pool=True, after_skip=False)
    network = randomise(CellNetwork((NORMAL, CONCAT), (REDUCE, CONCAT), bn, stem="cifar", **SIZES).double()).eval()
    x = torch.randn(5, 3, 16, 16, generator=generator(1, "images"), dtype=torch.float64)
    torch.testing.assert_close(deployed(network, fold=True)(x), network(x).logits, rtol=0, atol=1e-12)


def test_the_network_stays_as_it_is_and_the_copy_has_no_auxiliary_head():
    network = make_network("all")
    before = copy.deepcopy(network.state_dict())
    module = deployed(network, fold=True)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert network.training and network.auxiliary is not None and all(p.requires_grad for p in network.parameters())
    assert not any("auxiliary" in name for name in module.state_dict())

    plain = deployed(network)
    assert sum(p.numel() for p in plain.parameters()) == num_params(network)
    sizes = count(copy.deepcopy(plain).to("meta"), 3, 32), count(copy.deepcopy(network).to("meta"), 3, 32)
    assert sizes[0] == sizes[1]


def test_normalisation_is_part_of_the_module():
    network = make_network("none").eval()
    pixels = torch.rand(3, 3, 16, 16, generator=generator(1, "images"))
    mean, std = (torch.tensor(values)[None, :, None, None] for values in NORMALISE)
    expected = network((pixels - mean) / std).logits
    torch.testing.assert_close(deployed(network, normalise=NORMALISE)(pixels), expected)


@pytest.mark.parametrize("format", EXPORT)
@pytest.mark.parametrize(("extra_bn", "fold", "normalise"), [("all", False, NORMALISE), ("pools", True, None)])
def test_a_file_computes_what_the_network_computes(tmp_path, capfd, extra_bn, fold, normalise, format):
    network = make_network(extra_bn)
    shape, path = (3, 17, 16), tmp_path / f"network{SUFFIX[format]}"
    module = deployed(network, fold=fold, normalise=normalise)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EXPORT[format](module, shape, path)
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert b"cells/network.py" not in path.read_bytes()

    plain = deployed(network, normalise=normalise)
    assert largest_difference(path, plain, shape) <= TOLERANCES[format]
    plain.network.classifier.bias[3] += 1e-2
    assert largest_difference(path, plain, shape, num_images=3) == pytest.approx(1e-2, abs=1e-4)
    plain.network.classifier.bias[3] = math.nan
    assert math.isnan(largest_difference(path, plain, shape, num_images=3))

    if format == "onnx":
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        operators = collections.Counter(node.op_type for node in model.graph.node)
        ends = {
            end.name: end.type.tensor_type.shape.dim[0].dim_param for end in (*model.graph.input, *model.graph.output)
        }
        assert ends == {"images": "batch", "logits": "batch"}
        assert operators["BatchNormalization"] == batch_norms(module)
    else:
        names = [node.target for node in torch.export.load(path).graph.nodes]
        assert names.count(torch.ops.aten.batch_norm.default) == batch_norms(module)


def test_a_file_in_the_wrong_place_is_the_users_mistake(tmp_path):
    module = deployed(make_network("none"))
    with pytest.raises(UserError, match="no folder"):
        export_onnx(module, (3, 16, 16), tmp_path / "missing" / "network.onnx")
    with pytest.raises(UserError, match=r"\.pt2"):
        export_torch(module, (3, 16, 16), tmp_path / "network.onnx")


def test_latency_counts_every_run():
    runs = []
    assert 0 < latency(lambda image: runs.append(image.shape) or image, (3, 8, 8), repetitions=4, warm_up=2) < 100
    assert runs == [(1, 3, 8, 8)] * 6

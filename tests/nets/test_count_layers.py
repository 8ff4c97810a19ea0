"""Counts of the published cells' networks against torch's counter, layer by layer, and against arithmetic on paper."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from isnas.nets.count import count
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import target_network
from isnas.space.cells.published import PUBLISHED, on_imagenet

pytestmark = pytest.mark.slow

CIFAR = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 36, "layers": 20}
IMAGENET = {"stem": "imagenet", "in_channels": 3, "num_classes": 1000, "init_channels": 48, "layers": 14}

#: Genotype, sizes of the network, side of the image.
NETWORKS = {f"{name} cifar": (entry.genotype, CIFAR, 32) for name, entry in PUBLISHED.items()} | {
    f"{name} imagenet": (on_imagenet(PUBLISHED[name].genotype), IMAGENET, 224)
    for name in ("ISTA_onestage", "ISTA_ImageNet")
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_sum_over_layers_is_the_count(name):
    """torch's counter gives two operations per multiply-add of convolutions and matrix products."""
    genotype, sizes, image_size = NETWORKS[name]
    with torch.device("meta"):
        network = target_network(genotype, **sizes, auxiliary=True).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, image_size, image_size, device="meta"))
    layers = {
        f"CellNetwork.{key}" for key, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    per_layer = {key: sum(flops.values()) for key, flops in counter.get_flop_counts().items() if key in layers}
    params = {key: p.numel() for key, p in network.named_parameters() if key.split(".")[0] != "auxiliary"}
    counts = count(network, 3, image_size)

    assert {key for key in layers if ".auxiliary." not in key} == per_layer.keys() < layers
    assert sum(per_layer.values()) == counter.get_total_flops() == 2 * counts.conv_linear_multiply_adds
    assert sum(params.values()) == params_on_paper(genotype, sizes) == counts.num_params


def params_on_paper(genotype: Genotype, sizes: dict) -> int:
    """Parameters from the definition of the DARTS networks; a BN of c channels has 2 c."""
    channels, layers, image_channels = sizes["init_channels"], sizes["layers"], sizes["in_channels"]
    if sizes["stem"] == "cifar":
        total = 9 * image_channels * 3 * channels + 2 * 3 * channels
        before, last = 3 * channels, 3 * channels
    else:
        half = channels // 2
        total = 9 * image_channels * half + 2 * half + 9 * half * channels + 9 * channels**2 + 2 * 2 * channels
        before, last = channels, channels
    for layer in range(layers):
        reduction = layer in (layers // 3, 2 * layers // 3)
        channels *= 2 if reduction else 1
        nodes, concat = genotype.normal, genotype.normal_concat
        if reduction:
            nodes, concat = genotype.reduce, genotype.reduce_concat
        total += (before + last) * channels + 2 * 2 * channels
        for operation, predecessor in (pair for node in nodes for pair in node):
            total += params_of(operation, channels, reduction and predecessor < 2, genotype.extra_bn)
        before, last = last, len(concat) * channels
    return total + last * sizes["num_classes"] + sizes["num_classes"]


def params_of(operation: str, c: int, strided: bool, extra_bn: str) -> int:
    bn = 2 * c
    if operation == "skip_connect":
        return c * c + bn if strided else bn * (extra_bn == "all")
    if "pool" in operation:
        return bn * (extra_bn != "none")
    if operation == "conv_7x1_1x7":
        return 2 * 7 * c * c + bn
    separable = int(operation[-1]) ** 2 * c + c * c + bn
    return 2 * separable if operation.startswith("sep") else separable

"""A small network that knows its images, and its weights file, without any training; with every operation."""

import io
import struct
import zipfile
from pathlib import Path

import torch

from isnas.base.random import generator, initialising
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.trained import save_trained
from isnas.space.batch_norm import BatchNorm
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.network import CellNetwork, target_network
from isnas.space.cells.operations import OPERATIONS

_NAMES = tuple(OPERATIONS)
_CELL = (tuple((name, i % 2) for i, name in enumerate(_NAMES[:5])), tuple((name, 2) for name in _NAMES[5:]))
GENOTYPE = Genotype(_CELL, (2, 3), _CELL, (2, 3), "pools")
DIGITS = DatasetInfo("digits", tuple("0123456789"), (0.25,), (0.5,), 16, False)  # not the statistics of the images


def sizes_for(info: DatasetInfo) -> dict:
    return {
        "stem": "cifar",
        "in_channels": info.channels,
        "num_classes": info.num_classes,
        "init_channels": 4,
        "layers": 3,
    }


def make_network(info: DatasetInfo, auxiliary: bool = False) -> CellNetwork:
    """A network with random weights, and in its batch normalisations statistics of noise and random gamma and beta."""
    rng = generator(0, "affine")
    with initialising(0, "weights"):
        network = target_network(GENOTYPE, **sizes_for(info), auxiliary=auxiliary)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.weight.uniform_(0.5, 1.5, generator=rng)
                module.bias.uniform_(-0.5, 0.5, generator=rng)
        for _ in range(3):
            network.train()(torch.randn(8, info.channels, info.image_size, info.image_size, generator=rng))
    return network.to(memory_format=torch.channels_last).eval()


@torch.no_grad()
def fit_classifier(network: CellNetwork, x: torch.Tensor, labels: torch.Tensor) -> None:
    """Choose the classifier's weights by least squares on images (B, C, H, W) and their labels."""
    features = []
    hook = network.classifier.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    network(x)
    hook.remove()
    targets = torch.nn.functional.one_hot(labels, network.classifier.out_features).float()
    ones = torch.ones(len(x), 1)
    solution = 8 * torch.linalg.lstsq(torch.cat([features[0], ones], 1), targets, driver="gelsd").solution
    network.classifier.weight.copy_(solution[:-1].T)
    network.classifier.bias.copy_(solution[-1])


def save_network(
    path: Path, network: CellNetwork | None = None, info: DatasetInfo = DIGITS, options: DataOptions | None = None
) -> CellNetwork:
    """Write weights of a network for images like ``info``'s; by default one for digits."""
    network = network or make_network(info)
    options = options or DataOptions(dataset=info.name, data="images" if info.name == "imagefolder" else "")
    path.parent.mkdir(exist_ok=True)
    save_trained(path, network, GENOTYPE, sizes_for(info), options, info)
    return network


def with_one_bit_changed(content):
    """In the last byte of the largest tensor: what lies between the entries of an archive may change."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    name_size, extra_size = struct.unpack("<HH", content[largest.header_offset + 26 : largest.header_offset + 30])
    place = largest.header_offset + 30 + name_size + extra_size + largest.file_size - 1
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

"""A trained network in one file that needs nothing else: architecture, sizes, the data it is for, weights."""

from __future__ import annotations

import re
import textwrap
import warnings
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.base.files import write_tensors
from isnas.base.options import build, option, to_dict
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.space.cells.genotype import Genotype, genotype_from_json
from isnas.space.cells.network import target_network
from isnas.space.space import AnyGenotype, Network

_FORMAT = "isnas network 1"


@dataclass(frozen=True)
class TrainedOptions:
    """Which trained network a tool uses, and how many threads."""

    run: str = option("", "run folder of evaluate.py, or its weights.pt", positional=True)
    threads: int = option(0, "CPU threads; 0 leaves it to torch", minimum=0, maximum=1024)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not self.run:
            raise UserError("give a run folder of evaluate.py, or its weights.pt")


@dataclass(frozen=True)
class Computation:
    """How a training computed the scores of its test, whose last bits depend on it."""

    batch_size: int = option(96, "images at a time", minimum=1)
    amp: str = option("off", "lower precision in the network", choices=("off", "bf16", "fp16"))
    channels_last: bool = option(True, "layout of images in memory")


@dataclass(frozen=True)
class Trained:
    """A target network, on the CPU and in eval mode, and what is known about it.

    ``sizes`` are the arguments of its ``target_network``, ``data`` says which images it was trained
    on, ``info`` how they are normalised and what the classes are called, and ``computation`` how it was tested.
    """

    network: Network
    genotype: Genotype
    sizes: dict[str, Any]
    data: DataOptions
    info: DatasetInfo
    computation: Computation


def save_trained(
    path: Path, network: Network, genotype: AnyGenotype, sizes: dict[str, Any], options: DataOptions, info: DatasetInfo
) -> None:
    """Write a target network without its auxiliary head; ``options`` are all those of its training."""
    state = {key: t.cpu() for key, t in network.state_dict().items() if not key.startswith("auxiliary.")}
    names = [field.name for field in fields(Computation)]
    content = {
        "format": _FORMAT,
        "genotype": genotype.to_json(),
        "sizes": sizes,
        "data": {field.name: to_dict(options)[field.name] for field in fields(DataOptions)},
        "info": asdict(info),
        "computation": {key: value for key, value in to_dict(options).items() if key in names},
        "weights": state,
    }
    write_tensors(path, content)


def load_trained(path: Path) -> Trained:
    """The network in a weights file, or in the run folder ``path``. Nothing in the file is executed.

    Raises:
        UserError: when there is none, or the file is damaged, of another kind, or of another architecture than it says.
    """
    file = weights_file(path)
    content = _read(file)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        of_search = isinstance(content, dict) and "architecture" in content
        remedy = f"it is a search's; train its cell with evaluate.py --arch {file.parent}" if of_search else "train one"
        raise UserError(f"{file} does not hold a trained network: {remedy}")
    try:
        genotype = genotype_from_json(content["genotype"])
        sizes, computation = dict(content["sizes"]), build(Computation, content["computation"])
        data = build(DataOptions, content["data"])
        info = DatasetInfo(**content["info"])
        with torch.device("meta"):
            network = target_network(genotype, **sizes)
        if (sizes["in_channels"], sizes["num_classes"]) != (info.channels, info.num_classes):
            raise ValueError("the network takes other channels or tells other classes apart than the images have")
    except Exception as error:  # a file that was changed by hand can be wrong anywhere
        raise UserError(f"{file} does not describe a trained network ({_reason(error)})") from None
    try:
        network.load_state_dict(content["weights"], assign=True)
    except Exception as error:
        raise UserError(f"the weights in {file} are not of the architecture that it names: {_reason(error)}") from None
    return Trained(network.float().eval(), genotype, sizes, data, info, computation)


def weights_file(path: Path) -> Path:
    """The weights file of the run folder ``path``, or ``path`` itself if it is a file.

    Raises:
        UserError: when there is none.
    """
    file = path / "weights.pt" if path.is_dir() else path
    if file.is_file():
        return file
    if not path.exists():
        raise UserError(f"there is no {path}; give a run folder of evaluate.py, or its weights.pt")
    for seed in sorted(path.glob("seed-*")):
        raise UserError(f"{path} holds several runs, name one of them: {seed}")
    if (path / "config.yaml").is_file():
        raise UserError(f"the run {path} is not finished, it has no weights.pt yet; go on with --resume {path}")
    raise UserError(f"{path} holds no weights.pt; give a run folder of evaluate.py")


def _read(file: Path) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:  # torch.load does not look at the checksums that torch.save writes
            damaged_part = archive.testzip()
        if damaged_part is not None:
            raise ValueError(f"the checksum of {damaged_part} does not match")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about what it then refuses
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from None
    except Exception:  # whatever is in the file, torch raises many kinds
        raise UserError(f"{file} is damaged, or not a file of weights alone; it was not loaded") from None


def _reason(error: Exception) -> str:
    text = re.sub(r"^Error\(s\) in loading state_dict for \w+:", "", str(error))
    return textwrap.shorten(text, 200, placeholder=" ...")

"""A trained network in one file that needs nothing else: architecture, sizes, the data it is for, weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch

from isnas.base.errors import UserError
from isnas.base.options import Component, build, option, to_dict
from isnas.base.text import one_line, shown
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.image_files import CROP, GEOMETRIES, geometry_of
from isnas.engine.hub import HubMixin
from isnas.engine.run import runs_in
from isnas.engine.trained_options import WHAT_TO_GIVE
from isnas.engine.weights import (
    HUB_FILE,
    WEIGHTS_FILES,
    fill,
    kind_of_content,
    read_weights,
    require_plain,
    write_weights,
)
from isnas.space.genotype_files import require_count
from isnas.space.in_files import InFiles, row_of
from isnas.space.space import AnyGenotype, Network

_FORMAT = "isnas network 1"

#: How the format of a language model's file begins (isnas/engine/language/trained.py).
LANGUAGE_MODEL = "isnas language model"

#: Of the sizes of a network, the arguments of ``target_network``, those that follow from its images.
OF_IMAGES = ("in_channels", "num_classes")

#: The remedy for a network whose weights are finite, but its scores are not.
DIVERGED = "its training has diverged, train it again with a lower --learning_rate or less --amp"


@dataclass(frozen=True)
class Computation(Component):
    """How a training computed the scores of its test, whose last bits depend on it."""

    batch_size: int = option(96, "images at a time", minimum=1, maximum=10**6)
    amp: str = option("off", "lower precision in the network", choices=("off", "bf16", "fp16"))
    channels_last: bool = option(True, "layout of images in memory")


@dataclass(frozen=True)
class Trained(HubMixin):
    """A target network, on the CPU and in eval mode, and what is known about it.

    ``sizes`` are the arguments of its ``target_network``, ``data`` says which images it was trained
    on, ``info`` how they are normalised and what the classes are called, ``computation`` how it was tested, and
    ``geometry``, one of :data:`isnas.data.image_files.GEOMETRIES`, how a test image was cut and scaled.
    """

    network: Network
    genotype: AnyGenotype
    sizes: dict[str, Any]
    data: DataOptions
    info: DatasetInfo
    computation: Computation
    geometry: str

    task: ClassVar[str] = "image-classification"

    def content(self) -> dict[str, Any]:
        return _content(
            self.network, self.genotype, self.sizes, self.data, self.info, to_dict(self.computation), self.geometry
        )

    @classmethod
    def of_content(cls, content: Any, file: Path) -> Trained:
        return trained_of(content, file)

    def about(self) -> str:
        size, info = self.info.image_size, self.info
        kind = "RGB" if info.channels == 3 else "grey"
        return (
            f"A network for images of {info.name}: {info.num_classes} classes, {size} x {size} pixels, {kind}, the "
            f"{self.geometry}."
        )


def save_trained(
    path: Path, network: Network, genotype: AnyGenotype, sizes: dict[str, Any], options: DataOptions, info: DatasetInfo
) -> None:
    """Write a target network without its auxiliary head; ``options`` are all those of its training.

    It is a safetensors file where ``path`` ends so.
    """
    names = [field.name for field in fields(Computation)]
    computation = {key: value for key, value in to_dict(options).items() if key in names}
    write_weights(path, _content(network, genotype, sizes, options, info, computation, geometry_of(info.name)))


def _content(
    network: Network,
    genotype: AnyGenotype,
    sizes: dict[str, Any],
    options: DataOptions,
    info: DatasetInfo,
    computation: dict[str, Any],
    geometry: str,
) -> dict[str, Any]:
    """What a file holds."""
    state = {key: t.cpu() for key, t in network.state_dict().items() if not key.startswith("auxiliary.")}
    return {
        "format": _FORMAT,
        "genotype": genotype.to_json(),
        "sizes": sizes,
        "data": {field.name: to_dict(options)[field.name] for field in fields(DataOptions)},
        "info": asdict(info),
        "computation": computation,
        "geometry": geometry,
        "weights": state,
    }


def load_trained(path: Path) -> Trained:
    """The network in a weights file, or in the run folder ``path``. Nothing in the file is executed.

    Raises:
        UserError: when there is none, or the file is damaged, of another kind, of another architecture than it says, or
            of numbers that are not finite.
    """
    file = weights_file(path)
    return trained_of(read_weights(file), file)


def trained_of(content: Any, file: Path) -> Trained:
    """The network in the content of the weights file ``file``.

    Raises:
        UserError: as :func:`load_trained` does.
    """
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UserError(f"{file} {_remedy(content, file)}")
    try:
        weights = content.pop("weights")
        require_plain(content)
        row = row_of(content["genotype"])
        genotype = row.genotype(content["genotype"])
        computation, data = build(Computation, content["computation"]), build(DataOptions, content["data"])
        info = _info(content["info"], data)
        sizes = _sizes(content["sizes"], info, len(weights), genotype, row)
        geometry = content.get("geometry", geometry_of(data.dataset))
        if geometry not in GEOMETRIES:
            raise ValueError(f"unknown geometry {shown(geometry)}")
        if geometry == CROP and info.channels != 3:
            raise ValueError(f"images of {info.name} have 3 channels, not {info.channels}")
        with torch.device("meta"):
            network = row.target_network(genotype, **sizes)
    except Exception as error:  # a file that was changed by hand can be wrong anywhere
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{file} does not describe a trained network ({one_line(reason)})") from None
    fill(network, weights, file)
    if computation.channels_last:  # which safetensors files do not know
        network.to(memory_format=torch.channels_last)
    return Trained(network.eval(), genotype, sizes, data, info, computation, geometry)


def take_weights(network: Network, genotype: AnyGenotype, sizes: dict[str, Any], info: DatasetInfo, run: str) -> str:
    """Give a network to be trained the weights of the trained one in ``run``; returns a line that says what it got.

    Where other classes are to be told apart the classifier keeps the weights it starts from, as an auxiliary head does.

    Raises:
        UserError: when there is none, or it is of another architecture or size.
    """
    trained = load_trained(Path(run))
    if trained.genotype != genotype:
        raise UserError(f"--arch is not the architecture of --weights {run}; leave it out")
    if sizes["in_channels"] != trained.sizes["in_channels"]:
        raise UserError(
            f"the images have {sizes['in_channels']} channels, but the network in {run} takes "
            f"{trained.sizes['in_channels']}; give other images, or --grey for colour ones"
        )
    for name, size in trained.sizes.items():
        if name not in OF_IMAGES and sizes[name] != size:
            raise UserError(f"--{name} {sizes[name]} is not the {size} of --weights {run}; leave it out")
    anew = info.classes != trained.info.classes
    state = {key: t for key, t in trained.network.state_dict().items() if not (anew and key.startswith("classifier."))}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected and all(key.startswith(("classifier.", "auxiliary.")) for key in missing)
    classifier = f"; the classifier is new, for {info.num_classes} other classes" if anew else ""
    return f"weights of the network in {run}{classifier}"


def weights_file(path: Path) -> Path:
    """The weights file of the run folder ``path``, or ``path`` itself if it is a file.

    Raises:
        UserError: when there is none.
    """
    try:
        return _weights_file(path)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read {shown(str(path))}: {getattr(error, 'strerror', None) or error}") from None


def _weights_file(path: Path) -> Path:
    is_folder = path.is_dir()
    files = [path / name for name in (*WEIGHTS_FILES, HUB_FILE)] if is_folder else [path]
    file = next((file for file in files if file.exists()), files[0])
    if file.is_file():
        return file
    if not path.exists():
        raise UserError(f"there is no {path}; give {WHAT_TO_GIVE}")
    if not is_folder or file.exists():
        raise UserError(f"{file} is not a file; give {WHAT_TO_GIVE}")
    for part in runs_in(path):
        raise UserError(f"{path} holds several runs, name one of them: {part}")
    if (path / "config.yaml").is_file():
        raise UserError(f"the run {path} is not finished, it has no weights yet; go on with --resume {path}")
    raise UserError(f"{path} holds no weights.pt or weights.safetensors; give a run folder of evaluate.py")


def _remedy(content: Any, file: Path) -> str:
    """What a file holds that holds no network, and what to give in its place."""
    if isinstance(content, dict) and ("architecture" in content or content.keys() == {"network"}):
        return (
            f"does not hold a trained network: it is a search's; train its cell with evaluate.py --arch {file.parent}"
        )
    if isinstance(content, dict) and {"state", "records", "options"} <= content.keys():
        return (
            f"is a checkpoint of a run, not its trained network; give the run's folder once it has ended: {file.parent}"
        )
    if isinstance(content, dict) and str(content.get("format")).startswith(LANGUAGE_MODEL):
        return "holds a language model, and this is for networks of images; predict.py and test.py take both"
    if isinstance(content, dict) and isinstance(content.get("format"), str):
        return (
            f"does not hold a trained network as this version writes it, but {shown(content['format'])}; train one anew"
        )
    return f"{kind_of_content(content)}; train one with evaluate.py"


def _info(values: Any, data: DataOptions) -> DatasetInfo:
    """The facts of a dataset as a file has them, of the right types."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    info = DatasetInfo(**fields)
    if info.name != data.dataset:
        raise ValueError(f"name is {shown(info.name)}, dataset {shown(data.dataset)}")
    if not isinstance(info.classes, tuple) or not info.classes or not all(isinstance(k, str) for k in info.classes):
        raise ValueError(f"classes must be names, not {shown(info.classes)}")
    for name, least in (("mean", -1e6), ("std", 0.0)):
        numbers = getattr(info, name)
        fine = isinstance(numbers, tuple) and all(type(n) in (int, float) and least < n < 1e6 for n in numbers)
        if not fine or len(numbers) not in (1, 3) or len(numbers) != info.channels:
            raise ValueError(f"{name} must be a finite number per channel, and a std above 0, not {shown(numbers)}")
    if type(info.flip) is not bool:
        raise ValueError(f"flip must be true or false, not {shown(info.flip)}")
    if type(info.image_size) is not int:
        raise ValueError(f"image_size must be an integer, not {shown(info.image_size)}")
    build(DataOptions, to_dict(data) | {"image_size": info.image_size})  # its bounds
    return info


def _sizes(values: Any, info: DatasetInfo, num_tensors: int, genotype: AnyGenotype, row: InFiles) -> dict[str, Any]:
    """The sizes of a network as a file has them, such that building it takes no longer than its weights allow."""
    sizes = dict(values)
    row.check_sizes(sizes, num_tensors, genotype)
    for name in OF_IMAGES:
        require_count(name, sizes[name])
    if (sizes["in_channels"], sizes["num_classes"]) != (info.channels, info.num_classes):
        raise ValueError("the network takes other channels or tells other classes apart than the images have")
    return sizes

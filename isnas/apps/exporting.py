"""What ``isnas export`` does: a network as a file, and the file checked against the network."""

from __future__ import annotations

import copy
import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch

from isnas.apps.export import FORMATS, ExportOptions
from isnas.base.bars import stages
from isnas.base.errors import UserError
from isnas.base.extras import require
from isnas.base.files import replacing, write_json
from isnas.base.text import printable
from isnas.data.image_files import GEOMETRIES, preprocessing, shorter_side
from isnas.engine.run import find_device
from isnas.engine.trained import DIVERGED, Trained, load_trained, weights_file
from isnas.nets.count import Counts, count
from isnas.nets.export import (
    TOLERANCES,
    Deployed,
    deployed,
    export_onnx,
    export_torch,
    largest_difference,
    latency,
    load,
)


class Exported(NamedTuple):
    """A file that was written and checked: where it is, the description beside it, and its size.

    ``difference`` is the largest of its class scores from the network's, ``milliseconds`` what an image takes by the
    ``file`` and by the ``network``.
    """

    path: Path
    about: dict[str, Any]
    counts: Counts
    difference: float
    milliseconds: dict[str, float]


def export(options: ExportOptions) -> None:
    """Export the network that the options name."""
    path, about, counts, difference, milliseconds = exported(options)
    print(f"{path} and {path.name}.json")
    for end in ("input", "output"):
        name, dims, values = (about[end][key] for key in ("name", "shape", "values"))
        print(f"{end} {name}, float32 ({', '.join(map(str, dims))}): {values}")
    print(printable(f"classes {', '.join(about['classes'])}"))
    print(counts)
    print(f"loaded again, its scores differ by {difference:.1e} at most from the network's")
    print(
        f"latency at batch 1, {torch.get_num_threads()} CPU threads: {milliseconds['file']:.2f} ms by the file, "
        f"{milliseconds['network']:.2f} ms by PyTorch without it"
    )


def exported(options: ExportOptions) -> Exported:
    """Write the network that the options name as a file, and check the file.

    Raises:
        UserError: when there is no such network, a library is missing, or the file computes something else.
    """
    if options.format == "onnx":
        require("--format onnx", "onnx", "onnxscript", "onnxruntime")
    find_device("cpu", options.threads)
    trained = load_trained(Path(options.run))
    path = Path(options.output or weights_file(Path(options.run)).with_name("network" + FORMATS[options.format]))
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")

    shape = (trained.info.channels, trained.info.image_size, trained.info.image_size)
    normalise = (trained.info.mean, trained.info.std) if options.normalise else None
    network = deployed(trained.network, normalise=normalise)
    require_finite(network, shape, options.run)
    module = deployed(trained.network, fold=options.fold, normalise=normalise)
    counts = count(copy.deepcopy(module).to("meta"), *shape[:2])
    beside = path.with_name(path.name + ".json")
    with replacing(beside) as description_file, replacing(path) as model_file, stages(3, "exporting") as done:
        (export_torch if options.format == "torch" else export_onnx)(module, shape, model_file)
        done()
        difference = checked_difference(model_file, network, shape, options.format)
        done()
        milliseconds = {"file": latency(load(model_file), shape), "network": latency(network, shape)}
        done()
        about = description(trained, options, path) | {
            "params": counts.num_params,
            "multiply_adds": counts.conv_linear_multiply_adds,
            "largest_difference": difference,
            "sha256": hashlib.sha256(model_file.read_bytes()).hexdigest(),
        }
        write_json(description_file, about)
        beside.unlink(missing_ok=True)  # so that no model ever has another's description beside it
    return Exported(path, about, counts, difference, milliseconds)


def require_finite(network: Deployed, shape: tuple[int, int, int], name: str) -> None:
    """Refuse a network whose scores of random images are not finite.

    Raises:
        UserError: when one is not.
    """
    with torch.no_grad():
        if not network(network.random_images(100, shape, 0)).isfinite().all():
            raise UserError(f"{name} gives scores that are not finite; {DIVERGED}")


def checked_difference(file: Path, network: Deployed, shape: tuple[int, int, int], format: str) -> float:
    """The largest difference of class scores between a file and the network that was not folded.

    Raises:
        UserError: when it is larger than rounding explains: the format's tolerance, or where scores exceed 1, that
            times the largest score.
    """
    difference = largest_difference(file, network, shape)
    with torch.no_grad():
        largest = float(network(network.random_images(100, shape, 0)).abs().max())
    allowed = TOLERANCES[format] * max(1.0, largest)
    if not difference <= allowed < math.inf:
        raise UserError(
            f"the exported network's scores differ from the network's by {difference:.1e}, more than the {allowed:.1e} "
            f"that rounding explains; the file was not kept"
        )
    return difference


def description(trained: Trained, options: ExportOptions, path: Path) -> dict[str, Any]:
    """What a program that uses the file has to know."""
    info = trained.info
    colours = "RGB" if info.channels == 3 else "grey"
    values = f"pixels in [0, 1], {colours}" if options.normalise else f"(pixel in [0, 1] - mean) / std, {colours}"
    return {
        "file": path.name,
        "input": {
            "name": "images",
            "type": "float32",
            "shape": ["batch", info.channels, info.image_size, info.image_size],
            "values": values,
        },
        "geometry": {
            "name": trained.geometry,
            "meaning": GEOMETRIES[trained.geometry],
            "shorter_side": shorter_side(trained.geometry, info.image_size),
            "centre": info.image_size,
        },
        "preprocessing": preprocessing(trained.geometry, info, trained.data.grey),
        "output": {
            "name": "logits",
            "type": "float32",
            "shape": ["batch", info.num_classes],
            "values": "class scores; their softmax are probabilities",
        },
        "classes": info.classes,
        "mean": info.mean,
        "std": info.std,
        "folded": options.fold,
        "genotype": trained.genotype.to_json(),
    }

"""Networks to deploy: images in, class scores out, as a torch.export program or an ONNX model.

A file is whole or not there, holds its weights and no path of the machine that wrote it, and takes batches of any size
from 1 on; channels, height and width are fixed. Neither format needs this project to run.
"""

from __future__ import annotations

import copy
import io
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.utils.fusion import fuse_conv_bn_weights

from isnas.base.errors import UserError
from isnas.base.extras import require
from isnas.base.files import replacing
from isnas.base.random import generator
from isnas.space.batch_norm import BatchNorm, Folds
from isnas.space.space import Network

#: The suffix of each format's files.
SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}

#: The largest difference of class scores in float32 that a sound file shows.
TOLERANCES = {"torch": 1e-5, "onnx": 1e-4}

Shape = tuple[int, int, int]


class Deployed(nn.Module):
    """A network in evaluation: images (B, C, H, W) -> class scores (B, num_classes).

    With ``normalise`` = (mean, std) per channel the images are pixels in [0, 1], otherwise they come normalised.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, network: Network, normalise: tuple[Sequence[float], Sequence[float]] | None) -> None:
        super().__init__()
        self.network = network
        dtype = next(network.parameters()).dtype
        for name, values in zip(("mean", "std"), normalise or (None, None)):
            self.register_buffer(name, None if values is None else torch.tensor(values, dtype=dtype).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if self.mean is not None and self.std is not None:
            images = (images - self.mean) / self.std
        return self.network(images).logits

    def random_images(self, count: int, shape: Shape, seed: int) -> Tensor:
        """``count`` images of the kind this network takes: uniform pixels, or N(0, 1) when they come normalised."""
        draw = torch.randn if self.mean is None else torch.rand
        return draw(count, *shape, generator=generator(seed, "export"))


def deployed(
    network: Network, *, fold: bool = False, normalise: tuple[Sequence[float], Sequence[float]] | None = None
) -> Deployed:
    """A copy of a target network as it is deployed: on the CPU, in evaluation, without the auxiliary head.

    With ``fold`` every batch normalisation that follows a convolution goes into it: W' = W gamma / sqrt(var + epsilon)
    per output channel, and the bias beta - mu gamma / sqrt(var + epsilon); a factorised reduction's goes into its two
    convolutions. Those after pools and skips (``extra_bn``) stay, since there is no convolution before them.
    """
    network = copy.deepcopy(network)
    network.auxiliary = None
    network.eval().requires_grad_(False).to("cpu").to(memory_format=torch.contiguous_format)
    if fold:
        for module in list(network.modules()):
            folds: Folds = getattr(module, "folds", {})
            for bn, convolutions in folds.items():
                _fold(getattr(module, bn), [getattr(module, name) for name in convolutions])
                setattr(module, bn, _Folded())
    return Deployed(network, normalise).eval()


def export_torch(module: Deployed, shape: Shape, path: Path) -> None:
    """Write ``torch.export``'s program for images of ``shape`` = (C, H, W) to ``path`` (.pt2).

    ``torch.export.load(path).module()`` takes a batch on the CPU and gives its class scores.

    Raises:
        UserError: when the folder is not there or the suffix is not the format's.
    """
    _check(path, "torch")
    buffer = io.BytesIO()  # written to a file, the archive would hold the file's temporary name
    torch.export.save(_program(module, shape), buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def export_onnx(module: Deployed, shape: Shape, path: Path) -> None:
    """Write an ONNX model for images of ``shape`` = (C, H, W) to ``path`` (.onnx): ``images`` in, ``logits`` out.

    Raises:
        UserError: when the folder is not there or the suffix is not the format's.
    """
    _check(path, "onnx")
    require("--format onnx", "onnx", "onnxscript", "onnxruntime")
    import onnxscript.optimizer  # takes seconds, as onnxruntime does

    model = torch.onnx.export(
        _program(module, shape),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=_BATCH,
        optimize=False,  # it would fold batch normalisations whether asked to or not
        verbose=False,
    )
    assert model is not None
    onnxscript.optimizer.fold_constants(model.model)
    onnxscript.optimizer.remove_unused_nodes(model.model)
    with replacing(path) as temporary:
        model.save(temporary, external_data=False)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """The function images -> class scores in a file, run by torch (.pt2) or onnxruntime (.onnx) on the CPU."""
    if path.suffix == SUFFIXES["torch"]:
        return torch.export.load(path).module()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def largest_difference(
    path: Path,
    module: Deployed,
    shape: Shape,
    *,
    num_images: int = 100,
    batch_sizes: Sequence[int] = (1, 7),
    seed: int = 0,
) -> float:
    """Largest absolute difference of class scores between the file, loaded again, and ``module``, over random images.

    All images are run at every batch size, the last batch being what is left. A score that is not finite makes
    the difference infinite or NaN.
    """
    run = load(path)
    images = module.random_images(num_images, shape, seed)
    differences = []
    with torch.no_grad():
        for batch_size in batch_sizes:
            for batch in images.split(batch_size):
                differences.append((run(batch) - module(batch)).abs().max())
    return float(torch.stack(differences).max())


def latency(
    forward: Callable[[Tensor], Tensor],
    shape: Shape,
    *,
    device: torch.device | str = "cpu",
    repetitions: int = 50,
    warm_up: int = 10,
) -> float:
    """Median milliseconds of ``forward`` on one image of ``shape`` = (C, H, W), from input to finished output."""
    image = torch.zeros(1, *shape, device=device)
    milliseconds = []
    with torch.no_grad():
        for _ in range(warm_up + repetitions):
            _synchronise(image.device)
            start = time.perf_counter()
            forward(image)
            _synchronise(image.device)
            milliseconds.append(1e3 * (time.perf_counter() - start))
    return statistics.median(milliseconds[warm_up:])


class _Folded(nn.Module):
    """What is left of a batch normalisation that went into the convolution before it."""

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        assert coefficient is None
        return x


def _fold(bn: BatchNorm, convolutions: Sequence[nn.Conv2d]) -> None:
    """Multiply the batch normalisation into the convolutions whose outputs it reads side by side; in float64."""
    sizes = [conv.out_channels for conv in convolutions]

    def split(values: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * len(sizes) if values is None else values.double().split(sizes)

    parts = zip(split(bn.running_mean), split(bn.running_var), split(bn.weight), split(bn.bias))
    for conv, (mean, variance, gamma, beta) in zip(convolutions, parts):
        assert mean is not None and variance is not None
        fused = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, bn.epsilon, gamma, beta)
        conv.weight, conv.bias = fused


#: The first dimension of the images is free; a program is traced with 2 of them, since 1 would be taken for a constant.
_BATCH = {"images": {0: Dim("batch", min=1)}}


def _program(module: Deployed, shape: Shape) -> ExportedProgram:
    """The program of a module on the CPU, without the stack traces, which name files of this machine."""
    program = torch.export.export(module, (torch.zeros(2, *shape),), dynamic_shapes=_BATCH)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _check(path: Path, format: str) -> None:
    if path.suffix != SUFFIXES[format]:
        raise UserError(f"{path}: a file of the format {format} must end in {SUFFIXES[format]}")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

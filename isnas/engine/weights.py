"""Files of weights, which anyone may have written: read as data, within their own size, or named for what they are."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isnas.base.errors import UserError
from isnas.base.files import read_tensors, write_tensors
from isnas.base.text import one_line, shown
from isnas.engine.safetensors import SUFFIX, read_safetensors, write_safetensors

#: The trained network in a run's folder, in either format.
WEIGHTS_FILES = ("weights.pt", "weights.safetensors")

#: The same in a folder for the Hugging Face Hub.
HUB_FILE = "model.safetensors"

#: What a pickle may name: the parts of tensors and of the tables that hold them.
_PARTS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}
_STORAGES = {f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char")}
_STORAGES |= {f"torch {kind}Storage" for kind in ("Byte", "Bool", "ComplexFloat", "ComplexDouble")}
_HARMLESS = _PARTS | _STORAGES

#: How torch's files began until version 1.6: a pickled number of ten bytes.
_OLD_FORMAT = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

#: Plain values and characters that a description may have: 20,000 classes and their names fit many times.
_MOST_VALUES, _MOST_CHARACTERS, _DEEPEST = 1_000_000, 10_000_000, 20


def write_weights(path: Path, content: dict[str, Any]) -> None:
    """Write plain values, and tensors by name under ``weights``: as torch does, or as safetensors by its suffix.

    Raises:
        UserError: when a safetensors file cannot hold them.
    """
    (write_safetensors if path.suffix == SUFFIX else write_tensors)(path, content)


def read_weights(file: Path) -> Any:
    """What ``torch.save`` has written: tensors of any kind in memory, and plain values. Nothing in it is executed.

    Of a safetensors file what :func:`write_weights` has written, whatever the file is called.

    It takes no more memory than a few times the file.

    Raises:
        UserError: when the file cannot be read, is damaged, of another format, or holds more than that.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(256)
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 10**9:
            return read_safetensors(file)
        if not start.startswith(b"PK"):
            raise UserError(f"{file} {_format_of(start)}")
        with zipfile.ZipFile(file) as archive:
            if foreign := _foreign(archive):
                raise UserError(f"{file} {foreign}; it was not loaded")
        return read_tensors(file)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise UserError(f"{file} is damaged (it is not as torch.save writes); it was not loaded") from None
    except Exception as error:  # whatever is in the file, zipfile, pickletools and torch raise many kinds
        raise UserError(f"{file} is damaged ({one_line(error, 120)}); it was not loaded") from None


def require_plain(value: Any) -> None:
    """Check that a value is of dicts, lists, numbers and text alone, of a size that can be written out in full.

    Raises:
        ValueError: when it is not; its message says why.
    """
    waiting, values, characters = [(value, 0)], 0, 0
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, str):
            characters += len(part)
        elif isinstance(part, int):
            characters += part.bit_length() // 3
        elif isinstance(part, list | tuple | dict):
            inner = [*part, *part.values()] if isinstance(part, dict) else part
            values += len(inner)
            if values > _MOST_VALUES or depth >= _DEEPEST:
                raise ValueError("it is nested too deeply, or of too many values")
            waiting += [(each, depth + 1) for each in inner]
        elif part is not None and not isinstance(part, float):
            raise ValueError(f"it holds a {type(part).__name__} where a number, text or a list belongs")
        if characters > _MOST_CHARACTERS:
            raise ValueError("it holds too much text")


def fill(network: nn.Module, weights: Any, file: Path) -> None:
    """Give a network that was built on the device ``meta`` the weights that were read from ``file``.

    Raises:
        UserError: when they are not those of such a network.
    """
    try:
        _require_fitting(weights, network, file.stat().st_size)
    except ValueError as error:
        raise UserError(f"the weights in {file} are not of the network that it describes: {error}") from None
    network.load_state_dict(weights, assign=True)


def _require_fitting(weights: Any, network: nn.Module, file_size: int) -> None:
    """Check tensors against a network that was built on the device ``meta``: names, kinds, shapes, finite numbers.

    Raises:
        ValueError: when they are not those of such a network; its message names the first that is wrong.
    """
    wanted = network.state_dict()
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise ValueError("they are not a table of tensors")
    for word, names in (("missing", wanted.keys() - weights.keys()), ("too many", weights.keys() - wanted.keys())):
        if names:
            raise ValueError(f"{word}: {shown(min(names))}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""))
    for name, there in wanted.items():
        if fault := _unlike(weights[name], there):
            raise ValueError(f"{name} {fault}")
    if sum(tensor.nbytes for tensor in weights.values()) > file_size:
        raise ValueError("several of them share their numbers")
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite: its training has diverged")


def kind_of_content(content: Any) -> str:
    """What a file of torch holds that holds no network of this project, for a message that begins with its name."""
    if not isinstance(content, Mapping):
        return f"does not hold a trained network, but a {type(content).__name__}"
    tables = {key: value for key, value in content.items() if isinstance(value, Mapping) and _is_weights(value)}
    weights = content if _is_weights(content) else next(iter(tables.values()), None)
    if weights is None:
        return "does not hold a trained network"
    first = shown(next(iter(weights)))
    return f"holds {len(weights)} tensors ({first}, ...) without architecture and sizes, and so no trained network"


def _is_weights(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(isinstance(each, Tensor) for each in value.values())


def _unlike(tensor: Any, wanted: Tensor) -> str:
    """What is wrong with a tensor in place of ``wanted``, or nothing; the sizes of what it stores are checked too."""
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"is not a tensor, but a {type(tensor).__name__}"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return "is not a tensor of plain numbers in memory"
    if tensor.dtype != wanted.dtype:
        return f"is of {tensor.dtype}, not {wanted.dtype}".replace("torch.", "")
    if tensor.shape != wanted.shape:
        return f"has the shape {shown(list(tensor.shape))}, not {list(wanted.shape)}"
    channels_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    if tensor.is_conj() or tensor.is_neg() or not (tensor.is_contiguous() or channels_last):
        return "does not store each of its numbers once"
    return ""


def _format_of(start: bytes) -> str:
    """What a file that is no zip archive, and not safetensors, is, by its first bytes."""
    if not start:
        return "is empty; it was not loaded"
    if start.startswith(_OLD_FORMAT):
        new = "python -c \"import torch; torch.save(torch.load('OLD', weights_only=True), 'NEW')\""
        return f"is in torch's old format, which has no checksums; convert it with {new}"
    if start.startswith(b"\x80"):
        return "is a pickle, and not weights alone; it was not loaded"
    return "is damaged, or not a file of torch; it was not loaded"


def _foreign(archive: zipfile.ZipFile) -> str | None:
    """Why an archive is nothing that ``torch.save`` has written of weights and plain values; None when it is that."""
    entries = archive.infolist()
    names = [entry.filename.partition("/")[2] for entry in entries]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return "is a TorchScript program, which holds code, and not weights alone"
    if "archive_format" in names:
        return "is a program of torch.export, and not the weights.pt that it was made of"
    if names.count("data.pkl") != 1:
        return "is a zip archive, but not one of torch"
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return "is compressed, as torch's files are not"
    pickled = archive.read(entries[names.index("data.pkl")])
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL") and argument not in _HARMLESS:
            what = shown(str(argument).replace(" ", ".")) if argument else "names that it puts together"
            return f"holds more than weights and plain values: {what}"
    return None

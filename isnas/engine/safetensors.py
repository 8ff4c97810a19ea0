"""A trained network as a safetensors file: a header of JSON, then the numbers of one tensor after another.

    size of the header (8 bytes) | header | numbers

The header has an entry for each tensor: its kind, its shape, and from where to where its numbers go. Under
``__metadata__`` it has texts by name, here two of our own: ``isnas`` is all that describes the network, as JSON, and
``sha256`` that of the header, with zeros in its place, and of the numbers: the format has no checksum itself. It is
written here and not by the safetensors library (0.8), which has the texts in another order in every process, while a
run's files are the same to the bit each time; the tests hold both ways against the library.
Source: https://huggingface.co/docs/safetensors (the format).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.base.files import replacing
from isnas.base.text import parse_json, shown

SUFFIX = ".safetensors"

_KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_KINDS |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
_NAMES = {dtype: kind for kind, dtype in _KINDS.items()}

#: The longest header, as the format has it, and the most axes of a tensor.
_LONGEST, _MOST_AXES = 100_000_000, 8

_ZEROS = "0" * 64


def write_safetensors(path: Path, content: dict[str, Any]) -> None:
    """Write ``content``, plain values and under ``weights`` tensors by name, as a whole and through to the disk.

    Raises:
        UserError: when its plain values are more than a header holds.
    """
    weights = sorted(content["weights"].items(), key=lambda item: -item[1].element_size())  # so that each is aligned
    description = json.dumps({name: value for name, value in content.items() if name != "weights"})
    header: dict[str, Any] = {"__metadata__": {"sha256": _ZEROS, "format": "pt", "isnas": description}}
    end = 0
    for name, tensor in weights:
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST:
        raise UserError(f"{path} would need a header of {len(text):,} bytes, and {_LONGEST:,} is the most; take pt")
    digest = hashlib.sha256(text)
    for _, tensor in weights:
        digest.update(_bytes_of(tensor))
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text.replace(_ZEROS.encode(), digest.hexdigest().encode(), 1))
        for _, tensor in weights:
            file.write(_bytes_of(tensor))
        file.flush()
        os.fsync(file.fileno())


def read_safetensors(file: Path) -> dict[str, Any]:
    """What :func:`write_safetensors` has written, with tensors that are contiguous in memory.

    Before memory is taken for a tensor, the header has been held against the size of the file.

    Raises:
        UserError: when it is a file of weights without a description.
        OSError: when it cannot be read.
        Exception: of many kinds, when it is damaged.
    """
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size - 8
        length = int.from_bytes(opened.read(8), "little")
        if length > min(size, _LONGEST):
            raise ValueError("it promises more than it holds")
        text = opened.read(length)
        header = parse_json(text.decode())
        metadata = header.pop("__metadata__", {})
        places = sorted(((*_place(name, entry), name) for name, entry in header.items()), key=lambda row: row[:2])
        if [start for start, *_ in places] + [size - length] != [0, *(end for _, end, *_ in places)]:
            raise ValueError("its tensors do not follow one another to its end")
        if not isinstance(metadata, dict) or "isnas" not in metadata:
            raise UserError(
                f"{file} is a safetensors file of weights without architecture and sizes, and so no trained network"
            )
        if unknown := metadata.keys() - {"format", "isnas", "sha256"}:
            raise ValueError(f"unknown metadata {shown(min(unknown))}")
        checksum = metadata.get("sha256")
        if not isinstance(checksum, str) or len(checksum) != len(_ZEROS) or not checksum.isascii():
            raise ValueError("it has no checksum")
        digest = hashlib.sha256(text.replace(checksum.encode(), _ZEROS.encode(), 1))
        weights = {name: _read(opened, dtype, shape, digest) for *_, dtype, shape, name in places}
    if digest.hexdigest() != checksum:
        raise ValueError("its checksum does not match")
    content = parse_json(metadata["isnas"])
    if not isinstance(content, dict) or "weights" in content:
        raise ValueError("its description is none")
    return content | {"weights": weights}


def _place(name: str, entry: Any) -> tuple[int, int, torch.dtype, list[int]]:
    """From where to where a tensor's numbers go, their kind and shape, as an entry of the header has them."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its header does not say what {shown(name)} is")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{shown(name)} is of an unknown kind {shown(kind)}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
            raise ValueError(f"{shown(name)} has a shape and a place of other things than numbers")
    if len(offsets) != 2 or len(shape) > _MOST_AXES:
        raise ValueError(f"{shown(name)} has no place, or too many axes")
    if offsets[1] - offsets[0] != math.prod(shape) * _KINDS[kind].itemsize:
        raise ValueError(f"{shown(name)} has not as many bytes as its shape needs")
    return offsets[0], offsets[1], _KINDS[kind], shape


def _read(file: BufferedReader, dtype: torch.dtype, shape: list[int], digest: Any) -> Tensor:
    tensor = torch.empty(shape, dtype=dtype)
    there = _bytes_of(tensor)
    if file.readinto(there) != tensor.nbytes:
        raise ValueError("it has been cut off while it was read")
    digest.update(there)
    return tensor


def _bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's numbers as bytes, in the same memory where it is contiguous and on the host."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data

"""Trained networks as safetensors files: as the library reads them, and refused where not whole."""

import hashlib
import json
import math
import os
import struct

import pytest
import safetensors
import torch
from networks import DIGITS, GENOTYPE, make_network, save_network
from safetensors.torch import load_file, save_file

from isnas.base.errors import UserError
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.safetensors import read_safetensors, write_safetensors
from isnas.engine.trained import load_trained
from isnas.engine.weights import read_weights

KINDS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
KINDS += (torch.int8, torch.uint8)


def test_the_library_reads_the_same_numbers(tmp_path):
    rng = torch.Generator().manual_seed(0)
    weights = {str(dtype): (99 * torch.randn(3, 1, 5, generator=rng)).to(dtype) for dtype in reversed(KINDS)}
    weights |= {"scalar": torch.tensor(2.5), "none": torch.zeros(2, 0, 3)}
    weights |= {"turned": torch.randn(4, 3, 2, 5, generator=rng).to(memory_format=torch.channels_last)}
    content = {"words": ["å", "\udcff", "\U0001f600", "0" * 64, '"\\'], "number": 0.1, "weights": weights}
    write_safetensors(tmp_path / "all.safetensors", content)
    theirs, mine = load_file(tmp_path / "all.safetensors"), read_safetensors(tmp_path / "all.safetensors")
    assert theirs.keys() == mine["weights"].keys() == weights.keys()
    for name, tensor in weights.items():
        for found in (theirs[name], mine["weights"][name]):
            assert found.dtype == tensor.dtype and torch.equal(found, tensor) and found.is_contiguous()
    with safetensors.safe_open(tmp_path / "all.safetensors", "pt") as file:
        assert json.loads(file.metadata()["isnas"]) == {key: content[key] for key in ("words", "number")}
        assert file.metadata()["format"] == "pt"
    assert {key: mine[key] for key in ("words", "number")} == {key: content[key] for key in ("words", "number")}


def test_a_network_is_the_same_in_both_formats(tmp_path):
    info = DatasetInfo("imagefolder", (os.fsdecode(b"caf\xe9"), "\u732b"), (0.5,) * 3, (0.25,) * 3, 16, True)
    network = make_network(info)
    for name in ("pt", "safetensors"):
        save_network(tmp_path / name / f"weights.{name}", network, info)
    pickled, plain = (load_trained(tmp_path / name) for name in ("pt", "safetensors"))
    for name in ("genotype", "sizes", "data", "info", "computation", "geometry"):
        assert getattr(pickled, name) == getattr(plain, name)
    assert plain.genotype == GENOTYPE and plain.info == info
    states = [each.network.state_dict() for each in (pickled, plain)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]) and tensor.stride() == states[1][name].stride()  # channels_last
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain.network(x).logits, pickled.network(x).logits)


def forged(data, change):
    """The bytes of such a file after a change of its header, with a checksum that is right."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["sha256"] = zeros = "0" * 64
    change(header)
    text, numbers = json.dumps(header).encode(), data[8 + length :]
    digest = hashlib.sha256(text + numbers).hexdigest()
    return struct.pack("<Q", len(text)) + text.replace(zeros.encode(), digest.encode(), 1) + numbers


def described(change):
    def changed(header):
        content = json.loads(header["__metadata__"]["isnas"])
        change(content)
        header["__metadata__"]["isnas"] = json.dumps(content)

    return changed


def test_every_byte_counts(tmp_path):
    save_network(tmp_path / "weights.safetensors")
    data = (tmp_path / "weights.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    places = [*range(8), *range(8, 8 + length, 37), *range(8 + length, len(data), 997), len(data) - 1]
    for place in places:
        (tmp_path / "weights.safetensors").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(UserError, match=r"damaged|safetensors file of weights without") as error:
            load_trained(tmp_path)
        assert len(str(error.value)) < 500
    for short in (data[:-1], data[:50], data[:9], data + b"\0"):
        (tmp_path / "weights.safetensors").write_bytes(short)
        with pytest.raises(UserError, match="damaged"):
            load_trained(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(forged(data, lambda header: None))
    assert load_trained(tmp_path).info == DIGITS


NAME = "stem.conv.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h.update({"other": h.pop(NAME)}), r"not of the network that it describes: missing: 'stem.conv"),
        (lambda h: h[NAME].update(dtype="I32"), "is of int32, not float32"),
        (lambda h: h[NAME].update(dtype="C64"), "is damaged .*'stem.conv.weight' is of an unknown kind 'C64'"),
        (lambda h: h[NAME].update(shape=[1, *reversed(h[NAME]["shape"][:2]), 3, 3]), "has the shape|damaged"),
        (lambda h: h[NAME].update(shape=[2**40]), "has not as many bytes as its shape needs"),
        (lambda h: h[NAME].update(shape=[-1, -108]), "other things than numbers"),
        (lambda h: h[NAME].update(shape=[1.5]), "other things than numbers"),
        (lambda h: h[NAME].update(data_offsets=[0]), "has no place"),
        (lambda h: h[NAME].update(stride=[1]), "does not say what 'stem.conv.weight' is"),
        (lambda h: h.update(again=h[NAME]), "do not follow one another"),
        (lambda h: h.update({NAME: h["stem.bn.weight"]}), "do not follow one another"),
        (lambda h: h["__metadata__"].update(author="me"), "unknown metadata 'author'"),
        (lambda h: h["__metadata__"].pop("sha256"), "it has no checksum"),
        (lambda h: h["__metadata__"].update(isnas="[1]"), "its description is none"),
        (lambda h: h["__metadata__"].update(isnas="{"), "is damaged"),
        (described(lambda c: c.update(weights={})), "its description is none"),
        (described(lambda c: c.update(format="isnas network 0")), "holds? a trained network as this version writes it"),
        (described(lambda c: c["info"].update(classes=[])), "does not describe a trained network .*classes"),
        (described(lambda c: c["info"].update(mean=[math.nan])), "mean must be a finite number"),
        (described(lambda c: c["sizes"].update(init_channels=10**6)), "has the shape .*, not .3000000, 1, 3, 3"),
        (described(lambda c: c["sizes"].update(layers=10**9)), "1000000000 layers are too many"),
        (described(lambda c: c["info"].update(classes=["x" * 10**7, "y"])), "holds too much text"),
    ],
)
def test_another_header_is_refused(tmp_path, change, words):
    save_network(tmp_path / "weights.safetensors")
    data = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(forged(data, change))
    with pytest.raises(UserError, match=words) as error:
        load_trained(tmp_path)
    assert str(tmp_path / "weights.safetensors") in str(error.value) and len(str(error.value)) < 500


def test_numbers_that_are_not_finite_and_weights_alone_are_refused(tmp_path):
    network = make_network(DIGITS)
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, tmp_path / "alone.safetensors"
    )
    with pytest.raises(UserError, match="is a safetensors file of weights without architecture and sizes"):
        load_trained(tmp_path / "alone.safetensors")
    with torch.no_grad():
        network.stem.conv.weight[0, 0, 0, 0] = math.inf
    save_network(tmp_path / "weights.safetensors", network)
    with pytest.raises(UserError, match=r"stem\.conv\.weight holds numbers that are not finite"):
        load_trained(tmp_path)


def test_a_file_of_other_size_than_it_promises_takes_no_memory(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "bomb").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(UserError, match="do not follow one another to its end"):
        read_weights(tmp_path / "bomb")
    (tmp_path / "bomb").write_bytes(struct.pack("<Q", 10**8) + header)
    with pytest.raises(UserError, match="promises more than it holds"):
        read_weights(tmp_path / "bomb")

"""The weights file: everything comes back, and no other file is taken for one or run."""

import errno
import io
import json
import math
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass

import pytest
import torch
from networks import DIGITS, GENOTYPE, make_network, save_network, sizes_for, with_one_bit_changed

from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.random import initialising
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.trained import Computation, load_trained, save_trained
from isnas.space.chain.genotype import ChainGenotype
from isnas.space.chain.network import target_network
from isnas.space.chain.resolve import uniform_genotype
from isnas.space.chain.space import ChainSpace


@dataclass(frozen=True)
class AllOptions(DataOptions):
    batch_size: int = option(17, "")
    amp: str = option("bf16", "")
    epochs: int = option(3, "")


def test_everything_comes_back_but_the_auxiliary_head(tmp_path):
    network = make_network(DIGITS, auxiliary=True)
    options = AllOptions(dataset="digits", max_train_images=300)
    save_trained(tmp_path / "weights.pt", network, GENOTYPE, sizes_for(DIGITS), options, DIGITS)
    before = torch.get_rng_state()
    for path in (tmp_path, tmp_path / "weights.pt"):
        trained = load_trained(path)
        assert (trained.genotype, trained.sizes, trained.info) == (GENOTYPE, sizes_for(DIGITS), DIGITS)
        assert trained.data == DataOptions(dataset="digits", max_train_images=300)
        assert trained.computation == Computation(17, "bf16", True)
        wanted = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith("auxiliary")}
        state = trained.network.state_dict()
        assert state.keys() == wanted.keys() and len(wanted) > 50
        assert all(torch.equal(state[key], tensor) for key, tensor in wanted.items())
        assert all(state[key].stride() == tensor.stride() for key, tensor in wanted.items())  # channels_last
        assert not any(module.training for module in trained.network.modules())
        x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        assert torch.equal(trained.network(x).logits, network(x).logits)
    assert torch.equal(torch.get_rng_state(), before)


CHAIN = uniform_genotype("k5_e3", ChainSpace("digits", (1, 2)))
CHAIN_SIZES = {"widths": "digits", "in_channels": 1, "num_classes": 10}


@pytest.mark.parametrize("extra_bn", ["none", "all"])
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_chain_comes_back(tmp_path, name, extra_bn):
    genotype = ChainGenotype(((*CHAIN.chain[0], ("skip",)), *CHAIN.chain[1:]), extra_bn)
    with initialising(0, "weights"):
        network = target_network(genotype, **CHAIN_SIZES).eval()
    save_trained(tmp_path / name, network, genotype, CHAIN_SIZES, AllOptions(dataset="digits"), DIGITS)
    trained = load_trained(tmp_path)
    assert (trained.genotype, trained.sizes) == (genotype, CHAIN_SIZES)
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    network.to(memory_format=torch.channels_last)
    assert torch.equal(trained.network(x).logits, network(x).logits)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"sizes": CHAIN_SIZES | {"widths": "wide"}},
            "sizes must be in_channels, num_classes and widths, and these one",
        ),
        ({"sizes": CHAIN_SIZES | {"widths": ["digits"]}}, "sizes must be in_channels"),
        ({"sizes": CHAIN_SIZES | {"widths": "cpu"}}, "--widths cpu are of 6 stages, not of 2"),
        ({"sizes": CHAIN_SIZES | {"num_classes": 11}}, "the network takes other channels or tells other classes apart"),
        ({"sizes": CHAIN_SIZES | {"in_channels": 1.0}}, "in_channels must be a whole number from 1 up, not 1.0"),
        ({"sizes": sizes_for(DIGITS)}, "sizes must be in_channels"),
        ({"genotype": {"chain": [["k5_e3"], ["k9_e3"]]}}, "unknown candidate 'k9_e3'"),
        ({"genotype": {"chain": [["k5_e3"] * 99, ["k5_e3"]]}}, "chain has 100 blocks; it may have 96 at most"),
        ({"genotype": {"other": []}}, "does not describe a trained network"),
        ({"genotype": {"chain": [["k3_e3"], ["k5_e3", "k5_e3"]]}}, "not of the network that it describes"),
    ],
)
def test_a_chain_that_is_another_is_refused(tmp_path, change, words):
    network = target_network(CHAIN, **CHAIN_SIZES)
    save_trained(tmp_path / "weights.pt", network, CHAIN, CHAIN_SIZES, AllOptions(dataset="digits"), DIGITS)
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    torch.save(content | change, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=words):
        load_trained(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_one_bit_changed, r"is damaged \(.*CRC.*\); it was not loaded"),
        (lambda content: content[:-100], r"is damaged \(.*\); it was not loaded"),
        (lambda content: b"", "is empty; it was not loaded"),
        (lambda content: b"weights", "is damaged, or not a file of torch; it was not loaded"),
        (lambda content: pickle.dumps({"format": "isnas network 1"}), "is a pickle, and not weights alone"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, words):
    file = tmp_path / "weights.pt"
    save_network(file)
    load_trained(file)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError, match=rf"weights\.pt {words}"):
        load_trained(tmp_path)


class Scripted(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def as_safetensors(content, file):
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def as_compressed(content, file):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", bytes(10**6))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (
            lambda content, file: torch.save(content, file, _use_new_zipfile_serialization=False),
            "is in torch's old format, .*convert it with python -c",
        ),
        (lambda content, file: torch.jit.script(Scripted()).save(file), "is a TorchScript program"),
        (as_safetensors, "is a safetensors file of weights without architecture"),
        (as_compressed, "is compressed, as torch's files are not"),
        (
            lambda content, file: torch.save(content["weights"], file),
            r"holds \d+ tensors \('stem.*without architecture",
        ),
        (
            lambda content, file: torch.save({"model": content["weights"]}, file),
            r"holds \d+ tensors .*without architec",
        ),
        (lambda content, file: torch.save([1], file), "does not hold a trained network, but a list"),
        (
            lambda content, file: torch.save({"state": {}, "records": {}, "options": {}}, file),
            "is a checkpoint of a run, not its trained network",
        ),
        (
            lambda content, file: torch.save(content | {"extra": torch.eye(2).to_sparse()}, file),
            r"holds more than weights and plain values: 'torch\._utils\._rebuild_sparse_tensor'",
        ),
        (
            lambda content, file: torch.save(content | {"extra": bytearray(9)}, file),
            r"holds more than weights and plain values: '\w+\.bytearray'",
        ),
    ],
    ids=["old", "script", "safetensors", "compressed", "state", "states", "list", "checkpoint", "sparse", "bytearray"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Sparse")
def test_another_file_is_named_for_what_it_is(tmp_path, write, words):
    save_network(tmp_path / "weights.pt")
    write(torch.load(tmp_path / "weights.pt", weights_only=True), tmp_path / "weights.pt")
    with pytest.raises(UserError, match=rf"weights\.pt {words}") as error:
        load_trained(tmp_path)
    assert len(str(error.value)) < 500


def test_the_remedy_for_the_old_format_works(tmp_path):
    save_network(tmp_path / "weights.pt")
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    torch.save(content, tmp_path / "OLD", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError) as error:
        load_trained(tmp_path / "OLD")
    command = re.search(r'python -c "(.*)"', str(error.value)).group(1)
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True)
    assert load_trained(tmp_path / "NEW").info == DIGITS


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    save_network(tmp_path / "weights.pt")

    def refuse(*arguments, **others):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(io, "open", refuse)  # root may read everything
    with pytest.raises(UserError, match=r"^cannot read .*weights\.pt: Permission denied$"):
        load_trained(tmp_path)


def test_code_in_a_file_is_not_run(tmp_path):
    save_network(tmp_path / "weights.pt")
    content = torch.load(tmp_path / "weights.pt", weights_only=True)

    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save(content | {"weights": Code()}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"holds more than weights and plain values: '\w+\.open'"):
        load_trained(tmp_path)
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "weights.pt", weights_only=False)
    assert (tmp_path / "made").exists()  # the code would have run


def without_a_node(content):
    content["genotype"]["normal"] = [[["skip_connect", 0]], [["skip_connect", 1]]]


def unknown_operation(content):
    content["genotype"]["normal"][0][0][0] = "conv_9x9"


def one_class_less(content):
    content["info"]["classes"] = content["info"]["classes"][1:]


def weights(change):
    """A change of the first of the weights."""

    def changed(content):
        first = next(iter(content["weights"]))
        content["weights"][first] = change(content["weights"][first])

    return changed


def first_value(number):
    def changed(tensor):
        tensor.view(-1)[0] = number
        return tensor

    return weights(lambda tensor: changed(tensor.contiguous()))


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def repeated(content):
    value = "x" * 1000
    for _ in range(12):
        value = [value] * 10
    content["info"]["name"] = value


def shared(content):
    numbers = torch.zeros(2000)
    content["weights"] = {key: numbers[: t.numel()].view(t.shape) for key, t in content["weights"].items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_a_node, r"the weights in .* are not of the network that it describes: too many: '"),
        (lambda c: c["sizes"].update(init_channels=8), "are not of the network .* has the shape "),
        (lambda c: c["weights"].popitem(), "are not of the network .*: missing: '"),
        (lambda c: c.update(weights=[]), "does not describe"),
        (lambda c: c["weights"].update({3: torch.ones(1)}), "are not a table of tensors"),
        (lambda c: c.pop("weights"), r"does not describe a trained network \('weights' is missing\)"),
        (unknown_operation, "does not describe a trained network .*unknown operation 'conv_9x9'"),
        (one_class_less, "does not describe a trained network .*other classes"),
        (lambda c: c.pop("sizes"), r"does not describe a trained network \('sizes' is missing\)"),
        (lambda c: c["data"].update(dataset="mnist"), "does not describe .*unknown dataset 'mnist'"),
        (lambda c: c["computation"].update(amp="fp8"), "does not describe .*unknown amp 'fp8'"),
        (
            lambda c: c.update(format="isnas network 0"),
            "does not hold a trained network as this version .*'isnas network 0'",
        ),
        (weights(lambda t: t.double()), r": stem\.conv\.weight is of float64, not float32$"),
        (weights(lambda t: t.to(torch.complex64)), "is of complex64, not float32"),
        (weights(lambda t: t.int()), "is of int32, not float32"),
        (weights(lambda t: "text"), "is not a tensor, but a str"),
        (weights(lambda t: torch.zeros(1).expand(t.shape)), "does not store each of its numbers once"),
        (
            weights(lambda t: t.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)),
            "does not store each of its numbers",
        ),
        (weights(lambda t: torch.zeros(1).expand(10**5, 10**5, 10, 10)), "has the shape "),
        (shared, "several of them share their numbers"),
        (first_value(math.nan), r"stem\.conv\.weight holds numbers that are not finite: its training has diverged"),
        (first_value(-math.inf), "holds numbers that are not finite"),
        (lambda c: c["info"].update(classes=list(range(10))), "classes must be names, not"),
        (lambda c: c["info"].update(classes="0123456789"), "classes must be names, not"),
        (lambda c: c["info"].update(mean=["dark"]), "mean must be a finite number"),
        (lambda c: c["info"].update(mean=[math.nan]), "mean must be a finite number"),
        (lambda c: c["info"].update(std=[0.0]), "std must be a finite number per channel, and a std above 0"),
        (lambda c: c["info"].update(std=[0.5, 0.5]), "std must be a finite number per channel"),
        (lambda c: c["info"].update(image_size=10**9), "image_size must be at most 512, not 1000000000"),
        (lambda c: c["info"].update(image_size=16.0), "image_size must be an integer, not 16.0"),
        (lambda c: c["info"].update(flip=2), "flip must be true or false"),
        (lambda c: c["info"].update(name="cifar10"), "name is 'cifar10', dataset 'digits'"),
        (lambda c: c["info"].update(classes=nested(300)), "nested too deeply"),
        (repeated, "it holds too much text"),
        (lambda c: c["info"].update(mean=torch.ones(1)), "holds a Tensor where a number"),
        (lambda c: c["sizes"].update(layers=10**9), "1000000000 layers are too many for its"),
        (lambda c: c["sizes"].update(layers=10**5000), r"damaged \(it is not as torch.save writes"),
        (lambda c: c["sizes"].update(init_channels=10**6), "has the shape .*, not .3000000, 1, 3, 3"),
        (lambda c: c["sizes"].update(init_channels=10**12), "does not describe|has the shape"),
        (lambda c: c["sizes"].update(init_channels="4"), "init_channels must be a whole number from 1 up, not '4'"),
        (lambda c: c["sizes"].update(auxiliary=True), "sizes must be in_channels, "),
        (lambda c: c["sizes"].update(stem="other"), "the stem cifar or imagenet"),
        (lambda c: c.update(geometry="whole"), "unknown geometry 'whole'"),
        (lambda c: c.update(geometry="centre crop"), "images of digits have 3 channels, not 1"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(tmp_path, change, words):
    save_network(tmp_path / "weights.pt")
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    change(content)
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=words) as error:
        load_trained(tmp_path)
    assert str(tmp_path / "weights.pt") in str(error.value) and len(str(error.value)) < 500


def test_the_geometry_is_stored_and_that_of_older_files_is_their_datasets(tmp_path):
    photos = DatasetInfo("imagenet", tuple("ab"), (0.5,) * 3, (0.25,) * 3, 16, True)
    for info, geometry in ((DIGITS, "centre square"), (photos, "centre crop")):
        options = DataOptions(dataset=info.name, data="images" if info is photos else "")
        save_network(tmp_path / "weights.pt", make_network(info), info, options)
        assert load_trained(tmp_path).geometry == geometry
        content = torch.load(tmp_path / "weights.pt", weights_only=True)
        assert content.pop("geometry") == geometry
        torch.save(content, tmp_path / "weights.pt")
        assert load_trained(tmp_path).geometry == geometry


def test_other_places_and_files_say_what_to_give(tmp_path):
    run = tmp_path / "run"

    def refused(words, path=run):
        with pytest.raises(UserError, match=words):
            load_trained(path)

    refused(r"there is no .*run; give a run folder of evaluate.py, or its weights.pt")
    run.mkdir()
    refused("run holds no weights.pt or weights.safetensors; give a run folder")
    (run / "config.yaml").touch()
    refused("run is not finished, .* go on with --resume .*run")
    (run / "seed-3").mkdir()
    refused("holds several runs, name one of them: .*run/seed-3")
    shutil.rmtree(run / "seed-3")
    torch.save({"network": {}, "architecture": {}}, run / "weights.pt")
    refused("it is a search's; train its cell with evaluate.py --arch .*/run$", run / "weights.pt")
    torch.save(make_network(DIGITS).state_dict(), run / "weights.pt")
    refused("without architecture and sizes, and so no trained network; train one")
    refused("cannot read .*: File name too long", run / ("x" * 300))
    refused("cannot read .*null|there is no", run / "a\0b")
    os.mkfifo(run / "pipe")
    refused("pipe is not a file; give a run folder", run / "pipe")

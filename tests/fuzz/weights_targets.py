"""Fuzz targets for trained networks, of images and of text, in either format."""

import hashlib
import json
import struct
import tempfile
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from fuzz.harness import Target
from fuzz.mutation import damaged, grafted
from fuzz.run_targets import OF_TEXT, TINY, odd_tensor, same, saved
from fuzz.text_targets import dumped
from settings import make_setting

from isnas.base.options import build
from isnas.base.random import initialising
from isnas.data.text.vocabulary import EOS, Vocabulary
from isnas.engine.language.options import LanguageOptions
from isnas.engine.language.trained import load_any, save_model
from isnas.engine.trained import Trained, save_trained
from isnas.engine.weights import read_weights
from isnas.methods.registry import make_options
from isnas.space.cells.network import target_network
from isnas.space.cells.resolve import random_genotype
from isnas.space.recurrent import network as of_text
from isnas.space.recurrent.published import PUBLISHED

KINDS = {"weights": ("image", "weights.pt"), "weights-safetensors": ("image", "weights.safetensors")}
KINDS |= {"model": ("text", "weights.pt"), "model-safetensors": ("text", "weights.safetensors")}


@cache
def weights_file(kind):
    """A trained network of images or of text in a file."""
    of, name = KINDS[kind]
    with tempfile.TemporaryDirectory() as place, initialising(0, "weights"):
        path = Path(place) / name
        if of == "image":
            options = make_options("evaluation", **TINY, arch="random:1")
            setting = make_setting(options)
            sizes = dict(setting.sizes)
            network = target_network(random_genotype(1), **sizes)
            save_trained(path, network, random_genotype(1), sizes, options, replace(setting.info, name="digits"))
        else:
            genotype, words = PUBLISHED["DARTS_V2"].genotype, Vocabulary((EOS, "<unk>", "caf\xe9", "the"))
            options = build(LanguageOptions, OF_TEXT)
            save_model(path, of_text.target_network(genotype, **options.sizes(len(words))), genotype, words, options)
        return path.read_bytes()


@cache
def content_of(kind):
    """The tree in such a file."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "file"
        path.write_bytes(weights_file(kind))
        return read_weights(path)


def make_weights(rng, kind):
    """The kind, whether it is another file with right checksums, and its bytes."""
    if rng.random() < 0.5:
        return kind, False, damaged(rng, weights_file(kind))
    if KINDS[kind][1] == "weights.safetensors":
        return kind, True, forged(rng, weights_file(kind))
    tree = content_of(kind)
    tree = tree | {"weights": dict(tree["weights"])}
    part = rng.choice((*(key for key, value in tree.items() if isinstance(value, dict | list)), None))
    if part is None:
        tree = grafted(rng, tree, odd_tensor)
    else:
        tree[part] = grafted(rng, tree[part], odd_tensor)
    return kind, True, saved(tree, _use_new_zipfile_serialization=rng.random() > 0.03)


def forged(rng, data):
    """Another header of safetensors, or another description in it, with a checksum that is right."""
    length = int.from_bytes(data[:8], "little")
    header, numbers, zeros = json.loads(data[8 : 8 + length]), data[8 + length :], "0" * 64
    header["__metadata__"]["sha256"] = zeros
    change = rng.randrange(4)
    if change < 2:
        content = json.loads(header["__metadata__"]["isnas"])
        part = rng.choice((*(key for key, value in content.items() if isinstance(value, dict | list)), None))
        content = grafted(rng, content) if part is None else content | {part: grafted(rng, content[part])}
        header["__metadata__"]["isnas"] = dumped(content)
    elif change == 2:
        header = grafted(rng, header)
    else:
        name = rng.choice(list(header))
        header[name] = grafted(rng, header[name])
    if rng.random() < 0.1:
        numbers = damaged(rng, numbers)
    text = dumped(header).encode()
    digest = hashlib.sha256(text + numbers).hexdigest()
    return struct.pack("<Q", len(text)) + text.replace(zeros.encode(), digest.encode(), 1) + numbers


def check_weights(given, folder):
    """It is the network that was saved; or one whose scores are numbers."""
    kind, other, data = given
    (folder / "weights").write_bytes(data)
    trained = load_any(folder / "weights")
    if not other:
        assert same(dict(trained.network.state_dict()), dict(content_of(kind)["weights"])), "other weights"
    with torch.inference_mode():
        if KINDS[kind][0] == "text":
            assert all(isinstance(word, str) for word in trained.vocabulary.words)
            words = torch.zeros(3, 2, dtype=torch.int64)
            logits = trained.network(words, trained.network.first_state(2)).logits
            assert logits.shape == (3, 2, len(trained.vocabulary)) and not logits.isnan().any(), (
                "scores are not numbers"
            )
            return
        info, size = trained.info, trained.info.image_size
        assert all(isinstance(name, str) for name in info.classes) and 0 < size <= 10_000
        mean, std = (torch.tensor(values)[:, None, None] for values in (info.mean, info.std))
        logits = trained.network((torch.rand(1, info.channels, 32, 32) - mean) / std).logits
    assert logits.shape == (1, info.num_classes) and logits.isfinite().all(), "scores are not numbers"


def make_hub(rng):
    """The files of a folder for the Hub, whose config.json is another one or damaged."""
    content = content_of("weights-safetensors")
    config = {name: value for name, value in content.items() if name != "weights"}
    text = dumped(grafted(rng, config) if rng.random() < 0.7 else config).encode("utf-8", "surrogatepass")
    data = weights_file("weights-safetensors")
    return {"model.safetensors": data, "config.json": text if rng.random() < 0.7 else damaged(rng, text)}


def check_hub(files, folder):
    """It is the network that was saved, as the description beside it says."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    trained = Trained.from_pretrained(folder)
    content = content_of("weights-safetensors")
    assert json.loads(files["config.json"]) == {key: value for key, value in content.items() if key != "weights"}
    assert same(dict(trained.network.state_dict()), content["weights"]), "other weights"


TARGETS = (
    *(Target(kind, partial(make_weights, kind=kind), check_weights, inputs=100, mebibytes=200) for kind in KINDS),
    Target("hub", make_hub, check_hub, inputs=100, mebibytes=200),
)

"""Testing, predicting and exporting with a trained network, each against a literal computation."""

import copy
import hashlib
import json
import os
import re
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime
import pytest
import torch
from networks import DIGITS, GENOTYPE, fit_classifier, make_network, save_network
from PIL import Image
from sklearn import metrics
from sklearn.datasets import load_digits

import isnas.nets.export
from isnas.apps import export, predict, tester, testing
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.data.data_options import MAX_MEGAPIXELS, DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.decoding import limit_megapixels
from isnas.data.small.batches import Batches
from isnas.data.small.datasets import load_dataset
from isnas.space.cells.network import CellNetwork
from isnas.space.cells.operations import SepConv

pytestmark = pytest.mark.slow


SHOES = DatasetInfo("imagefolder", ("ankle boot", "bag", "coat"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.25), 16, True)


def normalised(pixels, info):
    """uint8 (N, S, S, C) -> float32 (N, C, S, S), in float64 until the end."""
    values = (np.asarray(pixels) / 255 - np.array(info.mean)) / np.array(info.std)
    return torch.from_numpy(values.transpose(0, 3, 1, 2).astype(np.float32))


def knowing_network(info):
    """A network that tells the digits apart, by their remainders if there are fewer classes."""
    network, train = make_network(info), load_dataset(DataOptions(dataset="digits")).train
    pixels = train.images.expand(-1, -1, -1, info.channels)
    fit_classifier(network, normalised(pixels, info), train.labels % info.num_classes)
    return network


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run folder and its network."""
    folder, network = tmp_path_factory.mktemp("digits"), knowing_network(DIGITS)
    save_network(folder / "weights.pt", network)
    return folder, network


def test_test_scores_the_test_images(digits, capsys):
    folder, network = digits
    tester.main([str(folder), "--device", "cpu", "--batch_size", "100"])
    out = capsys.readouterr().out

    test = load_dataset(DataOptions(dataset="digits")).test
    with torch.no_grad():
        logits = network(normalised(test.images, DIGITS)).logits
    labels, found = test.labels.numpy(), logits.argmax(1).numpy()
    accuracy = 100 * metrics.accuracy_score(labels, found)
    assert 60 < accuracy < 100 and "360 test images, on cpu" in out
    assert f"\ntest_acc {accuracy:.6f}\ntest_error {100 - accuracy:.6f}, " in out
    top5, loss = map(float, re.search(r"top-5 accuracy (\S+), loss (\S+)", out).groups())
    assert top5 == pytest.approx(100 * metrics.top_k_accuracy_score(labels, logits.numpy(), k=5), abs=1e-6)
    assert loss == pytest.approx(metrics.log_loss(labels, logits.double().softmax(1).numpy()), abs=2e-6)

    rows = [line.split() for line in out[out.index("class ") :].splitlines()[1:]]
    recalls = 100 * metrics.recall_score(labels, found, average=None)
    assert sorted(row[0] for row in rows) == list(DIGITS.classes)
    assert {row[0]: row[3] for row in rows} == {str(k): f"{recall:.2f}" for k, recall in enumerate(recalls)}
    assert [float(row[3]) for row in rows] == sorted(float(row[3]) for row in rows)
    assert all(float(row[3]) == pytest.approx(100 * int(row[2]) / int(row[1]), abs=0.01) for row in rows)


def test_the_tools_say_the_same_of_either_format(digits, tmp_path, capsys):
    save_network(tmp_path / "run" / "weights.safetensors", digits[1])
    Image.fromarray((load_digits().images[3] * 15.9).astype("uint8")).save(tmp_path / "three.png")
    said = []
    for folder in (digits[0], tmp_path / "run"):
        tester.main([str(folder), "--device", "cpu"])
        predict.main([str(folder), str(tmp_path / "three.png"), "--device", "cpu", "--json"])
        said.append(capsys.readouterr().out.replace(str(folder), "run"))
    assert said[0] == said[1] and "test_acc" in said[0] and '"classes": ["3"' in said[0]


def test_the_table_shows_the_worst_of_many_classes():
    labels, names = torch.arange(50).repeat(2), tuple(f"class {k}" for k in range(51))
    table = testing.class_table(names, labels, torch.where(labels % 2 == 0, labels, 50)).splitlines()
    assert len(table) == 22 and table[-1] == "and 30 classes with a higher accuracy"
    assert table[1].split() == ["class", "1", "2", "0", "0.00"] and "class 50" not in "".join(table)


@dataclass(frozen=True)
class HalfOptions(DataOptions):
    batch_size: int = option(77, "")
    amp: str = option("bf16", "")
    channels_last: bool = option(False, "")


def test_test_computes_as_the_training_did(digits, tmp_path, capsys):
    network = copy.deepcopy(digits[1]).to(memory_format=torch.contiguous_format)
    save_network(tmp_path / "weights.pt", network, options=HalfOptions(dataset="digits"))
    tester.main([str(tmp_path), "--device", "cpu"])
    test = replace(load_dataset(DataOptions(dataset="digits")).test, info=DIGITS)
    lines = []
    for precision in (torch.bfloat16, torch.float32):
        loss = hits = 0
        for x, labels in Batches(test, None, 77, 0, "test", None, "cpu").epoch():
            with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
                logits = network(x.contiguous()).logits.float()
            loss += len(labels) * torch.nn.functional.cross_entropy(logits, labels).item()
            hits += (logits.topk(5, 1).indices[:, 0] == labels).sum().item()  # bfloat16 has ties
        lines.append(f"test 004 {loss / 360:.6e} {100 * hits / 360:.6f} ")
    assert f"\n{lines[0]}" in capsys.readouterr().out and lines[0] != lines[1]


def write_shoes(folder, classes, count=6):
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(256, size=(20, 20, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")


def test_test_finds_own_images_where_they_are_now(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = make_network(SHOES)
    save_network(tmp_path / "weights.pt", network, SHOES, DataOptions(dataset="imagefolder", data="then"))
    arguments = ["weights.pt", "--device", "cpu"]
    with pytest.raises(UserError, match="were in then, which is not there; give --data"):
        tester.main(arguments)
    write_shoes(tmp_path / "now" / "train", SHOES.classes, 1)
    write_shoes(tmp_path / "now" / "test", SHOES.classes)
    tester.main([*arguments, "--data", "now"])
    out = capsys.readouterr().out
    paths = sorted((tmp_path / "now" / "test").rglob("*.png"))
    squares = [Image.open(path).resize((16, 16), Image.Resampling.BILINEAR) for path in paths]
    with torch.no_grad():
        found = network(normalised(np.stack(squares), SHOES)).logits.argmax(1).numpy()
    assert f"test_acc {100 * metrics.accuracy_score(np.repeat(range(3), 6), found):.6f}" in out

    write_shoes(tmp_path / "other", ("bag", "boot", "coat"))
    with pytest.raises(UserError, match=r"the classes bag, boot, coat, but the network tells apart ankle boot, bag, c"):
        tester.main([*arguments, "--data", "other"])
    with pytest.raises(UserError, match=r"the images have 1 channels, the network takes 3"):
        for path in (tmp_path / "other").rglob("*.png"):
            Image.open(path).convert("L").save(path)
        tester.main([*arguments, "--data", "other"])


def write_pictures(folder):
    """A grey, a coloured, a 16-bit and a transparent picture of a digit, of different sizes; their paths."""
    image = load_digits().images[13] / 16
    level = Image.fromarray((255 * image).astype(np.uint8)).resize((40, 40))
    wide = Image.new("RGB", (60, 40), "red")
    wide.paste(Image.merge("RGB", [level, level.rotate(180), level]), (10, 0))
    transparent = Image.merge("LA", [level, level.point(lambda v: 255 - v)])
    pictures = {
        "grey.png": level,
        "wide.jpg": wide,
        "16.png": Image.fromarray((65535 * image).astype(np.uint16)),
        "clear.png": transparent,
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    return [folder / name for name in pictures]


def literal_bytes(path, info):
    """What is in a picture of :func:`write_pictures`, uint8 (S, S, C)."""
    image = Image.open(path)
    if image.mode.startswith("I"):
        image = Image.fromarray(((np.asarray(image).astype(int) + 128) // 257).astype(np.uint8))
    if image.mode == "LA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    left = (image.width - image.height) // 2
    square = left, 0, left + image.height, image.height
    image = image.convert("L" if info.channels == 1 else "RGB")
    pixels = np.asarray(image.resize((info.image_size,) * 2, Image.Resampling.BILINEAR, square))
    return pixels.reshape(info.image_size, info.image_size, info.channels)


@pytest.mark.parametrize("info", [DIGITS, SHOES], ids=["grey", "colour"])
def test_predictions_are_those_of_the_network_on_the_decoded_images(tmp_path, capsys, info):
    network, paths = knowing_network(info), write_pictures(tmp_path)
    save_network(tmp_path / "weights.pt", network, info)
    pixels = np.stack([literal_bytes(path, info) for path in paths])
    with torch.no_grad():
        scores = network(normalised(pixels, info)).logits.double().numpy()
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert np.ptp(expected, axis=0).max() > 0.2  # the pictures differ

    arguments = [str(tmp_path), *map(str, paths), "--device", "cpu"]
    predict.main([*arguments, "--json", "--batch_size", "3", "--top", "99"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == list(map(str, paths))
    for row, probabilities in zip(rows, expected):
        assert sorted(row["classes"]) == sorted(info.classes)
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
        ranked = [probabilities[info.classes.index(name)] for name in row["classes"]]
        np.testing.assert_allclose(row["probabilities"], ranked, rtol=1e-3, atol=1e-6)

    predict.main([*arguments[:2], "--top", "2", *arguments[2:]])
    lines = capsys.readouterr().out.splitlines()
    for line, row in zip(lines, rows, strict=True):
        (one, two), (p, q) = row["classes"][:2], row["probabilities"][:2]
        assert line == f"{row['file']}: {one} {100 * p:.2f} %, {two} {100 * q:.2f} %"


def write_photos(folder, count=7):
    """A class's wide, high and square pictures, JPEG and PNG, one turned by its EXIF orientation."""
    rng, turned = np.random.default_rng(1), Image.Exif()
    turned[0x0112] = 6
    for part in ("train", "val"):
        for name in SHOES.classes:
            (folder / part / name).mkdir(parents=True)
            for number in range(count if part == "val" else 1):
                size = (3, *rng.integers(2, 6, 2))
                coarse = Image.fromarray(rng.integers(256, size=(*size[1:], 3), dtype=np.uint8))
                photo = coarse.resize((int(rng.integers(20, 150)), int(rng.integers(20, 150))))
                path = folder / part / name / f"{number}.{'jpg' if number % 2 else 'png'}"
                photo.save(path, **({"exif": turned} if number == 1 else {}))
    return sorted((folder / "val").rglob("*.*"))


@pytest.mark.parametrize(("dataset", "grey"), [("imagenet", False), ("imagefolder", False), ("imagefolder", True)])
def test_predictions_are_to_the_last_bit_those_of_a_test(tmp_path, capsys, monkeypatch, dataset, grey):
    paths = write_photos(tmp_path / "photos")
    info = replace(SHOES, name=dataset, image_size=24)
    info = replace(info, mean=info.mean[:1], std=info.std[:1]) if grey else info
    network = knowing_network(info)
    options = DataOptions(dataset=dataset, data=str(tmp_path / "photos"), grey=grey)
    save_network(tmp_path / "weights.pt", network, info, options)

    tested = []  # what the network is given by either tool
    forward = CellNetwork.forward
    monkeypatch.setattr(CellNetwork, "forward", lambda self, x: tested.append(x.clone()) or forward(self, x))
    tester.main([str(tmp_path), "--device", "cpu", "--batch_size", "99"])
    predict.main([str(tmp_path), *map(str, paths), "--device", "cpu", "--json", "--top", "3"])
    test, predicted = tested
    assert len(test) == len(paths) == 21 and torch.equal(test, predicted)

    accuracy = re.search(r"test_acc (\S+)", out := capsys.readouterr().out).group(1)
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    right = [row["classes"][0] == path.parent.name for row, path in zip(rows, paths, strict=True)]
    assert accuracy == f"{100 * np.mean(right):.6f}" and 0 < sum(right) < len(right)

    if dataset == "imagenet":  # the literal geometry: 27 = round(24 * 256 / 224)
        image = Image.open(paths[0])
        scale = 27 / min(image.size)
        whole = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (round((side - 24) / 2) for side in whole.size)
        cut = np.asarray(whole.crop((left, top, left + 24, top + 24)))
        assert (predicted[0] - normalised(cut[None], info)[0]).abs().mean() < 0.02
    paths[-1].write_bytes(paths[-1].read_bytes()[:-200])
    with pytest.raises(UserError, match=r"6\.png.* cannot be decoded"):
        predict.main([str(tmp_path), *map(str, paths), "--device", "cpu"])


def test_scores_that_are_not_finite_are_refused(tmp_path, capsys):
    network = make_network(DIGITS)
    with torch.no_grad():
        network.cells[0].preprocess1.bn.running_var.fill_(-1.0)  # finite, and its root is not
    save_network(tmp_path / "weights.pt", network)
    image = write_pictures(tmp_path)[0]
    words = "scores that are not finite; its training has diverged"
    with pytest.raises(UserError, match=words):
        tester.main([str(tmp_path), "--device", "cpu"])
    with pytest.raises(UserError, match=rf"gives .*grey\.png {words}"):
        predict.main([str(tmp_path), str(image), "--device", "cpu"])
    with pytest.raises(UserError, match=words):
        export.main([str(tmp_path)])
    assert capsys.readouterr().out == "" and not list(tmp_path.glob("network*"))


def test_names_cannot_steer_the_terminal(tmp_path, capsys):
    info = replace(DIGITS, classes=("zero\x1b[2J\nforged", *DIGITS.classes[1:]))
    save_network(tmp_path / "weights.pt", make_network(DIGITS), info)
    image = tmp_path / "a\nb.png"
    Image.new("L", (16, 16)).save(image)
    predict.main([str(tmp_path), str(image), "--device", "cpu", "--top", "10"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "\x1b" not in out and r"a\nb.png: " in out and r"zero\x1b[2J\nforged" in out


def test_nothing_is_printed_when_the_last_image_is_damaged(tmp_path, capsys):
    save_network(tmp_path / "weights.pt")
    paths = write_pictures(tmp_path)
    paths[-1].write_bytes(paths[-1].read_bytes()[:-40])  # its header is whole
    with pytest.raises(UserError, match=r"clear\.png cannot be decoded"):
        predict.main([str(tmp_path), *map(str, paths), "--batch_size", "1", "--device", "cpu"])
    Image.fromarray(np.zeros((9, 9), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(UserError, match=r"float\.tiff has pixels of 32 bits, whose range is not known"):
        predict.main([str(tmp_path), *map(str, paths[:2]), str(tmp_path / "float.tiff"), "--device", "cpu"])
    Image.new("L", (1200, 1000)).save(tmp_path / "large.png")
    flags = ["--max_image_megapixels", "1", "--device", "cpu"]
    with pytest.raises(UserError, match=r"large\.png has 1\.2 megapixels .*, more than 1;"):
        predict.main([str(tmp_path), str(tmp_path / "large.png"), *flags])
    limit_megapixels(MAX_MEGAPIXELS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("format", "flags", "name"),
    [("torch", ["--fold"], "network.pt2"), ("onnx", ["--no_normalise", "--output", "mine.onnx"], "mine.onnx")],
)
def test_an_exported_file_and_its_description_are_enough(tmp_path, capsys, monkeypatch, format, flags, name):
    monkeypatch.chdir(tmp_path)
    network = save_network(tmp_path / "run" / "weights.pt", info=SHOES)
    export.main(["run", "--format", format, *flags])
    out = capsys.readouterr().out
    path = tmp_path / ("run" if format == "torch" else ".") / name
    assert {p.name for p in path.parent.iterdir()} - {"weights.pt", "run"} == {name, f"{name}.json"}
    about = json.loads((path.parent / f"{name}.json").read_text())
    assert about["classes"] == list(SHOES.classes) and about["input"]["shape"] == ["batch", 3, 16, 16]
    about_images = {key: about["geometry"][key] for key in ("name", "shorter_side", "centre")}
    assert about_images == {"name": "centre square", "shorter_side": 16, "centre": 16}
    assert (about["folded"], about["genotype"]) == ("--fold" in flags, GENOTYPE.to_json())

    if format == "torch":
        run = torch.export.load(path).module()
    else:
        session = onnxruntime.InferenceSession(path)
        ends = about["input"]["name"], about["output"]["name"]
        run = lambda images: torch.from_numpy(session.run([ends[1]], {ends[0]: images.numpy()})[0])  # noqa: E731
    pixels = np.random.default_rng(0).integers(256, size=(5, 16, 16, 3))
    given = pixels / 255 if format == "torch" else (pixels / 255 - about["mean"]) / about["std"]
    images = torch.from_numpy(given.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        wanted = network(normalised(pixels, SHOES)).logits
        for size in (1, 5):
            torch.testing.assert_close(run(images[:size]), wanted[:size], rtol=0, atol=1e-4)

    assert f"input images, float32 (batch, 3, 16, 16): {about['input']['values']}" in out
    assert about["input"]["values"].startswith("pixels" if format == "torch" else "(pixel in [0, 1] - mean) / std")
    if format == "onnx":
        assert about["params"] == sum(p.numel() for p in network.parameters())
    assert f"{about['params'] / 1e6:.6f} M parameters, {about['multiply_adds'] / 1e6:.1f} M multiply-adds" in out
    assert f"differ by {about['largest_difference']:.1e} at most" in out and "ms by PyTorch without it" in out


def test_a_file_that_fails_its_check_is_not_kept(tmp_path, monkeypatch):
    save_network(tmp_path / "weights.pt")
    (tmp_path / "network.pt2").write_text("of an earlier export")
    monkeypatch.setattr(SepConv, "folds", {"bn1": ("pointwise2",)})
    with pytest.raises(UserError, match=r"differ from the network's by \d.*that rounding explains; the file was not"):
        export.main([str(tmp_path), "--fold"])
    assert {path.name for path in tmp_path.iterdir()} == {"weights.pt", "network.pt2"}
    assert (tmp_path / "network.pt2").read_text() == "of an earlier export"


@pytest.mark.parametrize("refused", range(1, 4))
def test_a_description_never_lies_beside_the_model_of_another_network(tmp_path, monkeypatch, refused):
    save_network(tmp_path / "old" / "weights.pt")
    save_network(tmp_path / "new" / "weights.pt", info=SHOES)
    path, beside = tmp_path / "network.pt2", tmp_path / "network.pt2.json"
    export.main([str(tmp_path / "old"), "--output", str(path)])
    replaces, before = [], os.replace

    def replace_until(source, target):  # as a kill before one of the renames
        replaces.append(target)
        if len(replaces) == refused:
            raise KeyboardInterrupt
        before(source, target)

    monkeypatch.setattr(os, "replace", replace_until)
    try:
        export.main([str(tmp_path / "new"), "--output", str(path)])
        assert refused == 3  # all went well
    except KeyboardInterrupt:
        assert refused < 3
    sizes = {10: (1, 16, 16), 3: (3, 16, 16)}
    if beside.exists():
        about = json.loads(beside.read_text())
        run = torch.export.load(path).module()
        assert run(torch.zeros(2, *sizes[len(about["classes"])])).shape == (2, len(about["classes"]))
        assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert beside.exists() or refused in (1, 2)  # before the model, and between it and its description
    assert {file.name for file in tmp_path.iterdir()} <= {"old", "new", "network.pt2", "network.pt2.json"}


def test_a_place_that_cannot_be_is_refused_before_the_export(tmp_path):
    assert export.FORMATS == isnas.nets.export.SUFFIXES
    save_network(tmp_path / "weights.pt")
    for output, words in (("a/b.pt2", "there is no folder a"), ("b.onnx", r"must end in \.pt2, as --format is torch")):
        with pytest.raises(UserError, match=words):
            export.main([str(tmp_path), "--output", output])

"""The files of a test, the ways to predict, and the documentation's program for an exported network."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from networks import save_network
from PIL import Image
from sklearn import metrics
from starting import ROOT
from test_use import SHOES, knowing_network, write_photos

from isnas.apps import export, predict, tester
from isnas.base.errors import UserError
from isnas.data.data_options import DataOptions

INFO = replace(SHOES, name="imagefolder", image_size=24)


@pytest.fixture(scope="module")
def shoes(tmp_path_factory):
    """A folder with a trained network and photographs, the last of which cannot be read."""
    folder = tmp_path_factory.mktemp("shoes")
    paths = write_photos(folder / "photos")
    for path in paths[:3]:  # so that the classes have different numbers of images
        path.unlink()
    options = DataOptions(dataset="imagefolder", data=str(folder / "photos"))
    save_network(folder / "run" / "weights.pt", knowing_network(INFO), INFO, options)
    return folder, paths[3:]


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))


def predicted(folder, *words, capsys):
    predict.main([str(folder / "run"), *map(str, words), "--device", "cpu", "--json", "--top", "3"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_test_leaves_its_confusions_and_the_wrong_images(shoes, tmp_path, capsys):
    folder, paths = shoes
    tester.main([str(folder / "run"), "--device", "cpu", "--batch_size", "5", "--output", str(tmp_path / "out")])
    out = capsys.readouterr().out
    rows = predicted(folder, folder / "photos" / "val", capsys=capsys)
    assert [row["file"] for row in rows] == list(map(str, paths))
    labels, found = [path.parent.name for path in paths], [row["classes"][0] for row in rows]
    balanced = 100 * metrics.balanced_accuracy_score(labels, found)
    assert f"balanced accuracy {balanced:.6f}, " in out and balanced != 100 * metrics.accuracy_score(labels, found)

    header, *counts = table(tmp_path / "out/confusion.csv")
    assert header[1:] == [row[0] for row in counts] == list(INFO.classes)
    expected = metrics.confusion_matrix(labels, found, labels=INFO.classes)
    np.testing.assert_array_equal([list(map(int, row[1:])) for row in counts], expected)

    wrong = [(str(path), label, row) for path, label, row in zip(paths, labels, rows) if label != row["classes"][0]]
    wrong.sort(key=lambda entry: -entry[2]["probabilities"][0])
    _, *listed = table(tmp_path / "out/wrong.csv")
    assert len(wrong) > 2 and [row[:3] for row in listed] == [[p, label, r["classes"][0]] for p, label, r in wrong]
    for cells, (_, label, row) in zip(listed, wrong):
        of_class = row["probabilities"][row["classes"].index(label)]
        np.testing.assert_allclose([float(cells[3]), float(cells[4])], [row["probabilities"][0], of_class], atol=1e-4)

    sheet = Image.open(tmp_path / "out/wrong.png").convert("RGB")
    first = Image.open(wrong[0][0]).convert("RGB")
    assert first.getexif().get(0x0112, 1) in (1, 6)
    side = min(first.size)
    box = ((first.width - side) / 2, (first.height - side) / 2, (first.width + side) / 2, (first.height + side) / 2)
    turned = first.resize((24, 24), Image.Resampling.BILINEAR, box)
    turned = turned.transpose(Image.Transpose.ROTATE_270) if first.getexif().get(0x0112) == 6 else turned
    shown = np.asarray(sheet.crop((8, 8, 136, 136)), float)
    wanted = np.asarray(turned.resize((128, 128), Image.Resampling.NEAREST), float)
    assert np.abs(shown - wanted).max() <= 1
    assert Image.open(tmp_path / "out/confusion.png").width > 300

    tester.main([str(folder / "run"), "--device", "cpu"])  # without --output, beside the weights
    assert (folder / "run/wrong.csv").read_text() == (tmp_path / "out/wrong.csv").read_text()


def test_folders_are_predicted_bad_files_left_out_and_answers_written(shoes, tmp_path, capsys):
    folder, paths = shoes
    (tmp_path / "new" / "deeper").mkdir(parents=True)
    for number, path in enumerate(paths[:4]):
        (tmp_path / "new" / ("deeper" if number % 2 else ".") / path.name).write_bytes(path.read_bytes())
    (tmp_path / "new" / ".hidden.png").write_text("")
    (tmp_path / "new" / "notes.txt").write_text("")
    whole = predicted(folder, tmp_path / "new", capsys=capsys)
    assert len(whole) == 4
    (tmp_path / "new" / "a.png").write_text("no image")
    cut = tmp_path / "new" / "deeper" / "z.png"
    cut.write_bytes(next(path for path in paths if path.suffix == ".png").read_bytes()[:-40])
    words = [str(folder / "run"), str(tmp_path / "new"), "--device", "cpu"]
    with pytest.raises(UserError, match=r"a\.png"):
        predict.main(words)
    predict.main([*words, "--skip_bad", "--output", str(tmp_path / "found.csv"), "--top", "2"])
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'found.csv'}: 4 images\n" and said.err.count("WARNING: left out: ") == 2
    header, *rows = table(tmp_path / "found.csv")
    assert header == ["file", "class", "probability", "class_2", "probability_2"]
    assert [row[:2] + row[3:4] for row in rows] == [[row["file"], *row["classes"][:2]] for row in whole]
    np.testing.assert_allclose([float(row[2]) for row in rows], [row["probabilities"][0] for row in whole], atol=1e-5)
    (tmp_path / "empty").mkdir()
    for wrong, message in (
        (["--output", "a.txt"], r"must end in \.csv"),
        ([str(tmp_path / "empty")], "holds no image"),
    ):
        with pytest.raises(UserError, match=message):
            predict.main([*words, *wrong])


@pytest.mark.slow
@pytest.mark.parametrize("grey", [False, True])
def test_the_program_of_the_documentation_says_what_predict_says(shoes, tmp_path, monkeypatch, capsys, grey):
    info = replace(INFO, mean=INFO.mean[:1], std=INFO.std[:1]) if grey else INFO
    monkeypatch.chdir(tmp_path)
    save_network(tmp_path / "digits" / "weights.pt", knowing_network(info), info)
    export.main(["digits", "--format", "onnx"])
    paths = [*shoes[1], *write_more(tmp_path)]
    Image.new("L", (16, 16)).save("three.png")
    (program,) = re.findall(r"```python\n(import json\nimport numpy.*?)```", (ROOT / "docs/use.md").read_text(), re.S)
    names = {}
    exec(program, names)
    capsys.readouterr()
    predict.main(["digits", *map(str, paths), "--device", "cpu", "--json", "--top", "3"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({row["classes"][0] for row in rows}) > 1
    for path, row in zip(paths, rows, strict=True):
        found = names["probabilities"](path)
        np.testing.assert_allclose([found[name] for name in row["classes"]], row["probabilities"], atol=1e-4)


def write_more(folder):
    """A large JPEG that is turned, of sides that no power of two divides, and a transparent PNG."""
    rng, turned = np.random.default_rng(4), Image.Exif()
    turned[0x0112] = 8
    noise = Image.fromarray(rng.integers(256, size=(31, 47, 3), dtype=np.uint8)).resize((503, 333))
    noise.save(folder / "large.jpg", exif=turned)
    noise.putalpha(noise.convert("L"))
    noise.resize((77, 50)).save(folder / "clear.png", exif=turned)
    return [folder / "large.jpg", folder / "clear.png"]

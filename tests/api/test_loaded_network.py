"""What a loaded network says of images, however they are given, against the network itself."""

import json

import numpy as np
import pytest
import torch
from networks import DIGITS, save_network
from PIL import ExifTags, Image
from sklearn.datasets import load_digits

import isnas
from isnas.base.errors import UserError
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo

COLOURS = DatasetInfo("imagefolder", ("a", "b", "c"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.25), 16, True)


@pytest.fixture
def colours(tmp_path):
    save_network(tmp_path / "run/weights.pt", info=COLOURS)
    return isnas.load(tmp_path / "run")


def picture(seed, size=(16, 16, 3)):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def expected(network, pixels, info=COLOURS):
    """Probabilities of bytes (N, S, S, C), normalised in float64."""
    x = (torch.from_numpy(np.stack(pixels)).double() / 255 - torch.tensor(info.mean)) / torch.tensor(info.std)
    with torch.no_grad():
        return network(x.permute(0, 3, 1, 2).float()).logits.softmax(1).numpy()


def test_arrays_are_what_the_network_says(colours):
    pixels = [picture(seed) for seed in range(3)]
    found = colours.predict(pixels)
    wanted = expected(colours.network, pixels)
    for prediction, row in zip(found, wanted):
        assert np.allclose(prediction.probabilities, row, atol=1e-5)
        assert prediction.label == COLOURS.classes[row.argmax()] and prediction.probability == max(
            prediction.probabilities
        )
        assert [label for label, _ in prediction.top(2)] == [COLOURS.classes[k] for k in np.argsort(-row)[:2]]
    assert [each.name for each in found] == ["image 0", "image 1", "image 2"]
    one = colours.predict(pixels[1])
    assert one.label == found[1].label and repr(one).startswith(f"Prediction(image 0: {one.label} ")
    stacked = colours.predict(np.stack(pixels), batch_size=2)
    assert [each.name for each in stacked] == ["image 0", "image 1", "image 2"]
    assert np.allclose([each.probabilities for each in stacked], wanted, atol=1e-5)
    assert colours.predict([]) == []


def test_a_picture_is_classified_as_its_file(colours, tmp_path):
    """Of any mode, turned by its metadata, of a size that is scaled and cut."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    rgb = Image.fromarray(picture(5, (40, 23, 3)))
    shapes = {
        "turned.png": (rgb, {"exif": turned}),
        "grey.png": (rgb.convert("L"), {}),
        "transparent.png": (Image.fromarray(picture(6, (21, 30, 4))), {}),
        "palette.png": (rgb.convert("P"), {}),
        "print.tif": (rgb.convert("CMYK"), {}),
        "deep.png": (Image.fromarray(picture(7, (20, 20)).astype(np.uint16) * 257), {}),
    }
    for name, (image, how) in shapes.items():
        image.save(tmp_path / name, **how)
    paths = [tmp_path / name for name in shapes]
    from_files = colours.predict(paths)
    opened = colours.predict([Image.open(path) for path in paths])
    assert [each.probabilities for each in opened] == [each.probabilities for each in from_files]
    assert [each.name for each in opened] == list(map(str, paths))
    in_memory = colours.predict([image for image, how in shapes.values() if not how])
    assert [each.probabilities for each in in_memory] == [each.probabilities for each in from_files[1:]]
    upright = colours.predict(rgb.transpose(Image.Transpose.ROTATE_270))
    assert np.allclose(upright.probabilities, from_files[0].probabilities, atol=0.02)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4)), r"image 0 is an array of float64.*astype\('uint8'\)"),
        (np.zeros((3, 8, 8), np.uint8), r"image 0 is an array of shape \(3, 8, 8\)"),
        (np.zeros((0, 8), np.uint8), r"shape \(0, 8\)"),
        (["nowhere.png"], "cannot read nowhere.png"),
        ([3], "image 0 is a int; give paths"),
        (Image.new("F", (8, 8)), "image 0 has pixels of 32 bits"),
    ],
    ids=["float", "channels first", "empty", "no file", "no image", "no range"],
)
def test_what_is_no_image(image, message, colours, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        colours.predict(image)
    with pytest.raises(UserError, match="batch_size must be an integer from 1 up"):
        colours.predict(image, batch_size=0)


def test_it_says_what_it_is_and_is_tested(tmp_path):
    network = save_network(
        tmp_path / "run/weights.pt", info=DIGITS, options=DataOptions(dataset="digits", image_size=16)
    )
    loaded = isnas.load(str(tmp_path / "run/weights.pt"))
    assert (loaded.classes, loaded.channels, loaded.image_size) == (DIGITS.classes, 1, 16)
    assert loaded.mean == DIGITS.mean and not loaded.network.training
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.network(x).logits, network(x).logits)
    tested = loaded.test(batch_size=50, output=tmp_path / "tested")
    assert (tmp_path / "tested/confusion.csv").exists()
    assert tested.balanced_acc == pytest.approx(np.mean(list(tested.class_acc.values())))
    images = tested.class_acc
    assert tested.num_images == 360 and set(images) == set(DIGITS.classes) and tested.left_out == ()
    labels = np.array(load_digits().target)  # a stratified fifth of 1,797
    shares = np.round(np.bincount(labels) / 5) / 360
    mean = sum(share * images[str(k)] for k, share in enumerate(shares))
    assert abs(mean - tested.test_acc) < 1.0 and 0.0 <= tested.test_acc <= tested.test_acc_top5 <= 100.0
    with pytest.raises(UserError, match="unknown option 'datta'; did you mean data"):
        loaded.test(datta="here")
    for command in (loaded.test, loaded.export):
        with pytest.raises(UserError, match=r"this is the network of .*leave run out"):
            command(run="another")


@pytest.mark.slow
def test_its_export_is_loaded_by_torch(colours, tmp_path):
    exported = colours.export(tmp_path / "network.pt2", fold=True)
    pixels = picture(9)
    program = torch.export.load(exported.path).module()
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    assert np.allclose(program(x).softmax(1).detach().numpy(), colours.predict(pixels).probabilities, atol=1e-5)
    assert json.loads(exported.description_path.read_text()) == json.loads(json.dumps(exported.description))
    assert exported.largest_difference < 1e-4 and exported.milliseconds > 0
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        colours.export("network.pt2", format="onnx")


def test_what_is_no_network(tmp_path):
    with pytest.raises(UserError, match="there is no "):
        isnas.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds no weights\.pt"):
        isnas.load(tmp_path)

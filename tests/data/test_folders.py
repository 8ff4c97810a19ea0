"""Own images in folders: their layout, their common size and channels, and what is wrong with them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.data.data_options import DataOptions
from isnas.data.decoding import Header
from isnas.data.small import capacity
from isnas.data.small.datasets import Dataset, load_dataset
from isnas.data.small.folders import natural_size, read_headers, read_images


def load(data: Path | str, **values) -> Dataset:
    return load_dataset(build(DataOptions, {"dataset": "imagefolder", "data": str(data)} | values))


def write_digits(folder: Path, classes: str = "012", count: int = 6, colour: bool = False, size: int = 8) -> None:
    """``count`` digits of each class as PNG and JPEG in turn; in colour they are red on black."""
    digits = load_digits()
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(digits.images[digits.target == int(name)][:count]):
            picture = Image.fromarray((image * 255 / 16).astype(np.uint8)).resize((size, size))
            if colour:
                picture = Image.merge("RGB", [picture, *[Image.new("L", (size, size))] * 2])
            picture.save(folder / name / f"{number:02}.{'jpg' if number % 2 else 'PNG'}", quality=95)


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_a_folder_of_classes_is_what_torchvision_reads(tmp_path, test_name):
    write_digits(tmp_path / "train", "201", colour=True)
    write_digits(tmp_path / "train", "2", count=3)  # grey ones among them
    write_digits(tmp_path / test_name, count=3)
    (tmp_path / "train" / "0" / "notes.txt").write_text("no image")
    dataset = load(tmp_path)
    for part, name in ((dataset.train, "train"), (dataset.test, test_name)):
        expected = torchvision.datasets.ImageFolder(tmp_path / name)
        assert dataset.info.classes == tuple(expected.classes)
        assert part.labels.tolist() == expected.targets
        np.testing.assert_array_equal(part.images, np.stack([np.asarray(image) for image, _ in expected]))
    info = dataset.info
    pixels = dataset.train.images.double() / 255
    assert info.mean == pytest.approx(pixels.mean((0, 1, 2)).tolist())
    assert info.std[0] == pytest.approx(float(pixels[..., 0].std(correction=0)))
    assert (info.name, info.image_size, info.channels, info.flip) == ("imagefolder", 8, 3, True)


def test_images_are_found_below_a_class_but_not_what_is_hidden_or_linked_in_a_circle(tmp_path):
    write_digits(tmp_path / "train", "01")
    write_digits(tmp_path / "train" / "1", "1", count=2)
    write_digits(tmp_path / "elsewhere", "2", count=4)
    (tmp_path / "train" / "2").symlink_to(tmp_path / "elsewhere" / "2")
    (tmp_path / "train" / "0" / "circle").symlink_to(tmp_path / "train" / "0")
    (tmp_path / "train" / "1" / "._00.png").write_text("no image")
    (tmp_path / "train" / "1" / ".trash").mkdir()
    (tmp_path / "train" / "1" / ".trash" / "a.png").write_text("no image")
    (tmp_path / "train" / ".cache").mkdir()
    write_digits(tmp_path / "test")
    dataset = load(tmp_path)
    assert torch.bincount(dataset.train.labels).tolist() == [6, 8, 4]


def test_without_a_test_folder_a_fixed_fifth_of_every_class_is_the_test_set(tmp_path):
    write_digits(tmp_path, count=20)
    (tmp_path / "README.md").write_text("no image")
    dataset = load(tmp_path)
    assert torch.bincount(dataset.train.labels).tolist() == [16] * 3
    assert torch.bincount(dataset.test.labels).tolist() == [4] * 3
    assert dataset.train.labels.tolist() == sorted(dataset.train.labels)
    together = torch.cat([dataset.train.images, dataset.test.images]).flatten(1).tolist()
    everything = torchvision.datasets.ImageFolder(tmp_path)
    assert sorted(together) == sorted(np.asarray(image.convert("L")).flatten().tolist() for image, _ in everything)
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(load(tmp_path).test.images, dataset.test.images)


@pytest.mark.parametrize("coloured", [None, "train", "test"])
def test_the_images_are_grey_if_all_of_them_are(tmp_path, coloured):
    write_digits(tmp_path / "train")
    write_digits(tmp_path / "test")
    if coloured:
        write_digits(tmp_path / coloured, "1", count=1, colour=True)
    dataset = load(tmp_path)
    assert dataset.info.channels == dataset.test.images.shape[3] == (3 if coloured else 1)
    if coloured:
        grey = load(tmp_path, grey=True)
        assert grey.info.channels == 1
        assert torch.equal(grey.train.images[:6, ..., 0], dataset.train.images[:6, ..., 1])  # a grey class
    else:
        with pytest.raises(UserError, match="--grey has no effect: the images of imagefolder are grey already"):
            load(tmp_path, grey=True)


def test_the_size_is_the_users_or_that_of_the_training_images(tmp_path):
    write_digits(tmp_path / "train", size=20)
    write_digits(tmp_path / "test", size=30)
    assert load(tmp_path).test.images.shape == (18, 20, 20, 1)
    assert load(tmp_path, image_size=12).train.images.shape == (18, 12, 12, 1)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(28, 28)] * 3, 28),
        ([(9, 9)] * 3, 9),
        ([(7, 7)] * 3, 16),
        ([(225, 225)] * 3, 224),
        ([(30, 40)] * 3, 32),
        ([(64, 64), (40, 30), (41, 90)], 40),
        ([(50, 90), (53, 90)], 52),
        ([(4000, 3000), (640, 480)], 224),
        ([(9, 20), (9, 9)], 16),
    ],
)
def test_the_size_without_the_users_is_a_common_square_or_the_median_of_the_shorter_sides(sizes, expected):
    assert natural_size([Header(min(size), size[0] == size[1], True) for size in sizes]) == expected


def test_the_folder_may_be_relative_or_below_home(tmp_path, monkeypatch):
    write_digits(tmp_path / "own images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    absolute = load(tmp_path / "own images").train.images
    for data in ("own images", "./own images/", "~/own images"):
        assert torch.equal(load(data).train.images, absolute)


def without_images(folder: Path) -> None:
    (folder / "3").mkdir()
    (folder / "3" / "a.txt").touch()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda f: None, r"does not exist"),
        (lambda f: f.mkdir(), r"is empty; put the images into train/CLASS"),
        (lambda f: f.write_text("text"), r"--data .* is not a folder"),
        (lambda f: (f.mkdir(), (f / "a.png").touch()), r"holds no folders; put"),
        (lambda f: write_digits(f, "1"), r"holds fewer than 2 class folders; put"),
        (lambda f: write_digits(f / "train"), r"has train but neither test nor val; put"),
        (lambda f: write_digits(f / "val"), r"has val but no train; put"),
        (lambda f: (write_digits(f), without_images(f)), r"class folder .*/3 holds no image \(.*jpg.*png"),
        (lambda f: (write_digits(f), write_digits(f, "5", count=4)), r"/5 holds 4 images, too few to split off"),
        (
            lambda f: (write_digits(f / "train", "0127"), write_digits(f / "test", "0345")),
            r"differ: train has 1, 2, 7, which test has not; test has 3, 4, 5, which train has not",
        ),
    ],
)
def test_a_folder_of_another_layout_is_a_user_error(tmp_path, prepare, message):
    prepare(tmp_path / "data")
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path / "data")
    assert str(tmp_path / "data") in str(error.value)


def damage(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_bytes((folder / name).read_bytes()[: (folder / name).stat().st_size // 2])
    return [folder / name for name in names]


def test_the_first_few_of_the_damaged_files_are_named_with_their_number_and_nothing_goes_to_the_screen(tmp_path, capfd):
    write_digits(tmp_path / "train", count=80)
    write_digits(tmp_path / "test")
    (first,) = damage(tmp_path / "train", "1/01.jpg")
    with pytest.raises(
        UserError, match=r"1/01.jpg cannot be decoded .* replace it .* without it by --max_bad_images 1"
    ):
        load(tmp_path)
    others = damage(tmp_path / "train", "1/60.PNG", "2/07.jpg") + damage(tmp_path / "test", "0/01.jpg", "0/03.jpg")
    (tmp_path / "train" / "0" / "02.PNG").write_bytes(b"text")  # what its header says already
    with pytest.raises(UserError, match=r"^6 images cannot be read") as error:
        load(tmp_path)
    assert all(str(path) in str(error.value) for path in [first, *others[:3]]) and "and 1 more" in str(error.value)
    assert "0/02.PNG is not an image" in str(error.value) and "without them by --max_bad_images 6" in str(error.value)
    with pytest.raises(UserError, match=r"^6 images cannot be read"):
        load(tmp_path, max_bad_images=5)
    assert capfd.readouterr() == ("", "")


def test_several_files_are_told_of_at_once_and_no_name_that_is_not_utf8(tmp_path):
    write_digits(tmp_path, "0", count=3)
    paths = [*sorted((tmp_path / "0").iterdir()), tmp_path / "none.png", tmp_path / "gone.png"]
    with pytest.raises(UserError, match=r"^2 images cannot be read.*gone.png.*: cannot read .*/none.png"):
        read_headers(paths)
    damage(tmp_path, "0/00.PNG", "0/02.PNG")
    with pytest.raises(UserError, match=r"^2 images cannot be read.*/02.PNG: .*/00.PNG cannot be decoded"):
        read_images(paths[:3], 8, 1)
    with pytest.raises(UserError, match=r"the name of .*/\\udcff.png is not UTF-8; rename it"):
        read_headers([tmp_path / os.fsdecode(b"\xff.png")])


def test_so_many_bad_images_as_are_allowed_are_left_out_as_if_they_were_not_there(tmp_path):
    write_digits(tmp_path / "train")
    write_digits(tmp_path / "test", count=4)
    bad = damage(tmp_path, "train/1/01.jpg", "train/2/04.PNG", "test/0/00.PNG")
    (tmp_path / "train" / "0" / "00.PNG").write_bytes(b"text")
    bad.insert(0, tmp_path / "train" / "0" / "00.PNG")
    with_bad = load(tmp_path, max_bad_images=4)
    assert [each.path for part in (with_bad.train, with_bad.test) for each in part.left_out] == bad
    assert torch.bincount(with_bad.train.labels).tolist() == [5, 5, 5] and len(with_bad.test) == 11
    for path in bad:
        path.unlink()
    without = load(tmp_path)
    for one, other in ((with_bad.train, without.train), (with_bad.test, without.test)):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
        assert one.digest == other.digest and not other.left_out
    assert with_bad.info == without.info


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("train/1/*", "none of the training images of 1 can be read; 6 images"),
        ("test/*/*", "none of the test images can"),
    ],
)
def test_a_class_or_a_test_set_without_whole_images_is_refused(tmp_path, bad, words):
    write_digits(tmp_path / "train")
    write_digits(tmp_path / "test", count=2)
    for path in tmp_path.glob(bad):
        path.write_bytes(b"text")
    with pytest.raises(UserError, match=words):
        load(tmp_path, max_bad_images=50)


def test_images_that_would_take_too_much_memory_are_refused(tmp_path, monkeypatch):
    write_digits(tmp_path, colour=True)
    monkeypatch.setattr(capacity, "MEMORY_LIMIT_BYTES", 18 * 3 * 64**2)
    assert load(tmp_path, image_size=64).info.image_size == 64
    (tmp_path / "0" / "00.PNG").write_bytes((tmp_path / "0" / "00.PNG").read_bytes()[:90])  # must not be decoded
    with pytest.raises(UserError, match=r"18 images of 68 x 68 x 3 .* choose an --image_size of at most 64"):
        load(tmp_path, image_size=68)

"""Folders as systems, archivers and people leave them: what are parts, classes and images, and what is refused."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from isnas.base.errors import UserError
from isnas.data.class_folders import role
from isnas.data.large.encoded import list_folders
from isnas.data.small.folders import list_images

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))

#: The classes, and how many images of each there are for training and for testing.
Listed = tuple[tuple[str, ...], Counter, Counter]


def small(root: Path) -> Listed:
    classes, train, test = list_images(root)
    return classes, *(Counter(classes[label] for _, label in part) for part in (train, test))


def large(root: Path) -> Listed:
    classes, train, test = list_folders(root)
    return classes, *(Counter(classes[label] for label in part.labels.tolist()) for part in (train, test))


both = pytest.mark.parametrize("listed", [small, large])


def write(root: Path, *folders: str, count: int = 5) -> Path:
    """Files that need not be images, as they are only listed."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / f"{number}.png").touch()
    return root


def parts(root: Path, train: str = "train", test: str = "test") -> Path:
    write(root, f"{train}/cat", f"{train}/dog", count=5)
    return write(root, f"{test}/cat", f"{test}/dog", count=2)


EXPECTED = (("cat", "dog"), Counter(cat=5, dog=5), Counter(cat=2, dog=2))


@both
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("TRAIN", "Test"),
        ("training_set", "test_set"),
        ("trainset", "valset"),
        ("train", "valid"),
        ("Train Data", "Validation"),
        ("images-train", "images-val"),
    ],
)
def test_training_and_testing_are_parts_under_all_their_usual_names(tmp_path, listed, train, test):
    assert listed(parts(tmp_path, train, test)) == EXPECTED


def test_names_of_classes_are_none_of_parts():
    for name in ("trains", "trainer", "contest", "tests2", "valley", "value", "evaluate", "data", "images", "set", ""):
        assert role(name) is None


@both
def test_what_systems_leave_behind_is_neither_class_nor_image(tmp_path, listed):
    parts(tmp_path)
    folders = ["__MACOSX", "@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "System Volume Information", "RECYCLER"]
    folders += [".ipynb_checkpoints", ".thumbnails", ".AppleDouble", ".Trashes", "@Recycle", "LOST.DIR", "cat~"]
    for place in ("", "train", "test", "train/cat", "test/dog"):
        write(tmp_path / place, *folders, *(f"{folder}/cat" for folder in folders))
    for place in ("train/cat", "test/dog"):
        for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "0.png~", "~$0.png", "@eaDir.txt"):
            (tmp_path / place / name).touch()
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.png")
    (tmp_path / "train" / "cat" / "lost.png").symlink_to("nowhere")  # an image that is missing, and must not be missed
    classes, train, test = EXPECTED
    assert listed(tmp_path) == (classes, train + Counter(cat=1), test)


def test_what_systems_leave_behind_beside_classes_is_none_of_them(tmp_path):
    write(tmp_path, "cat", "dog", "__MACOSX/cat", "lost+found", "@eaDir", "$RECYCLE.BIN")
    assert small(tmp_path)[0] == ("cat", "dog")


@both
@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda f: parts(write(f, "Train/cat", "Train/dog")), ["holds both Train and train"]),
        (lambda f: write(f, "train/cat", "train/dog"), ["has train but neither test nor val"]),
        (lambda f: write(f, "Validation/cat", "Validation/dog"), ["has Validation but no train"]),
        (lambda f: parts(f / "index" / "data"), ["index/data below it holds test, train", "give that folder"]),
        (lambda f: parts(write(f / "train", "train/cat", "test/cat").parent), ["train holds train and test"]),
        (lambda f: parts(write(f, "train/copy/cat", "test/copy/cat")), ["copy/cat is called like the class cat"]),
        (lambda f: parts(write(f, "train/dog/old/cat")), ["train/dog/old/cat is called like the class cat"]),
        (lambda f: parts(write(f, "train/dog/train", "train/dog/test")), ["train/dog holds train and test"]),
        (lambda f: parts(write(f, f"train/{NFC}", f"train/{NFD}")), [r"'caf\xe9'", r"'cafe\u0301'", "in two ways"]),
        (lambda f: parts(write(f, "train/\u0441at")), ["train has \u0441at (\\u0441at), which test has not"]),
        (lambda f: parts(write(f, "train/a\nb")), ["train/a\\nb has control characters in its name"]),
        (lambda f: parts(write(f, "train/a\x1b[2J")), ["train/a\\x1b[2J has control characters in its name"]),
        (lambda f: parts(write(f, "train/cat ")), ["has a blank at an end of its name"]),
        (lambda f: parts(write(f, os.fsdecode(b"train/\xff"))), ["train/\\udcff is not UTF-8"]),
        (lambda f: (parts(f), (f / os.fsdecode(b"test/cat/\xff.png")).touch()), ["test/cat/\\udcff.png is not UTF-8"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_names_of_the_folders(
    tmp_path, listed, prepare: Callable[[Path], Path], words
):
    prepare(tmp_path / "images")
    with pytest.raises(UserError) as error:
        listed(tmp_path / "images")
    assert [word for word in words if word not in str(error.value)] == []
    assert str(error.value).isprintable() and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda f: write(f, "cat", "dog", "copy/cat", "copy/dog"), "copy/cat is called like the class cat"),
        (lambda f: write(f, "cat", "dog", "dataset/train/cat", "dataset/test/cat"), "dataset holds train and test"),
        (lambda f: write(f, "cat/train", "cat/test", "dog/train", "dog/test"), "cat holds train and test"),
        (lambda f: write(f / "pets", "cat", "dog"), "images/pets below it holds cat, dog"),
    ],
)
def test_a_copy_beside_the_classes_is_no_class(tmp_path, prepare, words):
    prepare(tmp_path / "images")
    with pytest.raises(UserError, match=words):
        small(tmp_path / "images")


def test_images_may_lie_deeper_below_a_folder_called_like_their_own_class(tmp_path):
    write(tmp_path, "cat/cat", "cat/white", "dog/dog", count=5)
    assert small(tmp_path)[1:] == (Counter(cat=8, dog=4), Counter(cat=2, dog=1))


@both
def test_a_name_is_the_same_class_however_its_accents_are_spelt(tmp_path, listed):
    write(tmp_path, f"train/{NFC}", "train/cat")
    write(tmp_path, f"test/{NFD}", "test/cat")
    counts = Counter({NFC: 5, "cat": 5})
    assert listed(tmp_path) == ((NFC, "cat"), counts, counts)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfdog\r\ncaf\xc3\xa9\r\n",
        "dog\ncaf\u00e9".encode("utf-16"),
        f"dog\r{NFD}\r".encode(),
    ],
)
def test_classes_txt_may_come_from_any_editor(tmp_path, content):
    write(tmp_path, f"train/{NFD}", "train/dog", f"val/{NFC}", "val/dog")
    (tmp_path / "classes.txt").write_bytes(content)
    classes, train, val = list_folders(tmp_path)
    assert classes == ("dog", "caf\u00e9")
    assert [Path(train.name(number)).parent.name for number in (0, 5)] == ["dog", NFD]
    assert [Path(val.name(number)).parent.name for number in (0, 5)] == ["dog", NFC]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat\ndog\xff\n", "it is not UTF-8 text"),
        (b"cat\ndo\x1bg\n", "has control characters in its name"),
        (f"{NFC}\n{NFD}\n".encode(), "twice"),
    ],
)
def test_a_classes_txt_that_names_no_classes_is_refused(tmp_path, content, words):
    parts(tmp_path)
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        list_folders(tmp_path)
    assert str(error.value).isprintable()

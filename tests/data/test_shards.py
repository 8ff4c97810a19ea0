"""Shards: reading those of others by the WebDataset layout, the index beside them, and what can be wrong with them."""

import io
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.data.large import shard_index, shards
from isnas.data.large.packed import require_numbers
from isnas.data.large.shard_index import Entries, read_index, scan_shard
from isnas.data.large.shards import ShardImages, list_shards, write_shard


def write_tar(path: Path, members: list[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size, header.type = len(content), kind
            archive.addfile(header, io.BytesIO(content))
    return path


def write_shards(folder: Path, counts: tuple[int, ...], name: str = "train") -> list[Path]:
    """Shards of samples whose bytes are their numbers and whose classes are these modulo 3."""
    paths, number = [], 0
    for shard, count in enumerate(counts):
        paths.append(folder / f"{name}-{shard:06d}.tar")
        numbers = range(number, number + count)
        write_shard(paths[-1], [(f"{k:04d}.jpg", f"image {k}".encode(), k % 3) for k in numbers])
        number += count
    return paths


def test_a_shard_is_read_by_tarfile_and_gives_back_its_images(tmp_path):
    paths = write_shards(tmp_path, (5, 3, 4))
    with tarfile.open(paths[1]) as archive:
        members = [(member.name, archive.extractfile(member).read()) for member in archive]
    assert members[:3] == [("0005.jpg", b"image 5"), ("0005.cls", b"2"), ("0006.jpg", b"image 6")]
    images = ShardImages(paths, read_index(paths, "train"))
    assert len(images) == 12
    assert [images.read(k) for k in range(12)] == [f"image {k}".encode() for k in range(12)]
    assert images.labels.tolist() == [k % 3 for k in range(12)]
    assert images.name(8) == f"{paths[2]}:0008.jpg"
    before = paths[0].read_bytes()
    write_shards(tmp_path, (5,))
    assert paths[0].read_bytes() == before


def test_shards_of_others_may_hold_more_and_name_it_as_they_like(tmp_path):
    long = "n" * 120
    members = [
        ("./a/x.1.0.JPEG", b"no image of x: its suffix is 1.0.jpeg"),
        ("./a/y.json", b"{}"),
        ("./a/y.cls", b" 4\n"),
        ("./a/y.PNG", b"the image y"),
        ("./b/y.jpeg", b"another y"),
        ("./b/y.cls", b"0"),
        (f"{long}.jpg", b"a long name"),
        (f"{long}.cls", b"1"),
    ]
    path = write_tar(tmp_path / "some.tar", members)
    entries = scan_shard(path)
    images = ShardImages([path], [entries])
    assert [images.read(k) for k in range(3)] == [b"the image y", b"another y", b"a long name"]
    assert images.labels.tolist() == [4, 0, 1]


@pytest.mark.parametrize("names", [("train/0.tar", "val/0.tar"), ("my-train-00.tar", "my-validation-00.tar")])
def test_the_shards_of_a_kind_are_found_by_folder_or_name(tmp_path, names):
    for name, labels in zip(names, ("012", "0")):
        samples = [(f"{label}{end}", text) for label in labels for end, text in ((".jpg", name), (".cls", label))]
        write_tar(tmp_path / name, [(member, text.encode()) for member, text in samples])
        write_tar((tmp_path / name).with_name("._" + Path(name).name), [("a.jpg", b"hidden"), ("a.cls", b"7")])
    classes, train, val = list_shards(tmp_path)
    assert classes == ("0", "1", "2")
    assert (train.read(0), val.read(0)) == tuple(name.encode() for name in names)
    (tmp_path / "classes.txt").write_text("cat\nant\nbee\n")
    assert list_shards(tmp_path)[0] == ("cat", "ant", "bee")
    (tmp_path / "classes.txt").write_text("cat\nant\n")
    with pytest.raises(UserError, match=r"2.jpg has the label 2, but classes.txt in .* names 2 classes"):
        list_shards(tmp_path)
    (tmp_path / "unfinished.json").write_text("{}")
    with pytest.raises(UserError, match=r"are not all there; let tools/make_shards.py finish"):
        list_shards(tmp_path)


def test_the_index_is_read_again_and_only_changed_shards_are_scanned(tmp_path, monkeypatch):
    paths = write_shards(tmp_path, (5, 3, 4))
    scanned = []
    monkeypatch.setattr(shard_index, "scan_shard", lambda path: scanned.append(path.name) or scan_shard(path))

    def read() -> list[list[list[int]]]:
        scanned.clear()
        return [[column.tolist() for column in entries] for entries in read_index(paths, "train")]

    first = read()
    assert scanned == [path.name for path in paths]
    assert read() == first and scanned == []
    write_shard(paths[1], [("other.jpg", b"another image", 1)])
    second = read()
    assert scanned == [paths[1].name]
    assert second[1] == [[512], [13], [1], [zlib.crc32(b"another image")]] and second[::2] == first[::2]
    (tmp_path / "index-train.bin").write_bytes(b"no index")
    assert read() == second and len(scanned) == 3


def test_without_leave_to_write_the_index_stays_in_memory(tmp_path, monkeypatch):
    paths = write_shards(tmp_path, (2,))

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert len(read_index(paths, "train")[0].labels) == 2
    assert [path.name for path in tmp_path.iterdir()] == [paths[0].name]


def test_the_order_takes_every_image_once_and_stays_within_a_window_of_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "WINDOW", 3)
    lengths = [4, 7, 1, 5, 6, 3, 2]
    columns = [np.arange(length) for length in lengths]
    images = ShardImages([Path(str(k)) for k in range(7)], [Entries(each, each, each, each) for each in columns])
    order = images.shuffled(generator(0, "order"))
    assert sorted(order.tolist()) == list(range(28))
    shard_of = np.repeat(np.arange(7), lengths)
    windows: list[set[int]] = []
    members: set[int] = set()
    count = 0
    for number in order.tolist():
        members, count = members | {int(shard_of[number])}, count + 1
        if count == sum(lengths[shard] for shard in members):  # all images of these shards, and no others
            windows.append(members)
            members, count = set(), 0
    assert not members and max(map(len, windows)) <= 3
    assert sum(map(len, windows)) == 7
    assert (np.diff(order) != 1).sum() > 14
    assert not torch.equal(order, images.shuffled(generator(1, "order")))
    assert torch.equal(order, images.shuffled(generator(0, "order")))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


IMAGE, LABEL = ("a.jpg", b"1"), ("a.cls", b"1")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "is damaged or truncated"),
        (lambda path: path.write_bytes(b"text" * 200), "is damaged or truncated"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot read the shard .*: Is a directory"),
        (lambda path: write_tar(path, [IMAGE]), "'a.jpg' is an image without a .cls beside it"),
        (lambda path: write_tar(path, [LABEL, ("a.heic", b"")]), "'a' has a class and no image KEY.SUFFIX"),
        (lambda path: write_tar(path, [IMAGE, IMAGE, LABEL]), "'a' has two images"),
        (lambda path: write_tar(path, [IMAGE, LABEL, ("a.png", b"2")]), "'a' has two images"),
        (lambda path: write_tar(path, [IMAGE, LABEL, LABEL]), "'a' has two classes"),
        (lambda path: write_tar(path, [IMAGE, LABEL, ("b.txt", b""), IMAGE, LABEL]), "'a' is there twice"),
        (lambda path: write_tar(path, [IMAGE, LABEL], tarfile.SYMTYPE), "'a.jpg' is a link or a device"),
        (lambda path: write_tar(path, [("a.txt", b"1")]), "hold no samples"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path, spoil, words):
    (path,) = write_shards(tmp_path, (3,))
    spoil(path)
    with pytest.raises(UserError, match=words) as error:
        read_index([path], "train")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "label", [b"cat", b"-1", b"nan", b"", b"1.0", b"+1", b"1_0", b"0x1", b"9223372036854775808", b"9" * 5000, b"1\n2"]
)
def test_a_label_that_is_no_number_of_a_class_is_shown_in_short(tmp_path, label):
    path = write_tar(tmp_path / "train.tar", [IMAGE, ("a.cls", label)])
    with pytest.raises(UserError, match=r"train.tar .*'a.cls' holds b'.*' and not the number of a class") as error:
        scan_shard(path)
    assert len(str(error.value)) < 300 + len(str(path)) and "\n" not in str(error.value)


def test_a_large_label_makes_no_classes_of_its_own(tmp_path):
    for name in ("train", "val"):
        members = [(f"{k}.{end}", str(k).encode()) for k in (0, 1, 999_999_999) for end in ("jpg", "cls")]
        write_tar(tmp_path / f"{name}.tar", members[: 6 if name == "train" else 4])
    with pytest.raises(
        UserError, match=r"train.tar:999999999.jpg has the label 999999999, but no .* image has 2; name"
    ):
        list_shards(tmp_path)
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(UserError, match=r"has the label 999999999, but classes.txt in .* names 2 classes"):
        list_shards(tmp_path)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ("t-000 t-002", "of 3, none of number 1; fetch"),
        ("t-1 t-2 t-9 t-10", "of 10, none of number 3; fetch"),
        ("t-00000-of-00003 t-00001-of-00003", "of 3; fetch"),
        ("t-00000-of-00003 t-00002-of-00003", "of 3, none of number 1; fetch"),
        ("t-100 t-101 t-103", "of 4, none of number 102; fetch"),
        ("t-000 t-001", ""),
        ("t-00000-of-00001 t-00000-of-00001-b", ""),
        ("n01440764 n01443537 n03000684", ""),
        ("a b", ""),
    ],
)
def test_a_gap_in_the_numbers_of_shards_is_a_loss(tmp_path, names, missing):
    paths = [tmp_path / f"{name}.tar" for name in names.split()]
    if missing:
        with pytest.raises(UserError, match=missing):
            require_numbers(paths)
    else:
        require_numbers(paths)


def cut_at(data: bytes, place: int) -> bytes:
    return data[:place]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("spoil", [cut_at, flipped])
def test_a_damaged_index_is_as_good_as_none(tmp_path, spoil):
    paths = write_shards(tmp_path, (5, 3))
    index = tmp_path / "index-train.bin"
    first = [[column.tolist() for column in entries] for entries in read_index(paths, "train")]
    sound = index.read_bytes()
    for place in range(0, len(sound), 7):
        index.write_bytes(spoil(sound, place))
        assert [[column.tolist() for column in entries] for entries in read_index(paths, "train")] == first
        assert index.read_bytes() == sound


def test_an_index_made_up_by_others_leads_nowhere_beyond_a_shard(tmp_path):
    (path,) = write_shards(tmp_path, (2,))
    (true,) = read_index([path], "train")
    state = path.name, path.stat().st_size, path.stat().st_mtime_ns
    for column, value in (("offsets", -1), ("offsets", 2**62), ("sizes", -1), ("sizes", 2**62), ("labels", -1)):
        forged = true._replace(**{column: np.full(2, value)})
        (tmp_path / "index-train.bin").write_bytes(shard_index._cache([state], [forged]))
        (found,) = read_index([path], "train")
        assert found.digest == true.digest


def test_a_shard_that_shrinks_later_is_named_too(tmp_path):
    (path,) = write_shards(tmp_path, (3,))
    images = ShardImages([path], read_index([path], "train"))
    cut(path)
    with pytest.raises(UserError, match=rf"the shard {path} is truncated"):
        images.read(2)


def test_a_data_folder_without_shards_of_a_kind_is_a_user_error(tmp_path):
    write_shards(tmp_path, (3,))
    with pytest.raises(UserError, match=r"holds no shards for val: neither val/\*.tar nor \*val\*.tar"):
        list_shards(tmp_path)


def test_another_shard_in_the_place_of_one_of_the_same_size_and_time_is_noticed(tmp_path):
    members = [("aa.jpg", b"1" * 600), ("aa.cls", b"1"), ("ab.jpg", b"2" * 300), ("ab.cls", b"0")]
    path = write_tar(tmp_path / "train.tar", members)
    status = path.stat()
    images = ShardImages([path], read_index([path], "train"))
    write_tar(path, members[2:] + members[:2])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match=r"the shard .*train.tar has changed, or is damaged at byte 512"):
        images.read(0)


def test_names_that_say_both_train_and_val_are_refused(tmp_path):
    write_shards(tmp_path, (3,))
    write_shards(tmp_path, (3,), "interval-train")
    with pytest.raises(UserError, match=r"contain train and val: interval-train-000000.tar"):
        list_shards(tmp_path)

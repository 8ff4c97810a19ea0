"""tools/make_shards.py: what it packs, in which order, and that it goes on where it was stopped."""

import io
import json
import os
import resource
import shutil
import tarfile
from pathlib import Path

import pytest
from jpegs import picture, write_folder
from killing import run_tool

from isnas.apps import make_shards
from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.data.data_options import ImageOptions
from isnas.data.large.encoded import FolderImages
from isnas.data.large.shards import list_shards, write_shard
from isnas.data.opening import load_stream, make_batches


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("images"))


def pack(images: Path, output: Path, *more: str) -> None:
    make_shards.main(["--data", str(images), "--output", str(output), "--images_per_shard", "7", *more])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the indices, which hold the times of the shards."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".bin"}


def test_every_image_is_packed_once_under_its_name_with_its_class(images, tmp_path, capsys):
    (images / "classes.txt").write_text("bee\ncat\nant\n")
    pack(images, tmp_path)
    (images / "classes.txt").unlink()
    assert capsys.readouterr().out.splitlines() == ["train: 24 images in 4 shards", "val: 10 images in 2 shards"]
    shards = [f"train-{k:06d}.tar" for k in range(4)] + [f"val-{k:06d}.tar" for k in range(2)]
    assert sorted(path.name for path in tmp_path.glob("*.bin")) == ["index-train.bin", "index-val.bin"]
    assert sorted(contents(tmp_path)) == sorted(["classes.txt", "shards.json", *shards])
    assert (tmp_path / "classes.txt").read_text() == "bee\ncat\nant\n"
    packed = {}
    for name in shards:
        with tarfile.open(tmp_path / name) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
        assert len(members) == 2 * (7 if name not in (shards[3], shards[5]) else 3)
        for key in (name for name in members if name.endswith(".jpg")):
            label = int(members[key.replace(".jpg", ".cls")])
            packed[("bee", "cat", "ant")[label], key.partition("_")[2]] = members[key]
    assert packed == {(path.parent.name, path.name): path.read_bytes() for path in images.rglob("*.jpg")}


def test_the_order_is_shuffled_by_the_seed_and_nothing_else(images, tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        pack(images, tmp_path / name, "--seed", seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys() and first["train-000000.tar"] != other["train-000000.tar"]
    with tarfile.open(tmp_path / "a" / "train-000000.tar") as archive:
        names = [name.partition("_")[2] for name in archive.getnames()[::2]]
    assert names != sorted(names)


def test_what_was_stopped_is_refused_by_readers_and_finished_by_another_start(images, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    pack(images, whole)
    read, count = FolderImages.read, iter(range(100))

    def fail(self: FolderImages, number: int) -> bytes:
        if next(count) == 17:
            raise OSError(5, "Input/output error", self.name(number))
        return read(self, number)

    monkeypatch.setattr(FolderImages, "read", fail)
    with pytest.raises(UserError, match=r"ant/012\.jpg for the shard .*000002\.tar: Input/output error"):
        pack(images, stopped)
    monkeypatch.undo()
    done = ["train-000000.tar", "train-000001.tar"]
    assert sorted(contents(stopped)) == ["classes.txt", *done, "unfinished.json"]
    with pytest.raises(UserError, match="are not all there"):
        list_shards(stopped)
    (stopped / ".unfinished-1-train-000002.tar").write_bytes(b"of a process that was killed")
    times = [(stopped / name).stat().st_mtime_ns for name in done]
    pack(images, stopped)
    assert contents(stopped) == contents(whole)
    assert [(stopped / name).stat().st_mtime_ns for name in done] == times
    pack(images, stopped)
    assert contents(stopped) == contents(whole)


def test_shards_of_something_else_are_not_mixed_with(images, tmp_path):
    pack(images, tmp_path / "a")
    before = contents(tmp_path / "a")
    with pytest.raises(UserError, match=r"/a holds shards with other images_per_shard; choose another --output"):
        make_shards.main(["--data", str(images), "--output", str(tmp_path / "a")])
    more = Path(shutil.copytree(images, tmp_path / "more"))
    shutil.copy(more / "val" / "ant" / "024.jpg", more / "val" / "ant" / "new.jpg")
    with pytest.raises(UserError, match="holds shards with other val"):
        pack(more, tmp_path / "a")
    assert contents(tmp_path / "a") == before
    (tmp_path / "a" / "shards.json").unlink()
    with pytest.raises(UserError, match="already holds tar files; choose another --output"):
        pack(images, tmp_path / "a")


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    result = run_tool("make_shards.py", "--data", str(tmp_path), "--output", str(tmp_path / "new"), folder=tmp_path)
    assert result.returncode == 2
    fault = f"there is no folder {tmp_path}/train; --data must hold train/CLASS and val/CLASS, or shards"
    assert result.stderr.splitlines() == [f"make_shards.py: error: {fault}"]
    assert not (tmp_path / "new").exists()
    for argv, words in ((["--output", "x"], "give --data FOLDER"), (["--data", "x"], "give --output FOLDER")):
        with pytest.raises(UserError, match=words):
            make_shards.main(argv)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def swap(folder: Path) -> None:
    """Exchange two shards of as many images and bytes."""
    first, second, between = folder / "train-000000.tar", folder / "train-000001.tar", folder / "between"
    for source, target in ((first, between), (second, first), (between, second)):
        source.rename(target)


def flip_label(folder: Path) -> None:
    """Make another class of the last label of a shard."""
    path = folder / "val-000001.tar"
    with tarfile.open(path) as archive:
        flip(path, archive.getmembers()[-1].offset_data)


LOSSES = {
    "one lost": (
        lambda folder: (folder / "train-000003.tar").unlink(),
        "for train are missing from .*: train-000003.tar;",
    ),
    "one too many": (
        lambda folder: shutil.copy(folder / "val-000001.tar", folder / "val-000002.tar"),
        "not in shards.json",
    ),
    "cut between members": (
        lambda folder: os.truncate(folder / "val-000000.tar", 5120),
        "has 5120 bytes, and shards.json",
    ),
    "a header": (lambda folder: flip(folder / "train-000002.tar", 100), "train-000002.tar is damaged or truncated"),
    "a label": (flip_label, "'.*.cls' holds other bytes than were packed"),
    "exchanged": (swap, "train-000000.tar is not the one that was made: it has"),
    "no classes": (lambda folder: (folder / "classes.txt").unlink(), "classes.txt is missing, and shards.json says 3"),
    "two classes": (
        lambda folder: edit(folder / "classes.txt", "bee\n", ""),
        "names 2 classes, and shards.json says 3",
    ),
    "no JSON": (lambda folder: edit(folder / "shards.json", "{", ""), "shards.json is damaged: "),
    "deep JSON": (lambda folder: (folder / "shards.json").write_text("[" * 99999), "shards.json is damaged: .*deeply"),
    "no count": (
        lambda folder: edit(folder / "shards.json", "24", "-1"),
        "shards.json is damaged: it says something else",
    ),
    "of others": (
        lambda folder: (folder / "shards.json").write_text("[]"),
        "shards.json is damaged: it says something else",
    ),
    "one more image": (
        lambda folder: edit(folder / "shards.json", "24", "25"),
        "hold 24 images, and shards.json says 25",
    ),
}


@pytest.fixture(scope="module")
def shards(images, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    pack(images, folder)
    return folder


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("indexed", [True, False])
def test_shards_that_are_not_those_that_were_made_are_refused(shards, tmp_path, loss, indexed):
    folder = Path(shutil.copytree(shards, tmp_path / "copy"))
    if not indexed:
        for index in folder.glob("index-*.bin"):
            index.unlink()
    assert [len(images) for images in list_shards(folder)[1:]] == [24, 10]
    spoil, words = LOSSES[loss]
    spoil(folder)
    with pytest.raises(UserError, match=words):
        list_shards(folder)


def test_a_damaged_image_counts_as_bad_and_not_as_another_picture(shards, tmp_path):
    folder = Path(shutil.copytree(shards, tmp_path / "copy"))
    with tarfile.open(folder / "val-000000.tar") as archive:
        (member,) = [each for each in archive if each.name.startswith("00000003") and each.name.endswith("jpg")]
    flip(folder / "val-000000.tar", member.offset_data + member.size // 2)
    options = {"dataset": "imagenet", "data": str(folder), "image_size": 16, "workers": 0}
    for more, bad in (({}, None), ({"max_bad_images": 1}, 1)):
        chosen = build(ImageOptions, options | more)
        batches = make_batches(load_stream(chosen).test, None, 10, 0, "test", False, "cpu", chosen)
        if bad is None:
            with pytest.raises(
                UserError, match=rf"{member.name} cannot be read \(its bytes are not those that were pac"
            ):
                batches.batch(0, 0)
        else:
            assert len(batches.batch(0, 0)[1]) == 9
            assert batches.share_bad_images() == [
                f"{folder}/val-000000.tar:{member.name} (its bytes are not those that were packed)"
            ]


def test_shards_of_older_versions_are_read_with_what_they_say(shards, tmp_path):
    """They wrote no checksums, and counted in shards.json as a whole."""
    folder = Path(shutil.copytree(shards, tmp_path / "copy"))
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as archive:
            found = [(member.name, archive.extractfile(member).read()) for member in archive]
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in found:
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    facts = json.loads((folder / "shards.json").read_text())
    del facts["shards"]
    (folder / "shards.json").write_text(json.dumps(facts))
    new, old = list_shards(shards), list_shards(folder)
    assert [[images.read(k) for k in range(len(images))] for images in old[1:]] == [
        [images.read(k) for k in range(len(images))] for images in new[1:]
    ]
    (folder / "train-000003.tar").rename(folder / "away")
    with pytest.raises(UserError, match=r"holds 3 shards for train, and shards.json says 4"):
        list_shards(folder)
    write_shard(folder / "train-000003.tar", [("a.jpg", b"1", 0)])
    with pytest.raises(UserError, match=r"shards for train in .* hold 22 images, and shards.json says 24"):
        list_shards(folder)


def test_shards_of_other_pictures_are_not_the_same_data(shards, images, tmp_path):
    """Of as many images of the same classes in the same order."""
    options = {"dataset": "imagenet", "image_size": 16, "workers": 0}
    other = Path(shutil.copytree(images, tmp_path / "images"))
    for path in other.glob("train/ant/*.jpg"):
        picture(99).save(path)
    pack(other, tmp_path / "other")
    copy = shutil.copytree(shards, tmp_path / "copy")
    first, again, changed = (
        load_stream(build(ImageOptions, options | {"data": str(folder)})).train
        for folder in (shards, copy, tmp_path / "other")
    )
    assert first.labels.tolist() == changed.labels.tolist()
    assert first.digest == again.digest != changed.digest


def test_nothing_is_made_of_images_that_cannot_be_packed(images, tmp_path):
    for name, words in (
        (os.fsdecode(b"d\xe9j\xe0"), r"the name of .*/d\\udce9j\\udce0 is not UTF-8; rename it"),
        ("two\nlines", r"two\\nlines has control characters in its name, which no class can have"),
        (" blank", " blank.* has a blank at an end of its name, which no class can have"),
        ("\ufeffmark", r"ufeffmark.* has a blank at an end of its name, which no class can have"),
    ):
        source = Path(shutil.copytree(images, tmp_path / "images"))
        for part in ("train", "val"):
            (source / part / "ant").rename(source / part / name)
        with pytest.raises(UserError, match=words) as error:
            pack(source, tmp_path / "new")
        assert str(error.value).isprintable()
        shutil.rmtree(source)
    source = Path(shutil.copytree(images, tmp_path / "images"))
    for number in range(7):
        (source / "val" / "bee" / f"x{number}.jpg").symlink_to("nowhere")
    os.mkfifo(source / "val" / "bee" / "pipe.jpg")
    with pytest.raises(UserError, match=r"^7 images below .*/val cannot be read: bee/x0.jpg, .*, bee/x6.jpg; replace"):
        pack(source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_names_of_files_may_be_odd(images, tmp_path):
    source = Path(shutil.copytree(images, tmp_path / "images"))
    names = ["déjà vu.jpg", "ü" * 120 + ".jpg", "a\nb.jpg", "=3.jpg"]
    for path, name in zip(sorted(source.glob("val/*/*.jpg")), names):
        path.rename(path.with_name(name))
    pack(source, tmp_path / "new")
    val = list_shards(tmp_path / "new")[2]
    pictures = {path.read_bytes() for path in source.glob("val/*/*.jpg")}
    assert {val.read(number) for number in range(len(val))} == pictures
    assert all(val.name(number).isprintable() for number in range(len(val)))


def test_a_full_disk_is_a_line_and_another_start_goes_on(shards, images, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))  # Python ignores the signal; the write fails
    try:
        with pytest.raises(
            UserError, match=r"cannot write the shard .*/train-000000.tar: File too large; .* start again"
        ):
            pack(images, tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(contents(tmp_path / "new")) == ["classes.txt", "unfinished.json"]
    pack(images, tmp_path / "new")
    assert contents(tmp_path / "new") == contents(shards)


def test_a_shard_that_was_damaged_since_is_named_and_made_anew_once_it_is_gone(shards, images, tmp_path):
    folder = Path(shutil.copytree(shards, tmp_path / "copy"))
    flip(folder / "train-000001.tar", 700)
    with tarfile.open(folder / "val-000000.tar") as archive:
        member = archive.next()
    write_shard(folder / "val-000001.tar", [(member.name, b"another", 1)])
    with pytest.raises(UserError, match=r"val-000001.tar does not hold the images that belong there; remove it"):
        pack(images, folder)
    (folder / "val-000001.tar").unlink()
    (folder / "train-000001.tar").unlink()
    with pytest.raises(UserError, match=r"shards for train are missing from .*: train-000001.tar; fetch or make them"):
        list_shards(folder)
    pack(images, folder)
    assert contents(folder) == contents(shards)

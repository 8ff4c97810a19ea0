"""tools/make_shards.py: what it packs, in which order, and that it goes on where it was stopped."""

import shutil
import tarfile
from pathlib import Path

import pytest
from jpegs import write_folder
from killing import run_tool

from isnas.base.errors import UserError
from isnas.data.large.encoded import FolderImages
from isnas.data.large.shards import list_shards
from tools import make_shards


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

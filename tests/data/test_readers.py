"""CIFAR-100 and SVHN, from small files in their own formats, against torchvision's reading of the same files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from scipy.io import savemat

from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.data.data_options import DataOptions
from isnas.data.small.datasets import Dataset, ImageSet, load_dataset


def load(dataset: str, data: Path, **values) -> Dataset:
    return load_dataset(build(DataOptions, {"dataset": dataset, "data": str(data)} | values))


def write_cifar100(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 30), ("test", 12)):
        entry = {
            "filenames": [f"{number}.png" for number in range(count)],
            "batch_label": "of one",
            "fine_labels": rng.integers(0, 100, count).tolist(),
            "coarse_labels": rng.integers(0, 20, count).tolist(),
            "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
        }
        (folder / name).write_bytes(pickle.dumps(entry, 2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["name"] * 100}, 2))


def write_svhn(folder: Path, *splits: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        rng, count = np.random.default_rng(len(split)), {"train": 20, "test": 11, "extra": 30}[split]
        pixels = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8).reshape(-1, 1)
        savemat(folder / f"{split}_32x32.mat", {"X": pixels, "y": labels}, do_compression=True)


def check_part(part: ImageSet, *expected: torchvision.datasets.VisionDataset) -> None:
    """The images and labels are those that torchvision's datasets hold, one after the other."""
    items = [item for dataset in expected for item in dataset]
    assert part.labels.tolist() == [label for _, label in items]
    np.testing.assert_array_equal(part.images, np.stack([np.asarray(image) for image, _ in items]))
    assert part.images.is_contiguous() and part.labels.dtype == torch.int64


@pytest.mark.parametrize("place", ["cifar-100-python", "."])
def test_cifar100_is_what_torchvision_reads(tmp_path, monkeypatch, place):
    write_cifar100(tmp_path / "cifar-100-python")
    write_cifar100(tmp_path / "root" / place)
    dataset = load("cifar100", tmp_path / "root")
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *arguments: True)
    for part, is_train in ((dataset.train, True), (dataset.test, False)):
        check_part(part, torchvision.datasets.CIFAR100(tmp_path, train=is_train))
    info = dataset.info
    pixels = dataset.train.images.double() / 255
    assert info.mean == pytest.approx(pixels.mean((0, 1, 2)).tolist())
    assert info.std == pytest.approx(pixels.std((0, 1, 2), correction=0).tolist())
    assert (info.num_classes, info.channels, info.image_size, info.flip) == (100, 3, 32, True)
    assert [info.classes[label] for label in (0, 41, 47, 99)] == ["apple", "lawn_mower", "maple_tree", "worm"]
    assert list(info.classes) == sorted(set(info.classes))


@pytest.mark.parametrize("place", [".", "svhn", "SVHN"])
@pytest.mark.parametrize("extra", [True, False])
def test_svhn_is_what_torchvision_reads(tmp_path, monkeypatch, place, extra):
    splits = ("train", "extra") if extra else ("train",)
    write_svhn(tmp_path / place, "test", *splits)
    dataset = load("svhn", tmp_path, svhn_extra=extra)
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda self: True)
    check_part(dataset.train, *(torchvision.datasets.SVHN(tmp_path / place, split) for split in splits))
    check_part(dataset.test, torchvision.datasets.SVHN(tmp_path / place, "test"))
    info = dataset.info
    assert info.classes == tuple("0123456789")
    assert (info.channels, info.image_size, info.flip) == (3, 32, False)


def test_without_its_extra_images_svhn_says_how_to_do_without(tmp_path):
    write_svhn(tmp_path, "train", "test")
    with pytest.raises(UserError, match=r"not extra_32x32.mat; add them, or do without by --no_svhn_extra"):
        load("svhn", tmp_path)
    (tmp_path / "train_32x32.mat").unlink()
    with pytest.raises(UserError, match=r"not train_32x32.mat, extra_32x32.mat; add them$"):
        load("svhn", tmp_path)


@pytest.mark.parametrize("extra", [True, False])
def test_svhn_is_downloaded_split_by_split(tmp_path, monkeypatch, extra):
    def fake_download(root, download, split):
        write_svhn(Path(root), split)

    monkeypatch.setattr(torchvision.datasets, "SVHN", fake_download)
    assert len(load("svhn", tmp_path / "new", svhn_extra=extra).train) == (50 if extra else 20)
    names = {"train_32x32.mat", "test_32x32.mat", *(["extra_32x32.mat"] if extra else [])}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names

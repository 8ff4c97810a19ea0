import gzip
import pickle
import socket
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from tqdm import tqdm

from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.data import sources
from isnas.data.data_options import DataOptions
from isnas.data.small import capacity
from isnas.data.small.datasets import Dataset, load_dataset

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load(dataset: str, data: Path | str = "", **values) -> Dataset:
    return load_dataset(build(DataOptions, {"dataset": dataset, "data": str(data)} | values))


def write_fashion(folder: Path, zipped: bool = False, train: int = 20, test: int = 10) -> dict[str, np.ndarray]:
    """Small files in the format of the originals; returns what they hold."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    contents = {}
    for name in IDX_NAMES:
        count = train if name.startswith("train") else test
        contents[name] = rng.integers(0, 256, (count, 28, 28)) if "images" in name else np.arange(count) % 10
        header = struct.pack(f">i{contents[name].ndim}i", 0x800 + contents[name].ndim, *contents[name].shape)
        content = header + contents[name].astype(np.uint8).tobytes()
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return contents


def write_cifar(folder: Path) -> dict[str, dict]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    entries = {}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        rows = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
        entries[name] = {"data": rows, "labels": rng.integers(0, 10, 4).tolist()}
        (folder / name).write_bytes(pickle.dumps(entries[name], 2))
    return entries


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("place", [".", "raw", "FashionMNIST/raw"])
def test_fashion_mnist_in_every_layout(tmp_path, place, zipped):
    contents = write_fashion(tmp_path / "root" / place, zipped)
    dataset = load("fashion_mnist", tmp_path / "root")
    for part, prefix in ((dataset.train, "train"), (dataset.test, "t10k")):
        np.testing.assert_array_equal(part.images[..., 0], contents[f"{prefix}-images-idx3-ubyte"])
        np.testing.assert_array_equal(part.labels, contents[f"{prefix}-labels-idx1-ubyte"])
    pixels = contents["train-images-idx3-ubyte"] / 255
    assert dataset.info.mean == pytest.approx((pixels.mean(),))
    assert dataset.info.std == pytest.approx((pixels.std(),))
    assert (dataset.info.image_size, dataset.info.channels, dataset.info.num_classes) == (28, 1, 10)
    assert dataset.info.flip


def test_fashion_mnist_from_the_default_root_and_from_debians_folder(tmp_path):
    write_fashion(tmp_path / "debian" / "fashion-mnist", zipped=True, train=30)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    assert len(load("fashion_mnist").train) == len(load("fashion_mnist", tmp_path / "other").train) == 30
    write_fashion(tmp_path / "default-root" / "FashionMNIST/raw", train=40)
    assert len(load("fashion_mnist").train) == 40


def test_a_part_of_fashion_mnist_is_a_user_error_that_names_the_rest(tmp_path):
    write_fashion(tmp_path, zipped=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="not t10k-labels-idx1-ubyte"):
        load("fashion_mnist", tmp_path)


def test_fashion_mnist_files_that_contradict_each_other_are_user_errors(tmp_path):
    write_fashion(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(struct.pack(">ii", 0x801, 19) + bytes(19))
    with pytest.raises(UserError, match=r"train-images.* 20 images, but .*train-labels.* 19 labels"):
        load("fashion_mnist", tmp_path)
    labels.write_bytes(struct.pack(">ii", 0x801, 20) + bytes([11] * 20))
    with pytest.raises(UserError, match=r"train-labels.* does not hold labels 0..9"):
        load("fashion_mnist", tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 0x803, 20, 2, 3) + bytes(120))
    with pytest.raises(UserError, match="2 x 3 pixels"):
        load("fashion_mnist", tmp_path)


@pytest.mark.parametrize("place", ["cifar-10-batches-py", "."])
def test_cifar10_in_every_layout(tmp_path, place):
    entries = write_cifar(tmp_path / "root" / place)
    dataset = load("cifar10", tmp_path / "root")
    assert (len(dataset.train), len(dataset.test)) == (20, 4)
    np.testing.assert_array_equal(
        dataset.train.images[7].permute(2, 0, 1).flatten(), entries["data_batch_2"]["data"][3]
    )
    assert dataset.train.labels[8:12].tolist() == entries["data_batch_3"]["labels"]
    assert dataset.test.labels.tolist() == entries["test_batch"]["labels"]
    assert dataset.info.mean == (0.49139968, 0.48215827, 0.44653124)
    assert dataset.info.std == (0.24703233, 0.24348505, 0.26158768)
    assert dataset.info.classes == (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )


def test_a_damaged_or_missing_cifar10_file_is_a_user_error(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py")
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_4"
    batch.write_bytes(batch.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"data_batch_4 is truncated"):
        load("cifar10", tmp_path)
    batch.unlink()
    with pytest.raises(UserError, match="not data_batch_4"):
        load("cifar10", tmp_path)


REMEDIES = {
    "cifar10": ("cifar-10-python.tar.gz", "cifar-10-batches-py"),
    "cifar100": ("cifar-100-python.tar.gz", "train, test", "cifar-100-python"),
    "fashion_mnist": ("dataset-fashion-mnist", "FashionMNIST/raw"),
    "svhn": ("housenumbers", "train_32x32.mat, test_32x32.mat, extra_32x32.mat", "--no_svhn_extra"),
}


@pytest.mark.parametrize("dataset", REMEDIES)
@pytest.mark.parametrize("folder", ["", "missing/deeper", "empty", "other"])
def test_without_data_and_network_one_clear_line_comes_at_once_and_nothing_stays(tmp_path, capfd, dataset, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        load(dataset, tmp_path / folder if folder else "")
    assert time.monotonic() - start < 10
    message = str(error.value)
    reasons = {"": "does not exist", "missing/deeper": "does not exist", "empty": "is empty", "other": "holds notes"}
    assert f"{tmp_path / (folder or 'default-root')} {reasons[folder]}" in message
    refused = "holds notes.txt, and not" if folder == "other" else "the download failed"
    assert refused in message and "--data" in message and "\n" not in message
    assert [word for word in REMEDIES[dataset] if word not in message] == []
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == (folder != "other")  # how much is to be downloaded
    assert sorted(tmp_path.rglob("*")) == before


def test_a_named_folder_that_is_missing_or_empty_is_not_passed_over_for_debians(tmp_path):
    write_fashion(tmp_path / "debian" / "fashion-mnist")
    (tmp_path / "empty").mkdir()
    for folder in ("missing", "empty"):
        with pytest.raises(UserError, match=rf"{folder} (does not exist|is empty)"):
            load("fashion_mnist", tmp_path / folder)


def test_a_file_in_place_of_the_folder_is_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        load("cifar10", tmp_path / "file")


def test_a_download_puts_whole_files_in_place(tmp_path, monkeypatch, capfd):
    def fake_download(root, download):
        print("noise")
        for _ in tqdm(range(3), desc="bar"):
            pass
        write_cifar(Path(root) / "cifar-10-batches-py")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fake_download)
    for name, terminal in (("new", False), ("on a terminal", True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        assert len(load("cifar10", tmp_path / name).train) == 20
        assert [path.name for path in (tmp_path / name).iterdir()] == ["cifar-10-batches-py"]
        out, err = capfd.readouterr()
        assert out == "" and err.startswith(f"downloading cifar10 into {tmp_path / name}: 170 MB\n")
        assert ("bar: 100%" in err, err.count("\n") > 1) == (terminal, terminal)


def test_a_folder_of_own_images_is_no_place_for_another_dataset(tmp_path, monkeypatch, capfd):
    def never(root, download):
        raise AssertionError

    for name in ("CIFAR10", "FashionMNIST"):
        monkeypatch.setattr(torchvision.datasets, name, never)
    write_fashion(tmp_path / "debian" / "fashion-mnist")
    for folder in ("shoes", "parted/Training", "parted/Test"):
        for number, kind in enumerate(("boots", "sandals")):
            (tmp_path / folder / kind).mkdir(parents=True)
            Image.new("L", (9, 8), number).save(tmp_path / folder / kind / "0.png")
    before = sorted(tmp_path.rglob("*"))
    for dataset in ("cifar10", "fashion_mnist"):
        for folder in ("shoes", "parted"):
            words = rf"{folder} holds class folders of images \(boots, sandals\), .*give --dataset imagefolder"
            with pytest.raises(UserError, match=words):
                load(dataset, tmp_path / folder)
    assert sorted(tmp_path.rglob("*")) == before and capfd.readouterr() == ("", "")


def test_datasets_are_downloaded_beside_one_another_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(
        torchvision.datasets, "CIFAR10", lambda root, download: write_cifar(Path(root) / "cifar-10-batches-py")
    )
    write_fashion(tmp_path / "FashionMNIST/raw")
    for name in ("bible.data", "cifar-100-python.tar.gz", ".DS_Store"):
        (tmp_path / name).touch()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds thesis\.tex, and not cifar10, which is not downloaded into a folder"):
        load("cifar10", tmp_path)
    (tmp_path / "thesis.tex").unlink()
    assert len(load("cifar10", tmp_path).train) == 20 and (tmp_path / "FashionMNIST").exists()


@pytest.mark.parametrize("failure", [RuntimeError("File not found or corrupted."), EOFError("cut off")])
def test_a_download_that_breaks_off_leaves_nothing(tmp_path, monkeypatch, failure):
    def broken_download(root, download):
        Path(root, "cifar-10-batches-py").mkdir()
        Path(root, "cifar-10-batches-py", "data_batch_1").write_bytes(b"half")
        raise failure

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", broken_download)
    timeout = socket.getdefaulttimeout()
    with pytest.raises(UserError, match=str(failure)):
        load("cifar10", tmp_path / "new")
    assert not list(tmp_path.iterdir())
    assert socket.getdefaulttimeout() == timeout


def test_digits_are_scikit_learns_split_once_and_for_all():
    dataset, original = load("digits", image_size=8), load_digits()
    together = torch.cat([dataset.train.images, dataset.test.images])
    labels = torch.cat([dataset.train.labels, dataset.test.labels])
    assert (len(dataset.train), len(dataset.test)) == (1437, 360)
    found = sorted((label, *pixels) for label, pixels in zip(labels.tolist(), together.flatten(1).tolist()))
    expected = np.rint(original.data * 255 / 16).astype(int)
    assert found == sorted((label, *pixels) for label, pixels in zip(original.target.tolist(), expected.tolist()))
    shares = torch.bincount(dataset.test.labels) / torch.bincount(labels)
    assert (shares - 0.2).abs().max() < 0.01
    pixels = dataset.train.images.numpy() / 255
    assert dataset.info.mean == pytest.approx((pixels.mean(),)) and dataset.info.std == pytest.approx((pixels.std(),))
    assert not dataset.info.flip
    torch.manual_seed(1)
    assert torch.equal(load("digits", image_size=8).train.images, dataset.train.images)


def test_images_are_scaled_as_pillow_scales_them():
    small, medium, large = load("digits", image_size=8), load("digits"), load("digits", image_size=32)
    assert (medium.info.image_size, large.info.image_size) == (16, 32)
    for scaled in (medium, large):
        size = scaled.info.image_size
        for image, got in zip(small.train.images[:20], scaled.train.images[:20]):
            expected = np.asarray(
                Image.fromarray(image[..., 0].numpy()).resize((size, size), Image.Resampling.BILINEAR)
            )
            assert np.abs(got[..., 0].numpy().astype(int) - expected).max() <= 1


def test_the_fake_images_are_fixed_and_a_linear_classifier_learns_them():
    dataset = load("fake")
    torch.manual_seed(1)
    assert torch.equal(load("fake").train.images, dataset.train.images)
    assert dataset.train.images.shape == (2000, 32, 32, 3) and dataset.test.images.shape == (500, 32, 32, 3)
    assert dataset.train.images.dtype == torch.uint8 and dataset.train.labels.dtype == torch.int64
    assert torch.bincount(dataset.test.labels).tolist() == [50] * 10
    train, test = (part.images.flatten(1).float() / 255 for part in (dataset.train, dataset.test))
    classifier = RidgeClassifier(100).fit(train, dataset.train.labels)
    assert classifier.score(test, dataset.test.labels) > 0.9
    assert classifier.score(test.view(-1, 32, 32, 3).flip(2).flatten(1), dataset.test.labels) > 0.9


def test_every_dataset_comes_at_the_size_asked_for(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py")
    write_fashion(tmp_path)
    for dataset, data in (("digits", ""), ("fake", ""), ("cifar10", tmp_path), ("fashion_mnist", tmp_path)):
        scaled = load(dataset, data, image_size=12)
        assert scaled.train.images.shape[1:3] == scaled.test.images.shape[1:3] == (12, 12)
        assert scaled.info.image_size == 12 and scaled.train.images.is_contiguous()


def test_option_errors():
    with pytest.raises(UserError, match="no effect with --dataset digits"):
        build(DataOptions, {"dataset": "digits", "data": "somewhere"})
    with pytest.raises(UserError, match="at least 8"):
        build(DataOptions, {"image_size": 7})
    with pytest.raises(
        UserError, match="choose from digits, fashion_mnist, cifar10, cifar100, svhn, imagefolder, imagenet, fake"
    ):
        build(DataOptions, {"dataset": "mnist"})
    with pytest.raises(UserError, match="--dataset imagefolder needs --data"):
        build(DataOptions, {"dataset": "imagefolder"})
    with pytest.raises(UserError, match="--no_svhn_extra has no effect with --dataset cifar10"):
        build(DataOptions, {"svhn_extra": False})


@pytest.mark.parametrize("dataset", ["digits", "fashion_mnist"])
def test_images_that_are_grey_already_cannot_be_made_grey(tmp_path, dataset):
    write_fashion(tmp_path)
    with pytest.raises(UserError, match=f"--grey has no effect: the images of {dataset} are grey already"):
        load(dataset, tmp_path if dataset == "fashion_mnist" else "", grey=True)


def test_grey_is_the_luma_of_bt_601_and_has_statistics_of_its_own(tmp_path):
    write_cifar(tmp_path / "root")
    colour, grey = load("cifar10", tmp_path / "root"), load("cifar10", tmp_path / "root", grey=True)
    assert (grey.info.channels, grey.info.classes) == (1, colour.info.classes)
    for before, after in ((colour.train, grey.train), (colour.test, grey.test)):
        exact = before.images.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
        assert after.images.dtype == torch.uint8
        assert (after.images[..., 0].double() - exact).abs().max() <= 0.5 + 1e-9
        pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in before.images.numpy()])
        assert np.abs(after.images[..., 0].numpy().astype(int) - pillow).max() <= 1
    pixels = grey.train.images.numpy() / 255
    assert grey.info.mean == pytest.approx((pixels.mean(),)) and grey.info.std == pytest.approx((pixels.std(),))


def test_images_that_would_take_too_much_memory_are_refused_before_they_are_made(monkeypatch):
    with pytest.raises(
        UserError, match=r"2,500 images of 512 x 512 x 3 .* 1\.8 GiB, more than the 0\.5 GiB .* at most 264"
    ):
        monkeypatch.setattr(capacity, "MEMORY_LIMIT_BYTES", 2**29)
        load("fake", image_size=512)


def test_the_real_fashion_mnist(monkeypatch):
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    monkeypatch.setattr(sources, "DEBIAN_ROOT", folder.parent)
    dataset = load("fashion_mnist")
    assert torch.bincount(dataset.train.labels).tolist() == [6000] * 10
    assert torch.bincount(dataset.test.labels).tolist() == [1000] * 10
    assert dataset.info.mean == pytest.approx((0.2860,), abs=1e-4)
    assert dataset.info.std == pytest.approx((0.3530,), abs=1e-4)
    assert dataset.info.classes[dataset.train.labels[0]] == "ankle boot"


def test_a_digest_tells_images_labels_and_their_order_apart():
    images = load("fake").test
    again = replace(images, images=images.images.flip(2).flip(2))
    assert images.digest == load("fake").test.digest == again.digest
    order, changed, labels = torch.arange(len(images)).roll(1), images.images.clone(), images.labels.clone()
    changed[-1, -1, -1, -1] ^= 1
    labels[0], labels[1] = labels[1].item(), labels[0].item()
    assert labels[0] != labels[1]
    others = [
        replace(images, images=changed),
        replace(images, labels=labels),
        replace(images, images=images.images[order], labels=images.labels[order]),
        replace(images, images=images.images[:-1], labels=images.labels[:-1]),
    ]
    assert len({each.digest for each in [images, *others]}) == 5

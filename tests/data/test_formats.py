import gzip
import io
import os
import pickle
import resource
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from isnas.base.errors import UserError
from isnas.data.small.formats import read_cifar_batch, read_idx, read_svhn
from isnas.data.small.matlab import matrices


@contextmanager
def limited_memory(further: int):
    """No more than ``further`` bytes beyond what the process has taken."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + further, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


VALUES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(values: np.ndarray, magic: bytes = b"\x00\x00\x08") -> bytes:
    header = magic + bytes([values.ndim]) + b"".join(struct.pack(">i", length) for length in values.shape)
    return header + b"".join(bytes([value]) for value in values.flatten().tolist())


PACKED = gzip.compress(idx_bytes(VALUES), mtime=0)  # a time would give the cases below other names in every process


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_files_plain_and_gzipped(tmp_path, pack):
    path = tmp_path / ("values.gz" if pack is gzip.compress else "values")
    path.write_bytes(pack(idx_bytes(VALUES)))
    np.testing.assert_array_equal(read_idx(path, 3), VALUES)
    path.write_bytes(pack(idx_bytes(VALUES.flatten())))
    np.testing.assert_array_equal(read_idx(path, 1), VALUES.flatten())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"", "truncated"),
        ("a", idx_bytes(VALUES)[:9], "truncated"),
        ("a", idx_bytes(VALUES)[:-1], "23 values where its header promises 24"),
        ("a", idx_bytes(VALUES) + b"\0", "more values where its header promises 24"),
        ("a", idx_bytes(VALUES, b"\x00\x00\x0d"), "starts with 00000d03, .* 00000803"),
        ("a", idx_bytes(VALUES[0]) + bytes(10), "starts with 00000802, .* 00000803"),
        (
            "a",
            b"\0\0\x08\x03" + b"\xff" * 12,
            "promises 79,228,162,458,924,105,385,300,197,375 values, more than the 8,589,934,592",
        ),
        ("a", PACKED, "starts with 1f8b"),
        ("a.gz", PACKED[:-12], "truncated"),
        ("a.gz", PACKED[:-8] + bytes(8), "not a whole gzip file"),
        ("a.gz", PACKED[:10] + b"\x07" * 40, "not a whole gzip file"),
        ("a.gz", idx_bytes(VALUES), "not a whole gzip file"),
    ],
)
def test_a_damaged_idx_file_is_a_user_error_that_names_it(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_idx(path, 3)
    assert str(path) in str(error.value) and "fetch it again" in str(error.value)


def test_an_unreadable_file_is_a_user_error(tmp_path):
    for read in (lambda path: read_idx(path, 3), lambda path: read_cifar_batch(path, "labels", 10), read_svhn):
        for path in (tmp_path, tmp_path / "missing"):
            with pytest.raises(UserError, match="cannot read"):
                read(path)


def cifar_rows(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3072), dtype=np.uint8)


@pytest.mark.parametrize("protocol", range(6))
def test_cifar_batches_hold_red_green_and_blue_planes(tmp_path, protocol):
    rows, path = cifar_rows(), tmp_path / "batch"
    entry = {"batch_label": "testing", "labels": [3, 0, 9, 1], "data": rows, "filenames": ["a.png"] * 4}
    path.write_bytes(pickle.dumps(entry, protocol))
    images, labels = read_cifar_batch(path, "labels", 10)
    assert labels.tolist() == [3, 0, 9, 1]
    assert images.shape == (4, 32, 32, 3)
    for n, y, x, channel in ((0, 0, 0, 0), (1, 5, 31, 2), (3, 31, 7, 1)):
        assert images[n, y, x, channel] == rows[n, channel * 1024 + y * 32 + x]


def test_a_cifar_batch_as_python_2_pickled_it(tmp_path):
    """The published files: cPickle's protocol 2, strings of bytes, numpy's module under its name of 2009."""
    rows, path = cifar_rows(1), tmp_path / "batch"
    stream = io.BytesIO()

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    stream.write(b"\x80\x02}(" + text(b"labels") + b"](K\x07e" + text(b"data"))
    stream.write(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR(K\x01(K\x01M\x00\x0ct"
    )
    stream.write(
        b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2
    )
    stream.write(b"K\x00tb\x89T" + struct.pack("<i", 3072) + rows.tobytes() + b"tbu.")
    path.write_bytes(stream.getvalue())
    images, labels = read_cifar_batch(path, "labels", 10)
    assert labels.tolist() == [7]
    np.testing.assert_array_equal(images[0].transpose(2, 0, 1).flatten(), rows[0])


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_that_calls_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Call(os.system, "touch intruder-was-here"), "labels": []}))
    with pytest.raises(UserError, match=r"it names \w+\.system"):
        read_cifar_batch(path, "labels", 10)
    assert not (tmp_path / "intruder-was-here").exists()


REBUILT = np.empty(0).__reduce__()[0]
OBJECTS = np.dtype("O")


class Filled:
    """Pickles as an array that takes its type and its values from the file, as numpy's own do."""

    def __init__(self, kind: np.dtype, values):
        self.state = 1, (1,), kind, False, values

    def __reduce__(self):
        return REBUILT, (np.ndarray, (0,), b"b"), self.state


@pytest.mark.parametrize(
    "label",
    [
        Call(np.ndarray, (), OBJECTS, b"A" * 8),  # a pointer to an address that the file holds
        Call(np.ndarray, (1,), np.dtype("u1"), b"A" * 8, -(10**9)),
        Call(np.ndarray, (10**9,), np.dtype("u1")),
        Call(np.dtype, "O"),
        Filled(OBJECTS, []),
        Filled(OBJECTS, b"A" * 8),
        Filled(np.dtype("u1"), b"four"),
        Filled(np.dtype("u1"), "\u0100"),
        Call(REBUILT, np.ndarray, (10**12,), b"b"),
        np.uint8(3),
        np.array(3, np.uint8),
        np.array([3], np.uint8),
        True,
        3.0,
    ],
    ids=lambda label: type(label).__name__,
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_labels_are_plain_integers_and_nothing_of_numpy_is_called(tmp_path, label, protocol):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": cifar_rows(1), "labels": [label]}, protocol))
    with pytest.raises(UserError, match=r"not a pickle of arrays of bytes|no list of as many labels"):
        read_cifar_batch(path, "labels", 10)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a place in the memory that would take 32 GiB
        b"\x80\x02})" + b"\x85" * 200_000 + b"K\x00s.",  # a key whose hash would take all of the stack
        b"\x80\x02" + b"(" * 1000 + b"l" * 1001 + b".",
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
        b"L" + b"9" * 100_000 + b"L\n.",
        b"\x80\x02}u.",
        b"\x80\x02}b.",
        b"\x80\x02}R.",
        b"\x80\x02h\x07.",
        b"\x80\x02(.",
        b"cnumpy\nndarray\n.",
    ],
)
def test_no_pickle_takes_more_than_its_own_size(tmp_path, content):
    path = tmp_path / "batch"
    path.write_bytes(content)
    with limited_memory(2**30), pytest.raises(UserError, match=r"batch is (truncated|not a batch)") as error:
        read_cifar_batch(path, "labels", 10)
    assert len(str(error.value)) < len(str(path)) + 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (pickle.dumps({"data": cifar_rows(), "labels": [0] * 4}, 2)[:-100], "truncated"),
        (b"<html>not found</html>", "truncated or not a pickle"),
        (pickle.dumps([1, 2]), "not a batch of CIFAR-10"),
        (pickle.dumps({"data": cifar_rows()}, 2), "not a batch of CIFAR-10"),
        (pickle.dumps({"data": cifar_rows()[:, 1:], "labels": [0] * 4}, 2), "rows of 3,072 bytes"),
        (pickle.dumps({"data": cifar_rows().astype(np.int16), "labels": [0] * 4}, 2), "an array of 'i2', not of unsig"),
        (pickle.dumps({"data": cifar_rows(0), "labels": []}, 3), "rows of 3,072 bytes"),
        (pickle.dumps({"data": np.array(3, np.uint8), "labels": []}, 2), r"an array of the shape \(\)"),
        (pickle.dumps({"data": "text", "labels": [0] * 4}, 2), "rows of 3,072 bytes"),
        (pickle.dumps({"data": cifar_rows(), "labels": [0] * 3}, 2), "4 images but no list of as many labels"),
        (pickle.dumps({"data": cifar_rows(), "labels": ["cat"] * 4}, 2), "4 images but no list of as many labels"),
        (
            pickle.dumps({"data": cifar_rows(), "labels": [0, 1, 10, 0]}, 2),
            "4 images but no list of as many labels",
        ),
        (
            pickle.dumps({"data": cifar_rows(), "labels": [[0], [1, 2]]}, 2),
            "4 images but no list of as many labels",
        ),
    ],
)
def test_a_damaged_cifar_batch_is_a_user_error_that_names_it(tmp_path, content, message):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_cifar_batch(path, "labels", 10)
    assert str(path) in str(error.value) and "fetch it again" in str(error.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"data": cifar_rows(2), "labels": [0, 99]}, "not a batch of CIFAR-100 .* fine_labels"),
        ({"data": cifar_rows(2), "fine_labels": [0, 100]}, r"as many labels 0\.\.99"),
    ],
)
def test_a_batch_of_cifar_100_has_its_own_labels(tmp_path, entry, message):
    path = tmp_path / "train"
    path.write_bytes(pickle.dumps({"data": cifar_rows(2), "fine_labels": [0, 99], "coarse_labels": [1, 1]}, 2))
    assert read_cifar_batch(path, "fine_labels", 100)[1].tolist() == [0, 99]
    path.write_bytes(pickle.dumps(entry, 2))
    with pytest.raises(UserError, match=message):
        read_cifar_batch(path, "fine_labels", 100)


def svhn_arrays(count: int = 4) -> dict[str, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
    return {"X": pixels, "y": np.arange(7, 7 + count, dtype=np.uint8).reshape(-1, 1)}


@pytest.mark.parametrize("compressed", [False, True])
def test_svhn_holds_the_digit_0_as_10(tmp_path, compressed):
    arrays, path = svhn_arrays(), tmp_path / "train_32x32.mat"
    savemat(path, arrays, do_compression=compressed)
    images, labels = read_svhn(path)
    assert labels.tolist() == [7, 8, 9, 0] and labels.dtype == np.int64
    assert images.shape == (4, 32, 32, 3)
    for n, y, x, channel in ((0, 0, 0, 0), (1, 5, 31, 2), (3, 31, 7, 1)):
        assert images[n, y, x, channel] == arrays["X"][y, x, channel, n]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": None}, "not a file of SVHN"),
        ({"X": svhn_arrays()["X"].astype(np.float32)}, r"X is float32 \(32, 32, 3, 4\)"),
        ({"X": svhn_arrays()["X"][:31]}, r"X is uint8 \(31, 32, 3, 4\)"),
        ({"X": svhn_arrays(1)["X"][..., 0]}, r"X is uint8 \(32, 32, 3\)"),
        ({"y": svhn_arrays(3)["y"]}, "4 images but no column of as many labels"),
        ({"y": np.array([[1], [2], [0], [3]])}, r"labels 1\.\.10"),
        ({"y": np.array([[1], [2], [11], [3]])}, r"labels 1\.\.10"),
        ({"y": np.array([[1], [2], [2.5], [3]])}, r"labels 1\.\.10"),
        ({"y": "text"}, "not a file of SVHN"),
        ({"y": svhn_arrays()["y"] + 0j}, "not a file of SVHN"),
        ({"y": np.zeros((2, 2), bool)}, "4 images but no column of as many labels"),
    ],
)
def test_an_svhn_file_of_another_content_is_a_user_error_that_names_it(tmp_path, changes, message):
    path = tmp_path / "test_32x32.mat"
    savemat(path, {key: value for key, value in (svhn_arrays() | changes).items() if value is not None})
    with pytest.raises(UserError, match=message) as error:
        read_svhn(path)
    assert str(path) in str(error.value) and "fetch it again" in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "page"])
def test_a_damaged_svhn_file_is_a_user_error_that_names_it(tmp_path, damage):
    path = tmp_path / "extra_32x32.mat"
    savemat(path, svhn_arrays(20), do_compression=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut": content[: len(content) // 2], "bit": content, "empty": b"", "page": b"<html>not found</html>" * 9}
    path.write_bytes(damaged[damage])
    with pytest.raises(UserError, match="truncated or not a MATLAB file") as error:
        read_svhn(path)
    assert str(path) in str(error.value) and "fetch it again" in str(error.value)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
def test_matrices_are_what_scipy_reads(tmp_path, kind, compressed):
    rng, path = np.random.default_rng(0), tmp_path / "a.mat"
    arrays = {name: rng.integers(0, 2, shape).astype(kind) for name, shape in (("a", (1, 1)), ("long_name", (3, 4, 2)))}
    savemat(path, {"text": "abc", **arrays, "cells": np.array([1, "b"], object)}, do_compression=compressed)
    expected = loadmat(path)
    with path.open("rb") as file:
        found = {matrix.name: (matrix.shape, matrix.read()) for matrix in matrices(file)}
    assert set(found) == set(arrays)
    for name, (shape, values) in found.items():
        assert shape == expected[name].shape and values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name])


def test_a_matrix_of_the_other_byte_order_and_with_values_stored_shorter_is_what_scipy_reads(tmp_path):
    """Doubles that MATLAB stores as bytes, as in the published y, by a machine that counts from the other end."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 3, 2)) + element(1, b"labels")
    parts += element(2, bytes(range(6)))
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, parts))
    with path.open("rb") as file:
        values = next(matrices(file)).read()
    np.testing.assert_array_equal(values, loadmat(path)["labels"])
    assert values.dtype == np.float64 and values.tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("compressed", [False, True])
def test_no_flipped_bit_crashes_the_reading_of_a_matlab_file(tmp_path, compressed):
    """All bits of the first bytes, and many others: a UserError, or, where nothing is compressed, another pixel."""
    path, damaged = tmp_path / "good.mat", tmp_path / "train_32x32.mat"
    savemat(path, svhn_arrays(), do_compression=compressed)
    content, images = path.read_bytes(), read_svhn(path)[0]
    rng, refused = np.random.default_rng(0), 0
    for bit in (*range(8 * 124, 8 * 248), *rng.integers(8 * 248, 8 * len(content), 1500).tolist()):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        damaged.write_bytes(changed)
        try:
            found = read_svhn(damaged)[0]
        except UserError:
            refused += 1
        else:
            different = int((found != images).sum()) if found.shape == images.shape else -1
            assert different == 0 if compressed else 0 <= different <= 1
    assert refused > (1500 if compressed else 100)


def squeezed(content: bytes, zeros: int) -> bytes:
    """Gzipped content with that many zero bytes after it."""
    file = io.BytesIO()
    with gzip.open(file, "wb") as packed:
        packed.write(content)
        for _ in range(zeros // 2**20):
            packed.write(bytes(2**20))
    return file.getvalue()


@pytest.mark.parametrize("promised", [24, 200 * 2**20, 2**60])
def test_a_small_file_that_inflates_to_a_large_one_takes_what_its_header_promises(tmp_path, promised):
    path = tmp_path / "a.gz"
    header = b"\0\0\x08\x03" + struct.pack(">III", promised // 4 // 2**28 or 1, 4, min(promised // 4, 2**28))
    path.write_bytes(squeezed(header, 200 * 2**20))
    message = "holds more values" if promised == 24 else "more than the 1,000,000 of"
    with limited_memory(50 * 2**20), pytest.raises(UserError, match=message):
        read_idx(path, 3, 1_000_000)


@pytest.mark.parametrize(("most", "message"), [(100, "more than 100 images"), (2**40, "ends within a variable")])
def test_a_matlab_file_takes_no_more_than_the_images_that_there_may_be(tmp_path, most, message):
    def element(kind: int, content: bytes, length: int | None = None) -> bytes:
        return struct.pack("<II", kind, len(content) if length is None else length) + content + bytes(-len(content) % 8)

    count = 200 * 2**20 // 3072
    parts = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<4i", 32, 32, 3, count)) + element(1, b"X")
    parts += element(2, b"", 3072 * count)
    inflated = struct.pack("<II", 14, len(parts) + 3072 * count) + parts + bytes(10 * 2**20)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + element(15, zlib.compress(inflated)))
    with limited_memory(100 * 2**20), pytest.raises(UserError, match=message):
        read_svhn(path, most)

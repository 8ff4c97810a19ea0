"""Fuzz targets for files of images: those of published datasets, images, folders of classes, and shards."""

import _codecs
import gzip
import io
import os
import pickle
import re
import struct
import tempfile
import zlib
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np
import scipy.io
import sklearn.model_selection  # noqa: F401  # or every process would import it anew
import torch
from fuzz.harness import Target
from fuzz.mutation import SIZES, WORDS, damaged, grafted, misspelt, odd
from PIL import Image

from isnas.apps import make_shards
from isnas.base.errors import UserError
from isnas.data.dataset_info import DatasetInfo
from isnas.data.decoding import read_header, read_pixels
from isnas.data.large.encoded import list_folders
from isnas.data.large.reading import PartReader, StreamAugmentation, StreamedSet
from isnas.data.large.shards import list_shards
from isnas.data.small.folders import list_images
from isnas.data.small.formats import read_cifar_batch, read_idx, read_svhn
from isnas.data.text.folders import read_folder, write_folder
from isnas.data.text.texts import CUSTOMS, TextOptions, load_text


def drawn(*shape):
    """Bytes, always the same."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


class Call:
    """Pickles as a call of something with arguments."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def forged(rng):
    """What a file of arrays should not hold: calls of numpy with odd arguments, arrays of other kinds."""
    kind = rng.choice(("O", "u1", "V8", "f8", "M8[s]", "U3", "O,u1", odd(rng)))
    dtype = Call(np.dtype, kind, *rng.choice(((), (False,), (True, True), (odd(rng),))))
    shape = rng.choice(((), (4, 3072), (1,), (2**40,), (-1, 3072), (0, 3072), odd(rng)))
    choices = (
        lambda: Call(np.ndarray, (), Call(np.dtype, "O"), b"A" * 8),
        lambda: Call(np.ndarray, (), Call(np.dtype, "O"), b"A" * 8, rng.choice((-(10**9), 0, 10**9))),
        lambda: Call(np.ndarray, shape, dtype, rng.choice((b"A" * 8, b"A" * 12_288, "A" * 8, odd(rng)))),
        lambda: Call(np.ndarray, shape, dtype, b"A" * 64, rng.choice((-(10**9), 0, 2**62)), odd(rng)),
        lambda: Call(np.empty(0).__reduce__()[0], rng.choice((np.ndarray, np.dtype, Call)), shape, odd(rng)),
        lambda: Call(_codecs.encode, odd(rng), rng.choice(("latin1", "hex", "zlib", odd(rng)))),
        lambda: rng.choice((np.full((4, 3), 0.5), np.array([None, 1]), np.zeros((4, 3072)), np.uint8(3), dtype)),
        lambda: np.zeros(rng.choice(((4, 3072), (0, 3072), (4,), (4, 3072, 1))), rng.choice((np.uint8, np.int8))),
        lambda: odd(rng),
    )
    return rng.choice(choices)()


@cache
def cifar_entry():
    """What a batch of four images holds."""
    rows = drawn(4, 3072)
    return {"batch_label": "testing", "labels": [3, 0, 9, 1], "data": rows, "filenames": ["a.png"] * 4}


def make_cifar(rng):
    """A batch as a pickle of one protocol or another."""
    protocol = rng.choice((0, 2, 2, 3, 4, 5))
    if rng.random() < 0.4:
        return damaged(rng, pickle.dumps(cifar_entry(), protocol))
    while True:
        try:
            data = pickle.dumps(grafted(rng, cifar_entry(), forged), max(protocol, 2))
            return data if rng.random() < 0.8 else damaged(rng, data)
        except (TypeError, OverflowError, RecursionError):
            continue


def check_cifar(data, folder):
    """As many images as labels, the labels in their range, and no more bytes than the file has."""
    (folder / "batch").write_bytes(data)
    images, labels = read_cifar_batch(folder / "batch", "labels", 10)
    check_images(images, labels, 10)
    assert images.shape[1:] == (32, 32, 3) and 0 < images.nbytes <= len(data)


def check_images(images, labels, num_classes):
    """Every byte can be read, and every label."""
    assert images.dtype == np.uint8 and labels.dtype == np.int64 and len(images) == len(labels)
    assert images.sum() >= 0 and labels.min() >= 0 and labels.max() < num_classes


@cache
def idx_files():
    """Three images and three labels, plain; and gzipped, a bomb among them."""
    images, labels = drawn(3, 8, 8), bytes((7, 0, 2))
    plain = b"\0\0\x08\x03" + struct.pack(">3I", 3, 8, 8) + images.tobytes(), b"\0\0\x08\x01\0\0\0\x03" + labels
    bomb = gzip.compress(plain[0] + bytes(200 << 20), 1, mtime=0)
    return plain, tuple(gzip.compress(data, mtime=0) for data in plain), bomb


def make_idx(rng):
    """Number of axes, whether it is gzipped, and the bytes of a file."""
    plain, packed, bomb = idx_files()
    which, zipped = rng.randrange(2), rng.random() < 0.5
    if zipped and rng.random() < 0.02:
        return which, zipped, bomb
    if zipped and rng.random() < 0.3:
        return which, zipped, gzip.compress(damaged(rng, plain[which]), mtime=0)
    return which, zipped, damaged(rng, (packed if zipped else plain)[which], plain + packed)


def check_idx(given, folder):
    """The shape of its header, the bytes behind it; of a gzipped file those that were packed, or none."""
    which, zipped, data = given
    path = folder / ("file.gz" if zipped else "file")
    path.write_bytes(data)
    found = read_idx(path, (3, 1)[which])
    content = gzip.decompress(data) if zipped else data
    header = struct.unpack(f">{found.ndim}I", content[4 : 4 + 4 * found.ndim])
    assert found.shape == header and found.tobytes() == content[4 + 4 * found.ndim :]


@cache
def svhn_files():
    """Two files of SVHN's kind, plain and compressed, and what they hold."""
    entry = {"X": drawn(32, 32, 3, 3), "y": np.array([[1], [10], [5]], np.uint8)}
    files = []
    for compressed in (False, True):
        buffer = io.BytesIO()
        scipy.io.savemat(buffer, entry, do_compression=compressed)
        files.append(b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:])  # without the time
    return files, entry


def make_svhn(rng):
    """Whether it is compressed, and the bytes of a file."""
    compressed = rng.randrange(2)
    if rng.random() < 0.3:  # where the tags and sizes are
        head = 128 + rng.randrange(80)
        data = svhn_files()[0][compressed]
        return compressed, data[:128] + damaged(rng, data[128:head]) + data[head:]
    return compressed, damaged(rng, svhn_files()[0][compressed])


def check_svhn(given, folder):
    """Images, labels in their range; of a compressed file, which has a checksum, those that were packed."""
    compressed, data = given
    (folder / "train.mat").write_bytes(data)
    images, labels = read_svhn(folder / "train.mat")
    check_images(images, labels, 10)
    assert images.shape[1:] == (32, 32, 3)
    entry = svhn_files()[1]
    if compressed:
        assert np.array_equal(images.transpose(1, 2, 3, 0), entry["X"]) and labels.tolist() == [1, 0, 5], "other images"


FORMATS = {
    "PNG": ("L", "RGB", "RGBA", "P", "I;16", "1", "LA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "TIFF": ("RGB", "I;16", "F", "CMYK"),
    "BMP": ("RGB", "1"),
    "PPM": ("RGB", "L"),
    "AVIF": ("RGB",),
}


@cache
def image_files():
    """An image of each format and mode, by both."""
    pixels = Image.fromarray(drawn(24, 40, 3))
    exif = Image.Exif()
    exif[274] = 6
    found = {}
    for kind, modes in FORMATS.items():
        for mode in modes:
            image = pixels.convert("L").convert("I").point(lambda v: v * 257) if mode == "I;16" else pixels
            image = image.convert(mode)
            buffer, more = io.BytesIO(), {"exif": exif} if kind in ("JPEG", "WEBP", "TIFF", "AVIF") else {}
            image.save(buffer, kind, **more)
            found[kind, mode] = buffer.getvalue()
    return found


def make_image(rng):
    """Format and mode, and the bytes; in a PNG the checksums may be right, and its header that of a huge image."""
    key = rng.choice(list(image_files()))
    data = image_files()[key]
    if key[0] == "PNG" and rng.random() < 0.3:
        return ("PNG", "forged"), forged_png(rng, data)
    return key, damaged(rng, data, list(image_files().values()) if rng.random() < 0.1 else ())


def forged_png(rng, data):
    """Another size, depth or kind of pixels, another chunk, or fewer rows than promised, with right checksums."""
    place, chunks = 8, []
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append([data[place + 4 : place + 8], data[place + 8 : place + 8 + length]])
        place += 12 + length
    chosen = rng.choice(chunks)
    if chosen[0] == b"IHDR":
        width, height = (rng.choice((1, 40, 300, 13_000, 40_000, *SIZES)) % 2**32 for _ in range(2))
        chosen[1] = struct.pack(">2I", width, height) + rng.choice((chosen[1][8:], damaged(rng, chosen[1][8:])))
    elif chosen[0] == b"IDAT":
        rows = zlib.decompress(chosen[1])
        chosen[1] = zlib.compress(rows[: rng.randrange(len(rows))])
    else:
        chosen[:] = [rng.choice((b"tRNS", b"eXIf", b"zTXt", b"iCCP", b"gAMA", chosen[0])), rng.randbytes(20)]
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return data[:8] + b"".join(parts)


class OneImage:
    """A source of one image, as a folder or shards are of many."""

    def __init__(self, data):
        self.data, self.labels = data, torch.zeros(1, dtype=torch.int64)

    def __len__(self):
        return 1

    def name(self, number):
        return "image"

    def read(self, number):
        return self.data

    def shuffled(self, rng):
        return torch.zeros(1, dtype=torch.int64)


def both_ways(data, path):
    """The pixels of an image as those in memory are read (None: refused), and as those that are streamed."""
    info = DatasetInfo("imagenet", ("a", "b"), (0.5,) * 3, (0.25,) * 3, 8, True)
    streamed = []
    for augment in (None, StreamAugmentation()):
        source = StreamedSet(OneImage(data), None, info)
        streamed.append(PartReader(source, 0, "train", augment, 0)[0, 0, 1].pixels)
    path.write_bytes(data)
    header = read_header(path)
    pixels = read_pixels(path, 8, 3)
    assert header.shorter_side > 0 and pixels.shape == (8, 8, 3)
    return streamed, pixels


def check_image(given, folder):
    """It is refused, or has pixels; those of a PNG, which has checksums, are the image's own."""
    (kind, mode), data = given
    streamed, pixels = both_ways(data, folder / "image.png")
    if kind == "PNG" and mode != "forged":
        right, own = both_ways(image_files()[kind, mode], folder / "whole.png")
        assert np.array_equal(pixels, own), "other pixels"
        assert all(not len(part) or torch.equal(part, whole) for part, whole in zip(streamed, right)), "other crops"


def make_folders(rng):
    """Files by path: classes of images, and what people and systems put beside them."""
    parts = rng.choice((("train", "val"), ("train", "test"), ("",), ("Training", "Testing"), ("TRAIN", "valid")))
    files = {}
    for part in parts:
        for name in ("cat", "dog"):
            files |= {os.fsencode(os.path.join(part, name, f"{k}.png")): b"image" for k in range(5)}
    files |= (
        {b"classes.txt": misspelt(rng, "cat\ndog\n").encode("utf-8", "surrogatepass")} if rng.random() < 0.5 else {}
    )
    names = (
        "__MACOSX",
        ".DS_Store",
        "@eaDir",
        "Thumbs.db",
        "lost+found",
        "CAT",
        "caf\u00e9",
        "cafe\u0301",
        "train",
        "val",
    )
    names += tuple(word for word in WORDS if 0 < len(word) < 100 and "\0" not in word and "/" not in word)
    for _ in range(rng.randrange(3)):
        name = rng.choice((*map(os.fsencode, names), b"\xff\xfe", b"a\xe9b"))
        inner = rng.choice((b"", b"x.png", b"cat/x.png", b"y/x.JPG", b"x.txt"))
        files[os.path.join(os.fsencode(rng.choice(parts)), name, inner)] = b"more"
    for path in rng.sample(sorted(files), rng.choice((0, 0, 1, 6))):
        del files[path]
    return {os.fsdecode(path): content for path, content in files.items()}


def check_folders(files, folder):
    """Images in memory and streamed: each is of the class of a folder it lies in, and of one class alone."""
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith("/") else path.write_bytes(content)
        except OSError:
            pass  # a folder is where a file would be
    in_memory, streamed = refusal(list_images, folder), refusal(list_folders, folder)
    if not isinstance(in_memory, Exception):
        classes, *parts = in_memory
        check_listed(folder, classes, *([(path, label) for path, label in part] for part in parts))
    if not isinstance(streamed, Exception):
        classes, *parts = streamed
        listed = [[(folder / images.path(k), int(images.labels[k])) for k in range(len(images))] for images in parts]
        check_listed(folder, classes, *listed)
    for error in (in_memory, streamed):
        if isinstance(error, Exception):
            raise error


def refusal(function, *arguments):
    """What a function returns, or the UserError that it raises."""
    try:
        return function(*arguments)
    except ValueError as error:
        if type(error).__name__ != "UserError":
            raise
        return error


def check_listed(folder, classes, *parts):
    """Classes that look different, each with images of its own below its name, in every part."""
    systems = {"__macosx", "@eadir", "lost+found", "training", "testing", "train", "val", "valid", "test"}
    assert len(set(classes)) == len(classes) >= 2 and not systems & {name.lower() for name in classes}, classes
    for images in parts:
        assert {label for _, label in images} == set(range(len(classes)))
        assert all(classes[label] in os.path.relpath(path, folder).split("/")[:-1] for path, label in images)


SHARDS = ("train-000000.tar", "train-000001.tar", "val-000000.tar")


@cache
def shard_files():
    """The files of shards as tools/make_shards.py leaves them, and what they hold by part."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for part, count in (("train", 4), ("val", 2)):
            for name in ("cat", "dog"):
                (root / "images" / part / name).mkdir(parents=True)
                for k in range(count):
                    (root / "images" / part / name / f"{name}{k}.png").write_bytes(f"{part} {name} {k}".encode() * 9)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            make_shards.main(f"--data {root}/images --output {root}/out --images_per_shard 4".split())
        for path in (root / "out").glob("*.tar"):
            os.utime(path, ns=(0, 0))
        found = contents(root / "out")  # writes the index anew
        return {path.name: path.read_bytes() for path in (root / "out").iterdir()}, found


def contents(root):
    """Class names, and of both parts the labels and the bytes of all images."""
    classes, *parts = list_shards(root)
    return classes, [[(int(part.labels[k]), part.read(k)) for k in range(len(part))] for part in parts]


def make_shards_folder(rng):
    """The files of the shards; one of them is damaged, gone, or as another."""
    files = dict(shard_files()[0])
    name = rng.choice((*SHARDS, *files))
    change = rng.random()
    if change < 0.05:
        del files[name]
    elif change < 0.1:
        files[name] = rng.choice(list(files.values()))
    elif change < 0.5 and name.endswith(".tar"):  # a header, most of the times
        data, block = bytearray(files[name]), 512 * rng.randrange(len(files[name]) // 512)
        data[block : block + 512] = rng.choice((damaged(rng, data[block : block + 512]), b"", bytes(512)))
        files[name] = bytes(data)
    else:
        files[name] = damaged(rng, files[name])
    if rng.random() < 0.5:
        files = {key: content for key, content in files.items() if not key.endswith(".npz")}
    return files


def check_shards(files, folder):
    """As many images as there were, of the same sizes; where the labels or images are others, their bytes are."""
    whole, (classes, parts) = shard_files()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        if name.endswith(".tar"):  # what damages a file need not change its time
            os.utime(folder / name, ns=(0, 0))
    try:
        found, read = contents(folder)
    except ValueError as error:  # of one image, whose reader goes on without it
        raise error if "bytes are not those" not in str(error) else UserError(str(error)) from None
    assert len(found) == len(classes) and [len(part) for part in read] == [len(part) for part in parts], "other images"
    changed = {name for name in SHARDS if files.get(name) != whole[name]}
    for number, part in enumerate(read):
        assert all(len(data) == len(parts[number][k][1]) for k, (_, data) in enumerate(part)), "images of other sizes"
        kind = ("train", "val")[number]
        assert part == parts[number] or any(name.startswith(kind) for name in changed), "other images without damage"


def make_text_folder(rng):
    """Files of text by name, under one custom or both, one of them damaged; or one that is not text."""
    files = {}
    for names in rng.choice((CUSTOMS[:1], CUSTOMS[:1], CUSTOMS[1:], CUSTOMS)):
        for name in names:
            lines = [" ".join(rng.choice(("the", "cat", "sat", "<unk>", "N")) for _ in range(5)) for _ in range(4)]
            files[name] = "".join(f"{line}\n" for line in lines).encode()
    name = rng.choice(sorted(files))
    spelt = misspelt(rng, files[name].decode()).encode("utf-8", "surrogatepass")
    files[name] = rng.choice((spelt, spelt, damaged(rng, files[name]), drawn(50).tobytes(), b""))
    for name in rng.sample(sorted(files), rng.choice((0, 0, 0, 1))):
        del files[name]
    return files


def check_text_folder(files, folder):
    """As many words and ends of lines as there are, all of the vocabulary, and the same when they are written again."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    text = read_folder("text", str(folder))
    names = next(names for names in CUSTOMS if set(names) <= set(files))
    for name, part in zip(names, (text.train, text.valid, text.test)):
        plain = (folder / name).read_text("utf-16" if files[name][:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        assert len(part) == len(plain.split()) + len(re.findall("[^\n]*\n|[^\n]+", plain))
        assert text.vocabulary.text(part).split() == plain.split()
    assert sorted(set(torch.cat([text.train, text.valid, text.test]).tolist())) == list(range(len(text.vocabulary)))
    (folder / "again").mkdir()
    write_folder(text, folder / "again")
    again = read_folder("again", str(folder / "again"))
    assert again.digest == text.digest or text.vocabulary.words[0].startswith("\ufeff")


@cache
def bible_file():
    """The head of such a file as Debian has of the King James Bible, and its text in codes of single bytes."""
    text = b"Holy Bible\n" + b"".join(f"Ge{n}:1 And.\n".encode() for n in range(1, 17))
    codes = sum(code << 9 * place for place, code in enumerate(text[:250])).to_bytes(
        -(-len(text[:250]) * 9 // 8), "little"
    )
    head = b"EC02".ljust(80, b"\0")
    return head, struct.pack(">4I", 0, 1 << 16, 1, 103), b"\x1f\x9d\x90" + codes


def make_bible(rng):
    """A file like that, damaged, mostly with the size that it has in its head."""
    head, numbers, packed = bible_file()
    packed = packed if rng.random() < 0.2 else damaged(rng, packed)
    size = struct.pack(">I", len(head + numbers + packed) + 4)
    data = head + numbers + size + packed
    return data if rng.random() < 0.7 else damaged(rng, data)


def check_bible(data, folder):
    """Each line has words, and there are three parts of them."""
    (folder / "bible.data").write_bytes(data)
    text = load_text(TextOptions(dataset="kjv", data=str(folder)))
    lines = [text.vocabulary.text(part).splitlines() for part in (text.train, text.valid, text.test)]
    assert all(lines) and all(line for part in lines for line in part)


TARGETS = (
    Target("cifar", make_cifar, check_cifar),
    Target("idx", make_idx, check_idx),
    Target("mat", make_svhn, check_svhn),
    Target("images", make_image, check_image, mebibytes=400),
    Target("folders", make_folders, check_folders),
    Target("shards", make_shards_folder, check_shards),
    Target("text-folder", make_text_folder, check_text_folder),
    Target("bible", make_bible, check_bible),
)

"""Where the files of a dataset are: found in a folder, or downloaded into it as a whole."""

from __future__ import annotations

import io
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from isnas.base.errors import UserError

#: Where datasets are looked for, and downloaded to, unless ``--data`` names another folder.
DATA_ROOT = Path(__file__).resolve().parents[3] / "data"

#: Where Debian's package ``dataset-fashion-mnist`` keeps its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Source:
    """The files of a dataset and the folders they may be in.

    ``folder`` is torchvision's place for them below a data root, ``others`` are further places below it, and
    ``remedy`` says where a user without a network gets them. ``gzipped`` files may also be there as ``.gz``.
    ``downloads`` are the arguments of torchvision's class, one call each, and ``optional`` names for some files the
    flag that does without them.
    """

    name: str
    torchvision: str
    files: tuple[str, ...]
    folder: str
    others: tuple[str, ...]
    remedy: str
    gzipped: bool = False
    downloads: tuple[dict[str, str], ...] = ({},)
    optional: Mapping[str, str] = field(default_factory=dict)


FASHION_MNIST = Source(
    name="fashion_mnist",
    torchvision="FashionMNIST",
    files=(
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ),
    folder="FashionMNIST/raw",
    others=("raw", "."),
    remedy="install Debian's package dataset-fashion-mnist and leave --data out, or put {files} into {folder}",
    gzipped=True,
)
CIFAR10 = Source(
    name="cifar10",
    torchvision="CIFAR10",
    files=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
    folder="cifar-10-batches-py",
    others=(".",),
    remedy="unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz so that {files} are in {folder}",
)
CIFAR100 = Source(
    name="cifar100",
    torchvision="CIFAR100",
    files=("train", "test"),
    folder="cifar-100-python",
    others=(".",),
    remedy="unpack https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz so that {files} are in {folder}",
)
SVHN = Source(
    name="svhn",
    torchvision="SVHN",
    files=("train_32x32.mat", "test_32x32.mat"),
    folder=".",
    others=("svhn", "SVHN"),
    remedy="put {files} from http://ufldl.stanford.edu/housenumbers into {folder}",
    downloads=({"split": "train"}, {"split": "test"}),
)
SVHN_EXTRA = Source(
    name=SVHN.name,
    torchvision=SVHN.torchvision,
    files=(*SVHN.files, "extra_32x32.mat"),
    folder=SVHN.folder,
    others=SVHN.others,
    remedy=f"{SVHN.remedy}, leave the extra images out with --no_svhn_extra",
    downloads=(*SVHN.downloads, {"split": "extra"}),
    optional={"extra_32x32.mat": "--no_svhn_extra"},
)


def data_root(data: str) -> Path:
    """The folder that ``--data`` names, with ``~`` expanded; "" means :data:`DATA_ROOT`.

    Raises:
        UserError: when it is no folder, though it need not be there.
    """
    root = Path(os.path.expanduser(data)) if data else DATA_ROOT
    try:
        wrong = root.exists() and not root.is_dir()
    except OSError as error:
        raise UserError(f"cannot read the data folder {root}: {error.strerror}") from None
    if wrong:
        raise UserError(f"--data {root} is not a folder")
    return root


def find_files(source: Source, data: str) -> list[Path]:
    """The paths of ``source.files`` below the data root ``data`` ("" means :data:`DATA_ROOT`).

    They are looked for in the data root, then (Fashion-MNIST) in Debian's folder, and else downloaded into the data
    root. A root that the user names must hold something, or a download must be possible.

    Raises:
        UserError: when some files are there and others missing, or none are and they cannot be downloaded.
    """
    root = data_root(data)
    try:
        fault = _fault(root)
        folders = [root / place for place in (source.folder, *source.others)]
        if source is FASHION_MNIST and not (data and fault):
            folders.append(DEBIAN_FASHION_MNIST)
        for folder in folders:
            paths = _files_in(folder, source)
            if paths:
                return paths
    except OSError as error:
        raise UserError(f"cannot read the data folder {root}: {error.strerror}") from None
    try:
        download(source, root)
    except Exception as error:  # torchvision and the libraries below it raise many kinds
        reason = " ".join(str(error).split())
        place = f"the data folder {root} {fault or 'does not hold ' + source.name}"
        remedy = source.remedy.format(files=", ".join(source.files), folder=root / source.folder)
        raise UserError(
            f"{place}, and the download failed ({reason}); {remedy}, or name a folder with --data"
        ) from None
    return _files_in(root / source.folder, source)


def download(source: Source, root: Path) -> None:
    """Download ``source`` with torchvision, silently, and move its files to their folder below ``root``.

    Torchvision verifies the checksums. When anything fails, ``root`` is left as it was.
    """
    import torchvision

    ancestor = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    with tempfile.TemporaryDirectory(dir=ancestor, prefix=".download-") as temporary, _quiet_network():
        for arguments in source.downloads:
            getattr(torchvision.datasets, source.torchvision)(temporary, download=True, **arguments)
        folder = root / source.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in source.files:
            os.replace(Path(temporary, source.folder, name), folder / name)


def _fault(root: Path) -> str:
    if not root.exists():
        return "does not exist"
    return "" if any(root.iterdir()) else "is empty"


def _files_in(folder: Path, source: Source) -> list[Path]:
    """The paths of the source's files in ``folder``; none when the folder holds none of them."""
    found: dict[str, Path] = {}
    for name in source.files:
        for path in (folder / name, folder / f"{name}.gz") if source.gzipped else (folder / name,):
            if path.is_file():
                found.setdefault(name, path)
    missing = [name for name in source.files if name not in found]
    if found and missing:
        flags = [source.optional.get(name) for name in missing]
        remedy = f"add them, or do without by {flags[0]}" if all(flags) else "add them"
        raise UserError(f"{folder} holds a part of {source.name} but not {', '.join(missing)}; {remedy}")
    return list(found.values())


@contextmanager
def _quiet_network() -> Iterator[None]:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)

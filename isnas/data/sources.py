"""Where the files of a dataset are: found in a folder, or downloaded into it as a whole."""

from __future__ import annotations

import io
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from isnas.base.errors import UserError

#: Where datasets are looked for, and downloaded to, unless ``--data`` names another folder.
DATA_ROOT = Path(__file__).resolve().parents[2] / "data"

#: Where Debian's package ``dataset-fashion-mnist`` keeps its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Source:
    """The files of a dataset and the folders they may be in.

    ``folder`` is torchvision's place for them below a data root, ``others`` are further places below it, and
    ``remedy`` says where a user without a network gets them.
    """

    name: str
    torchvision: str
    files: tuple[str, ...]
    folder: str
    others: tuple[str, ...]
    remedy: str


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
)
CIFAR10 = Source(
    name="cifar10",
    torchvision="CIFAR10",
    files=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
    folder="cifar-10-batches-py",
    others=(".",),
    remedy="unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz so that {files} are in {folder}",
)


def find_files(source: Source, data: str) -> list[Path]:
    """The paths of ``source.files`` below the data root ``data`` ("" means :data:`DATA_ROOT`).

    They are looked for in the data root, then (Fashion-MNIST) in Debian's folder, and else downloaded into the data
    root. A root that the user names must hold something, or a download must be possible.

    Raises:
        UserError: when some files are there and others missing, or none are and they cannot be downloaded.
    """
    root = Path(os.path.expanduser(data)) if data else DATA_ROOT
    try:
        if root.exists() and not root.is_dir():
            raise UserError(f"--data {root} is not a folder")
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
        getattr(torchvision.datasets, source.torchvision)(temporary, download=True)
        folder = root / source.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in source.files:
            os.replace(Path(temporary, source.folder, name), folder / name)


def _fault(root: Path) -> str:
    if not root.exists():
        return "does not exist"
    return "" if any(root.iterdir()) else "is empty"


def _files_in(folder: Path, source: Source) -> list[Path]:
    """The paths of the source's files in ``folder``, plain or gzipped; none when the folder holds none of them."""
    found: dict[str, Path] = {}
    for name in source.files:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                found.setdefault(name, path)
    missing = [name for name in source.files if name not in found]
    if found and missing:
        raise UserError(f"{folder} holds a part of {source.name} but not {', '.join(missing)}; add them")
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

"""Where the files of a dataset are: found in a folder, or downloaded into it as a whole."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

from isnas.base import screen
from isnas.base.errors import UserError
from isnas.base.files import temporary_folder
from isnas.base.text import printable

_CHECKOUT = Path(__file__).resolve().parents[2]

#: Where datasets are looked for, and downloaded to, unless ``--data`` names another folder: data/ in a checkout, or
#: else in the present folder.
DATA_ROOT = (_CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path()) / "data"

#: Where Debian's packages of datasets keep their files.
DEBIAN_ROOT = Path("/usr/share/datasets")

_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Extra:
    """Further training images of a dataset, in files of their own, and the flag that does without them.

    ``megabytes`` (10^6 bytes) is what a download of them takes.
    """

    num_images: int
    megabytes: int
    files: tuple[str, ...]
    downloads: tuple[dict[str, str], ...]
    flag: str


@dataclass(frozen=True)
class Source:
    """The files of a dataset and the folders they may be in.

    ``torchvision`` is the class that downloads them, ``downloads`` are its arguments, one call each. ``shown`` says
    what files these are. ``folder`` is torchvision's place for them below a data root, ``others`` are further places
    below it, ``debian`` is one below :data:`DEBIAN_ROOT`, and ``remedy`` says where a user without a network gets them.
    ``gzipped`` files may also be there as ``.gz``. A download takes so many ``megabytes`` (10^6 bytes).
    """

    torchvision: str
    megabytes: int
    files: tuple[str, ...]
    shown: str
    folder: str
    others: tuple[str, ...]
    remedy: str
    gzipped: bool = False
    debian: str = ""
    downloads: tuple[dict[str, str], ...] = ({},)
    extra: Extra | None = None

    def with_extra(self) -> Source:
        """The same with the files of the extra part, if it has one, among its own."""
        if self.extra is None:
            return self
        return replace(
            self,
            files=self.files + self.extra.files,
            remedy=f"{self.remedy}, leave the extra images out with {self.extra.flag}",
            downloads=self.downloads + self.extra.downloads,
            megabytes=self.megabytes + self.extra.megabytes,
        )

    def told(self, root: Path) -> str:
        """The remedy, for a data root."""
        return self.remedy.format(files=", ".join(self.files), folder=root / self.folder)

    def names(self) -> set[str]:
        """What lies in a data root that this dataset is in: its files and the folders of its places."""
        files = {*self.files, *(self.extra.files if self.extra else ())}
        folders = {place.partition("/")[0] for place in (self.folder, *self.others)} - {"."}
        return files | {f"{name}.gz" for name in files if self.gzipped} | folders


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


def find_files(source: Source, name: str, data: str, extra: bool, beside: Collection[str] = ()) -> list[Path]:
    """The paths of the files of dataset ``name`` below the data root ``data`` ("" means :data:`DATA_ROOT`).

    Those of the extra part come last, with ``extra``. They are looked for in the data root, then in Debian's folder, if
    there is one for them, and else downloaded into the data root. A root that the user names must hold something, or a
    download must be possible. ``beside`` are names of what may be in a root that is downloaded into.

    Raises:
        UserError: when some files are there and others missing, or none are and they cannot be downloaded, or the root
            holds something else.
    """
    from isnas.data.class_folders import own_images  # slow to import, for numpy

    root = data_root(data)
    source = source.with_extra() if extra else source
    try:
        fault = _fault(root)
        for folder in (root / place for place in (source.folder, *source.others)):
            if paths := _files_in(folder, source, name):
                return paths
        if own := "" if fault else own_images(root):
            raise UserError(
                f"the data folder {root} holds class folders of images ({own}), and not {name}; give --dataset "
                "imagefolder to work on them"
            )
        debian = bool(source.debian) and not (data and fault)
        if debian and (paths := _files_in(DEBIAN_ROOT / source.debian, source, name)):
            return paths
        other = "" if fault else _other_than(root, {*source.names(), *beside})
    except OSError as error:
        raise UserError(f"cannot read the data folder {root}: {error.strerror}") from None
    if other:
        raise UserError(
            f"the data folder {root} holds {other}, and not {name}, which is not downloaded into a folder of other "
            f"things; {source.told(root)}, or name another folder with --data"
        )
    try:
        download(source, name, root)
    except Exception as error:  # torchvision and the libraries below it raise many kinds
        reason = " ".join(str(error).split())
        place = f"the data folder {root} {fault or 'does not hold ' + name}"
        raise UserError(
            f"{place}, and the download failed ({reason}); {source.told(root)}, or name a folder with --data"
        ) from None
    return _files_in(root / source.folder, source, name)


def download(source: Source, name: str, root: Path) -> None:
    """Download ``source`` with torchvision and move its files to their folder below ``root``.

    A line on standard error says how much it is, and on a terminal torchvision's bars how far it has come. Torchvision
    verifies the checksums. When anything fails, ``root`` is left as it was.
    """
    import torchvision

    print(f"downloading {name} into {printable(str(root))}: {source.megabytes:,} MB", file=sys.stderr, flush=True)
    ancestor = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    with temporary_folder(ancestor) as temporary, _network():
        for arguments in source.downloads:
            getattr(torchvision.datasets, source.torchvision)(str(temporary), download=True, **arguments)
        folder = root / source.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in source.files:
            os.replace(temporary / source.folder / name, folder / name)


def _fault(root: Path) -> str:
    if not root.exists():
        return "does not exist"
    return "" if any(root.iterdir()) else "is empty"


def _other_than(root: Path, names: Collection[str]) -> str:
    """The name of something in a folder that is none of ``names`` and not left behind by a system; "" without any."""
    from isnas.data.class_folders import left_behind, shown_name  # slow to import, for numpy

    return next((shown_name(name) for name in sorted(os.listdir(root)) if not (name in names or left_behind(name))), "")


def _files_in(folder: Path, source: Source, dataset: str) -> list[Path]:
    """The paths of the source's files in ``folder``; none when the folder holds none of them."""
    found: dict[str, Path] = {}
    for name in source.files:
        for path in (folder / name, folder / f"{name}.gz") if source.gzipped else (folder / name,):
            if path.is_file():
                found.setdefault(name, path)
    missing = [name for name in source.files if name not in found]
    if found and missing:
        spare = source.extra is not None and set(missing) <= set(source.extra.files)
        remedy = f"add them, or do without by {source.extra.flag}" if source.extra and spare else "add them"
        raise UserError(f"{folder} holds a part of {dataset} but not {', '.join(missing)}; {remedy}")
    return list(found.values())


@contextmanager
def _network() -> Iterator[None]:
    """A limit of time; of what torchvision prints, the bars alone are seen, and those on a terminal."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        hidden = nullcontext() if screen.has_bars() else redirect_stderr(io.StringIO())
        with redirect_stdout(io.StringIO()), hidden:
            yield
    finally:
        socket.setdefaulttimeout(timeout)

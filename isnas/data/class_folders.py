"""A folder per class, as people's disks have them: which folders are classes, which are parts, which are neither.

Names are compared in Unicode's composed form (NFC), as the same name may be spelt otherwise by another system.
"""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from isnas.base.errors import UserError
from isnas.base.text import printable
from isnas.data.decoding import SUFFIXES

#: What is meant for training, testing and validation.
TRAIN, TEST, VAL = "train", "test", "val"

_WORDS = {TRAIN: "train(?:ing)?", TEST: "test(?:ing)?", VAL: "val(?:id(?:ation)?)?|eval(?:uation)?"}
_BESIDE = r"(?:data|set|dataset|split|part|images?|imgs?|pictures|photos)"
_ROLES = {
    role: re.compile(rf"(?:{_BESIDE}[\W_]*)?(?:{words})(?:[\W_]*{_BESIDE})?", re.IGNORECASE)
    for role, words in _WORDS.items()
}

#: Names, in lower case, that macOS, Windows, Android, Linux, cameras, and network stores give to what is theirs; hidden
#: ones are theirs anyway.
_LEFT_BEHIND = frozenset(
    (
        *("__macosx", "network trash folder", "temporary items", "~snapshot", "__pycache__", "lost+found", "lost.dir"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "found.000", "found.001"),
        *("system volume information", "canonmsc", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb"),
        *("#recycle", "#snapshot"),
    )
)
_SHOWN = 10
_LONGEST = 80
_DEEPEST_HINT = 8
_MOST_LOOKED_AT = 1000


def left_behind(name: str) -> bool:
    """Whether a system or a program has made the file or folder for itself, or as a backup: no class and no image."""
    return name.startswith((".", "~$")) or name.endswith("~") or name.casefold() in _LEFT_BEHIND


def role(name: str) -> str | None:
    """What a folder called ``name`` is for, in any case: ``Training``, ``test_set`` and ``valid`` are such names."""
    return next((role for role, pattern in _ROLES.items() if pattern.fullmatch(name)), None)


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without what a system has left there.

    Raises:
        UserError: for a name that is not UTF-8.
        OSError: when it cannot be read.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not left_behind(entry.name) and entry.is_dir())
    require_utf8(folder, names)
    return names


def find_parts(root: Path, tests: Sequence[str], remedy: str) -> tuple[str, str] | None:
    """The names of the folders of training and of test images in ``root``; None when it has none of either.

    Args:
        root: The data folder.
        tests: What the images of the test may be for, the first that is there counts: :data:`TEST`, :data:`VAL`.
        remedy: How the folder should be laid out.

    Raises:
        UserError: when only one of the two is there, or two folders are for the same.
        OSError: when the folder cannot be read.
    """
    found: dict[str, list[str]] = {}
    for name in folders_in(root):
        kind = role(name)
        if kind:
            found.setdefault(kind, []).append(name)
    if not found:
        return None
    test = next((kind for kind in tests if kind in found), None)
    if TRAIN not in found or test is None:
        missing = f"no {TRAIN}" if TRAIN not in found else "neither test nor val"
        name = next(iter(found.values()))[0]
        raise UserError(
            f"the data folder {root} has {name} but {missing}; {remedy}; a class cannot be called {name} unless it is "
            "below such folders"
        )
    for kind in (TRAIN, test):
        found[kind] = names = [name for name in found[kind] if name.lower() == kind] or found[kind]
        if len(names) > 1:
            raise UserError(f"{root} holds both {names[0]} and {names[1]}; leave the one that is meant")
    return found[TRAIN][0], found[test][0]


def class_folders(folder: Path, remedy: str) -> dict[str, str]:
    """The classes, sorted, each with the name of its folder as the disk has it.

    Raises:
        UserError: when there are fewer than two, or names that cannot be told apart or be those of classes.
        OSError: when the folder cannot be read.
    """
    names = folders_in(folder)
    if len(names) < 2:
        raise UserError(f"{folder} holds fewer than 2 class folders{hint(folder)}; {remedy}")
    _require_no_parts(folder, names)
    classes: dict[str, str] = {}
    for name in names:
        composed = unicodedata.normalize("NFC", name)
        require_class_name(composed, f"the folder {printable(str(folder / name))}")
        if composed in classes:
            both = f"{classes[composed]!a} and {name!a}"
            raise UserError(f"{folder} holds {both}, one name spelt in two ways; put the images into one of them")
        classes[composed] = name
    return dict(sorted(classes.items()))


def images_below(folder: Path, classes: Collection[str]) -> list[str]:
    """The image files below a class folder, however deep, as paths relative to it, sorted.

    No folder is visited twice; what a system has left there is passed over, as well as what is no file.

    Args:
        folder: The folder of a class.
        classes: The names of all classes.

    Raises:
        UserError: for a folder that has another class's name, or for folders of training and test images, as a copy of
            the data set has them, and for a name that is not UTF-8.
        OSError: when a folder cannot be read.
    """
    own = unicodedata.normalize("NFC", folder.name)
    found: list[str] = []
    visited: set[str] = set()
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        place = os.path.join(folder, inner)
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder above or beside
            continue
        visited.add(real)
        folders: list[str] = []
        files: list[str] = []
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders += [] if left_behind(entry.name) else [entry.name]
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not left_behind(entry.name):
                    is_image = entry.is_file() or not os.path.exists(entry.path)  # a link to nothing is a bad one
                    files += [entry.name] if is_image else []
        folders.sort()
        require_utf8(place, folders + files)
        found += [os.path.join(inner, name) for name in files] if inner else files
        for name in folders:
            composed = unicodedata.normalize("NFC", name)
            if composed != own and composed in classes:
                raise UserError(
                    f"{os.path.join(place, name)} is called like the class {shown_name(name)} but lies below {folder}; "
                    "if it is a copy of the data, move it elsewhere, or else give it another name"
                )
        _require_no_parts(Path(place), folders)
        waiting += [os.path.join(inner, name) for name in reversed(folders)]
    return sorted(found)


def own_images(root: Path) -> str:
    """The names of class folders with images in ``root``, or in a folder of training images there, as :func:`some` has
    them; "" where fewer than two are found. It looks at the first thousand names of each folder.

    Raises:
        OSError: when the folder cannot be read.
    """
    for folder in (root, *(root / name for name in folders_in(root) if role(name) == TRAIN)):
        classes = [name for name in folders_in(folder)[:_MOST_LOOKED_AT] if not role(name)]
        names = [name for name in classes if _holds_image(folder / name)]
        if len(names) >= 2:
            return some(names)
    return ""


def _holds_image(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        names = (entry.name for entry in itertools.islice(entries, _MOST_LOOKED_AT))
        return any(os.path.splitext(name)[1].lower() in SUFFIXES and not left_behind(name) for name in names)


def require_same_classes(root: Path, first: str, names: Sequence[str], second: str, others: Sequence[str]) -> None:
    """Raise a :class:`UserError` that says which classes only one of two places has."""
    only_first, only_second = sorted({*names} - {*others}), sorted({*others} - {*names})
    faults = [f"{first} has {some(only_first)}, which {second} has not"] if only_first else []
    faults += [f"{second} has {some(only_second)}, which {first} has not"] if only_second else []
    if faults:
        raise UserError(f"the classes below {root} differ: {'; '.join(faults)}; make them agree")


def require_class_name(name: str, place: str) -> None:
    """Raise a :class:`UserError` when ``name``, found at ``place``, cannot stand in a line of a list of classes."""
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") for character in name):
        raise UserError(f"{place} has control characters in its name, which no class can have; rename it")
    if name != name.strip("\ufeff \t") or name != name.strip():
        raise UserError(f"{place} has a blank at an end of its name, which no class can have; rename it")


def require_utf8(folder: Path | str, names: Sequence[str]) -> None:
    """Raise a :class:`UserError` when a name holds bytes that are not UTF-8, which no list of names could hold."""
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        wrong = next(name for name in sorted(names) if any("\ud800" <= character <= "\udfff" for character in name))
        path = printable(os.path.join(folder, wrong))
        raise UserError(f"the name of {path} is not UTF-8; rename it") from None


def hint(folder: Path) -> str:
    """Words on the folder that may be meant, when there is one folder alone, and so on, until there are several."""
    inner = folder
    for _ in range(_DEEPEST_HINT):
        names = folders_in(inner)
        if len(names) != 1:
            break
        inner /= names[0]
    if inner == folder or len(names) < 2:
        return ""
    return f", but {inner} below it holds {some(names)}: give that folder, or move them up"


def some(names: Sequence[str]) -> str:
    """The first of some names and how many more there are; one that is not ASCII also as escapes, to be told apart."""
    listed = ", ".join(map(shown_name, names[:_SHOWN]))
    return listed + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def shown_name(name: str) -> str:
    """A class's name in a message."""
    text = name if len(name) <= _LONGEST else f"{name[:_LONGEST]} ..."
    return text if text.isascii() and text.isprintable() else f"{printable(text)} ({ascii(text)[1:-1]})"


def _require_no_parts(folder: Path, names: Sequence[str]) -> None:
    """Raise a :class:`UserError` when folders for training and for testing are where classes should be."""
    found = {role(name): name for name in names}
    other = found.get(TEST) or found.get(VAL)
    if TRAIN in found and other:
        raise UserError(
            f"{folder} holds {found[TRAIN]} and {other}, where classes or their images should be; give the folder that "
            "holds train/CLASS and test/CLASS alone, or move what does not belong to it"
        )
